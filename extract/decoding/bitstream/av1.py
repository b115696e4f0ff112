"""AV1 (bitstream specification 1.0.0, 5.3 and 5.9): a packet holds frames of which one is shown."""

from __future__ import annotations

from vqa_twostage.extract.decoding.bitstream.bits import TruncatedError, surely
from vqa_twostage.extract.decoding.bitstream.order import DisplayOrder, Order

SEQUENCE, FRAMES = 1, (3, 6)  # kinds of units


class AV1:
    reorder, steady = 0, True

    def __init__(self, extradata: bytes) -> None:
        self._order = DisplayOrder()

    def order_of(self, packet: bytes) -> Order | None:
        return self._order.next() if surely(_shown, packet) == 1 else None


def _shown(packet: bytes) -> int:
    """How many frames of a packet are shown."""
    shown = place = 0
    while place < len(packet):
        header = packet[place]
        place += 1
        kind, layered, sized = header >> 3 & 15, header & 4, header & 2
        if layered:
            if packet[place] >> 3 & 3:
                raise TruncatedError("a spatial layer above the first is not read")
            place += 1
        length, place = _leb128(packet, place) if sized else (len(packet) - place, place)
        if kind == SEQUENCE and packet[place] & 0x08:
            raise TruncatedError("a still picture's short header is not read")
        if kind in FRAMES:
            shown += bool(packet[place] & 0x90)  # show_existing_frame, show_frame
        place += length
    if place > len(packet):
        raise TruncatedError
    return shown


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 56, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
    raise TruncatedError
