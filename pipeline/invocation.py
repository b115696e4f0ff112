"""How a computation was started: the command line as it was typed, or a function of Python. It is
recorded beside results, and never part of an identity.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from vqa_twostage.pipeline.encoding import escaped

PYTHON = "Python"

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

    It is `escaped`, since a file that is read again holds nothing that cannot be printed.
    """
    return escaped(shlex.join([*_program(Path(words[0] if words else PYTHON)), *words[1:]]))


def _program(path: Path) -> list[str]:
    """What is typed for a program: its name, or ``python -m vqa_twostage.fuse``."""
    if path.name != "__main__.py":
        return [path.name]
    return ["python", "-m", f"{path.parent.parent.name}.{path.parent.name}"]
