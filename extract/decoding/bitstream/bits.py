"""Reading a header bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class TruncatedError(Exception):
    """A header ends before what it should hold, or holds what is not read here."""


class Bits:
    """Reads a header bit by bit, the most significant first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, bits: int) -> int:
        """An unsigned number of that many bits."""
        self._left -= bits
        if self._left < 0:
            raise TruncatedError
        return (self._value >> self._left) & ((1 << bits) - 1)

    def ue(self) -> int:
        """An unsigned number as H.264 and H.265 code it (Exp-Golomb)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 32:
                raise TruncatedError
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed number, coded likewise."""
        coded = self.ue()
        return (coded + 1) // 2 if coded % 2 else -(coded // 2)

    def skip_ue(self, count: int) -> None:
        for _ in range(count):
            self.ue()


def surely(read: Callable[[bytes], Found], data: bytes) -> Found | None:
    """What ``read`` finds; None where a header cannot be read."""
    try:
        return read(data)
    except (TruncatedError, IndexError, KeyError):
        return None
