"""The units (NAL units) that packets of H.264 and H.265 consist of: ITU-T H.264 and H.265, 7.3 and
annex B.
"""

from __future__ import annotations

from collections.abc import Iterator

START = b"\x00\x00\x01"
HEADER_BYTES = 256  # of a slice, a picture or a parameter set: far more than is read


def unescaped(unit: bytes) -> bytes:
    """The start of a unit without the bytes that keep start codes from occurring in it."""
    return unit[:HEADER_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")


def _by_start_codes(data: bytes) -> Iterator[bytes]:
    place = data.find(START)
    while place >= 0:
        begin = place + len(START)
        place = data.find(START, begin)
        yield data[begin:] if place < 0 else data[begin:place]


def _by_lengths(data: bytes, size: int) -> Iterator[bytes]:
    place = 0
    while place + size <= len(data):
        length = int.from_bytes(data[place : place + size], "big")
        place += size
        yield data[place : place + length]
        place += length


def listed_sets(data: bytes, place: int, count: int) -> tuple[list[bytes], int]:
    """So many parameter sets, each behind two bytes of length, and where the last of them ends."""
    sets = []
    for _ in range(count):
        begin = place + 2
        place = begin + int.from_bytes(data[place:begin], "big")
        sets.append(data[begin:place])
    return [unit for unit in sets if len(unit) > 2], place


class Units:
    """The units (NAL units) of H.264 and H.265 packets, and whether their parameter sets stay."""

    def __init__(self, length_size: int) -> None:
        """``length_size``: bytes of the length before each unit; 0 where start codes divide
        them.
        """
        self.length_size = length_size
        self.steady = True
        self._sets: dict[tuple[int, int], bytes] = {}

    def of(self, packet: bytes) -> Iterator[bytes]:
        units = (
            _by_lengths(packet, self.length_size) if self.length_size else _by_start_codes(packet)
        )
        return (unit for unit in units if len(unit) > 2)

    def remember(self, name: tuple[int, int], unit: bytes) -> None:
        """A parameter set, by its kind and number."""
        unit = unit.rstrip(b"\x00")
        self.steady = self.steady and self._sets.setdefault(name, unit) == unit
