"""In which order pictures are shown, by the numbers in their headers (picture order count: ITU-T
H.264, 8.2.1, and H.265, 8.3.1).
"""

from __future__ import annotations

Order = tuple[int, int]
"""The coded sequence that a picture belongs to, and its place there: pictures are shown in this
order."""


class DisplayOrder:
    """Headers hold the low bits of a picture's place; the high ones follow from the picture before.

    ``begun``: whether a coded sequence has.
    """

    def __init__(self) -> None:
        self._sequence, self._last = 0, 0

    @property
    def begun(self) -> bool:
        return self._sequence > 0

    def restart(self) -> None:
        """A coded sequence begins."""
        self._sequence, self._last = self._sequence + 1, 0

    def next(self) -> Order:
        """Of a picture that is shown after the one before it."""
        self._last += 1
        return self._sequence, self._last

    def at(self, low: int, bits: int, counts: bool) -> Order:
        """Of a picture with those low ``bits``; ``counts``: whether the next ones go by it."""
        span = 1 << bits
        high = self._last - self._last % span
        difference = low - self._last % span
        if difference <= -span // 2:
            high += span
        elif difference > span // 2:
            high -= span
        if counts:
            self._last = high + low
        return self._sequence, high + low
