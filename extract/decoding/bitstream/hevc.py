"""H.265 (HEVC): ITU-T H.265, 7.3 and 8.3.1. Some pictures are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vqa_twostage.extract.decoding.bitstream.bits import Bits, TruncatedError, surely
from vqa_twostage.extract.decoding.bitstream.order import DisplayOrder, Order
from vqa_twostage.extract.decoding.bitstream.units import START, Units, listed_sets, unescaped

# kinds of units: pictures that decoding can start at are 16 to 23, other pictures are below
FIRST_PICTURE, LAST_LINK, IDR, LAST_START, OTHER = 16, 18, (19, 20), 23, 32
SEQUENCE, PICTURE, ENDS = 33, 34, (36, 37)
# pictures by which the order of later ones does not go: leading ones, and those that none refers to
NOT_COUNTED = (0, 2, 4, 6, 7, 8, 9, 10, 12, 14)


@dataclass(frozen=True)
class Sequence:
    """What a sequence parameter set says. ``order_bits``: of the picture order count."""

    order_bits: int
    colour_planes: bool
    reorder: int


class HEVC:
    def __init__(self, extradata: bytes) -> None:
        listed = len(extradata) > 22 and extradata[:3] != START and extradata[:4] != b"\0" + START
        self._units = Units((extradata[21] & 3) + 1 if listed else 0)
        self._sequences: dict[int, Sequence] = {}
        # of a picture parameter set: its sequence's number, and how many more bits slices have
        self._pictures: dict[int, tuple[int, int]] = {}
        self._order = DisplayOrder()
        self.reorder = 0
        for unit in _stored(extradata) if listed else self._units.of(extradata):
            surely(self._read_set, unit)

    @property
    def steady(self) -> bool:
        return self._units.steady

    def order_of(self, packet: bytes) -> Order | None:
        return surely(self._order_of, packet)

    def _order_of(self, packet: bytes) -> Order | None:
        order, pictures = None, 0
        for unit in self._units.of(packet):
            kind = _kind(unit)
            if (unit[0] & 1) << 5 | unit[1] >> 3:  # of another layer, which is not decoded
                continue
            if kind in (SEQUENCE, PICTURE):
                self._read_set(unit)
            elif kind in ENDS:  # of a sequence: frames that follow may be left out
                return None
            elif kind < OTHER and unit[2] & 0x80:  # first_slice_segment_in_pic_flag
                order, pictures = self._order_of_picture(unit), pictures + 1
        return order if pictures == 1 else None

    def _order_of_picture(self, unit: bytes) -> Order | None:
        """Of a picture's first slice; None where frames that wait are dropped, or later ones."""
        kind, bits = _kind(unit), Bits(unescaped(unit)[2:])
        bits.u(1)
        if FIRST_PICTURE <= kind <= LAST_START:
            drops = bits.u(1)  # no_output_of_prior_pics_flag
            if self._order.begun and (drops or kind <= LAST_LINK):
                return None
            if kind in IDR or not self._order.begun:
                self._order.restart()
        elif not self._order.begun:
            return None
        sequence_id, more = self._pictures[bits.ue()]
        sequence = self._sequences[sequence_id]
        if kind in IDR:
            return self._order.at(0, sequence.order_bits, counts=True)
        bits.u(more)
        bits.ue()
        bits.u(2 * sequence.colour_planes)
        counts = kind not in NOT_COUNTED and unit[1] & 7 == 1  # of the lowest temporal layer
        return self._order.at(bits.u(sequence.order_bits), sequence.order_bits, counts)

    def _read_set(self, unit: bytes) -> None:
        kind, bits = _kind(unit), Bits(unescaped(unit)[2:])
        if kind == SEQUENCE:
            id, sequence = _read_sequence(bits)
            self._units.remember((kind, id), unit)
            self._sequences[id] = sequence
            self.reorder = max(self.reorder, sequence.reorder)
        elif kind == PICTURE:
            id, sequence_id = bits.ue(), bits.ue()
            self._units.remember((kind, id), unit)
            bits.u(1)
            if bits.u(1):
                raise TruncatedError("slices may say that their picture is not shown")
            self._pictures[id] = sequence_id, bits.u(3)


def _kind(unit: bytes) -> int:
    return (unit[0] >> 1) & 63


def _stored(extradata: bytes) -> Iterator[bytes]:
    """Parameter sets of an hvcC (ISO/IEC 14496-15): lists of them, by kind."""
    place = 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[place + 1 : place + 3], "big")
        units, place = listed_sets(extradata, place + 3, count)
        yield from units


def _read_sequence(bits: Bits) -> tuple[int, Sequence]:
    """The number of a sequence parameter set, and what it says."""
    bits.u(4)
    layers = bits.u(3) + 1
    bits.u(1 + 88 + 8)
    present = [(bits.u(1), bits.u(1)) for _ in range(layers - 1)]
    if layers > 1:
        bits.u(2 * (8 - (layers - 1)))
    for profile, level in present:
        bits.u(88 * profile + 8 * level)
    id = bits.ue()
    colour_planes = bits.ue() == 3 and bool(bits.u(1))
    bits.skip_ue(2)
    if bits.u(1):  # the window that is shown
        bits.skip_ue(4)
    bits.skip_ue(2)
    order_bits = bits.ue() + 4
    reorder = 0
    for _ in range(layers if bits.u(1) else 1):
        bits.ue()
        reorder = bits.ue()
        bits.ue()
    return id, Sequence(order_bits, colour_planes, reorder)
