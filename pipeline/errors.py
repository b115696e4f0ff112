"""Errors that commands report in one message, and their exit codes.

Any other exception that leaves a command is a bug: a traceback and exit code 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Literal

DONE = 0
WRONG_USE = 2
SOME_FAILED = 3
INTERRUPTED = 130
READER_GONE = 141
"""What a shell gives a program that wrote to a pipe whose reader had ended, as ``| head`` does."""


class UsageError(Exception):
    """Wrong use. The message gives the value, the valid choices and the next step. Exit code 2."""


def raise_interrupt(error: BaseException) -> None:
    """Raises KeyboardInterrupt where ``error`` is what a library made of one: torch's C++ code
    names it in the text of an exception of another kind.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt) or "KeyboardInterrupt" in str(seen):
            raise KeyboardInterrupt from None
        seen = seen.__cause__ or seen.__context__


def require(condition: bool, message: str) -> None:
    """UsageError with ``message`` unless ``condition``: a plug-in's check of its options."""
    if not condition:
        raise UsageError(message)


def close_to(wanted: object, names: Iterable[object]) -> str:
    """The end of a message about a name that is none: which of ``names`` it may be meant to be,
    ``; did you mean 'dynamic'?``, or nothing where none is close.
    """
    choices = list(map(str, names))
    lower = {choice.lower(): choice for choice in reversed(choices)}
    close = get_close_matches(str(wanted).lower(), lower, 1)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""


def require_positive(plugin: str, **options: int) -> None:
    """UsageError unless each option of the plug-in, a number of units, is at least 1."""
    for name, value in options.items():
        require(value >= 1, f"{plugin}: {name} must be at least 1, not {value}")


def require_dropout(plugin: str, **options: float) -> None:
    """UsageError unless each option of the plug-in, the share that is dropped, is in [0, 1)."""
    for name, value in options.items():
        require(0 <= value < 1, f"{plugin}: {name} must be at least 0 and below 1, not {value}")


def require_installed(option: str, packages: Sequence[str], extra: str) -> None:
    """UsageError unless the packages that ``option`` needs, those of an ``extra``, are there."""
    missing = [name for name in packages if not _is_installed(name)]
    require(
        not missing,
        f'{option} needs {", ".join(missing)}; run: pip install "vqa-twostage[{extra}]"',
    )


def _is_installed(package: str) -> bool:
    """A folder of that name in the working directory, as wandb makes one, is no package."""
    found = find_spec(package)
    return found is not None and found.origin is not None


FailureKind = Literal[
    "missing",
    "unreadable",
    "limit",
    "decode",
    "sampling",
    "features",
    "lost",
    "fetch",
    "unchanged",
]
"""Why a video cannot be used, for programs: its file does not exist; it cannot be opened, or is no
video; it exceeds a limit that ``--limits`` raises; its frames cannot be decoded; no frames of it
can be chosen; its features cannot be stored; it was lost again and again with what worked on it; it
cannot be copied from its address. ``unchanged`` is no failure: only the time of a file at an
address had changed, and its features are there.
"""


class VideoError(Exception):
    """One video cannot be used. The message is the reason; the other videos are not affected.

    ``kind`` is the reason for programs; it survives pickling from one process to another.
    """

    def __init__(self, reason: str, kind: FailureKind = "unreadable") -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind
