"""VP8 (RFC 6386) and VP9 (bitstream specification 0.6, 6.2 and annex B).

Frames that are never shown stand in packets of their own, or share one with the frame that is.
"""

from __future__ import annotations

from vqa_twostage.extract.decoding.bitstream.bits import Bits, TruncatedError, surely
from vqa_twostage.extract.decoding.bitstream.order import DisplayOrder, Order


class VP8:
    reorder, steady = 0, True

    def __init__(self, extradata: bytes) -> None:
        self._order = DisplayOrder()

    def order_of(self, packet: bytes) -> Order | None:
        return self._order.next() if packet and packet[0] & 0x10 else None  # show_frame


class VP9:
    reorder, steady = 0, True

    def __init__(self, extradata: bytes) -> None:
        self._order = DisplayOrder()

    def order_of(self, packet: bytes) -> Order | None:
        shown = surely(lambda data: [_is_shown(frame) for frame in _frames(data)], packet)
        # a decoder shows one frame of a packet, its last
        is_last = shown is not None and shown == [False] * (len(shown) - 1) + [True]
        return self._order.next() if is_last else None


def _frames(packet: bytes) -> list[bytes]:
    """The frames of a packet, which an index at its end divides (a superframe)."""
    mark = packet[-1]
    count, size = (mark & 7) + 1, (mark >> 3 & 3) + 1
    length = 2 + count * size
    if mark >> 5 != 0b110 or len(packet) < length or packet[-length] != mark:
        return [packet]
    sizes = [
        int.from_bytes(packet[place : place + size], "little")
        for place in range(len(packet) - length + 1, len(packet) - 1, size)
    ]
    frames, place = [], 0
    for length in sizes:
        frames.append(packet[place : place + length])
        place += length
    return [frame for frame in frames if frame]


def _is_shown(frame: bytes) -> bool:
    bits = Bits(frame[:4])
    if bits.u(2) != 2:
        raise TruncatedError
    if bits.u(2) == 3:  # the profile
        bits.u(1)
    if bits.u(1):  # show_existing_frame
        return True
    bits.u(1)
    return bool(bits.u(1))
