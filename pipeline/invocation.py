"""How a computation was started: the command line as it was typed, or a function of Python. It is
recorded beside results, and never part of an identity.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

PYTHON = "Python"
LONGEST = 10_000  # characters

_STARTED_AS: ContextVar[str] = ContextVar("started_as", default="")


@contextmanager
def started_as(text: str) -> Iterator[None]:
    """Until its end, `invocation` is ``text``, unless something that goes on already has named
    itself: what was started first is what a person started. Also a decorator of functions.
    """
    if _STARTED_AS.get():
        yield
        return
    token = _STARTED_AS.set(text)
    try:
        yield
    finally:
        _STARTED_AS.reset(token)


def invocation() -> str:
    """``vqa-fuse train --fusion dynamic``, or ``Python, train``; ``Python`` where nothing said
    more.
    """
    return _STARTED_AS.get() or PYTHON


def command_line(words: Sequence[str]) -> str:
    """``sys.argv`` as a line that a shell takes.

    Characters that cannot be printed are escaped, since a file that is read again holds none; a
    line of more than `LONGEST` characters is cut, and says so by its last one.
    """
    line = shlex.join([*_program(Path(words[0] if words else PYTHON)), *words[1:]])
    shown = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown
    )


def _program(path: Path) -> list[str]:
    """What is typed for a program: its name, or ``python -m vqa_twostage.fuse``."""
    if path.name != "__main__.py":
        return [path.name]
    return ["python", "-m", f"{path.parent.parent.name}.{path.parent.name}"]
