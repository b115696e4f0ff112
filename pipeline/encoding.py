"""Output in whatever encoding a terminal, a pipe or a locale has: what it lacks is spelled out, and
no result is lost for a character.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# the characters of our own messages; the eight bars of a curve become its digits
SPELLED = {
    "±": "+-",
    "…": "...",
    "–": "-",
    "×": "x",
    "√": "sqrt",
    "─": "-",
    **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
}
HANDLER = "vqa-spelled"
LONGEST = 10_000  # characters of a text, some of which repeat what is in a file


def escaped(text: str, kept: str = "") -> str:
    """``text`` without anything that moves a cursor: characters that cannot be printed are escaped,
    but for those ``kept``. Of more than `LONGEST` characters the rest is cut, and the last one says
    so.
    """
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(
        each if each.isprintable() or each in kept else each.encode("unicode_escape").decode()
        for each in shown
    )


def spelled(error: UnicodeError) -> tuple[str, int]:
    """What to write in the place of characters that an encoding lacks, and where to go on: those of
    `SPELLED` in ASCII, all others, as in names of files, as Python writes them (``\\u4e2d``).
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(character: str) -> str:
    if character in SPELLED:
        return SPELLED[character]
    return character.encode("ascii", "backslashreplace").decode()


@contextmanager
def any_encoding() -> Iterator[None]:
    """Meanwhile standard output and standard error refuse no character."""
    codecs.register_error(HANDLER, spelled)
    # another kind of stream, as a notebook's, takes every character
    streams = [each for each in (sys.stdout, sys.stderr) if isinstance(each, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            stream.reconfigure(errors=HANDLER)
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)
