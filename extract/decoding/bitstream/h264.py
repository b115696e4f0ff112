"""H.264: ITU-T H.264, 7.3 and 8.2.1. A packet may be one field of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vqa_twostage.extract.decoding.bitstream.bits import Bits, TruncatedError, surely
from vqa_twostage.extract.decoding.bitstream.order import DisplayOrder, Order
from vqa_twostage.extract.decoding.bitstream.units import Units, listed_sets, unescaped

SLICE, PARTITION, IDR, SEQUENCE, PICTURE = 1, 2, 5, 7, 8  # kinds of units
# profiles whose sequence parameter sets say how colour is stored
WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


@dataclass(frozen=True)
class Sequence:
    """What a sequence parameter set says of slice headers. ``order_bits``: of the picture order
    count, 0 where it is not stored. ``in_order``: pictures are shown in the order of the file.
    """

    frame_number_bits: int
    order_bits: int
    in_order: bool
    has_fields: bool
    colour_planes: bool
    reorder: int


class H264:
    def __init__(self, extradata: bytes) -> None:
        listed = extradata[:1] == b"\x01"  # avcC, ISO/IEC 14496-15
        self._units = Units((extradata[4] & 3) + 1 if listed and len(extradata) > 4 else 0)
        self._sequences: dict[int, Sequence] = {}
        # of a picture parameter set: its sequence's number, and two flags of slice headers
        self._pictures: dict[int, tuple[int, bool, bool]] = {}
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
            kind = unit[0] & 31
            if kind in (SEQUENCE, PICTURE):
                self._read_set(unit)
            elif kind in (SLICE, PARTITION, IDR) and unit[1] & 0x80:  # its first macroblock is 0
                order, pictures = self._order_of_picture(unit), pictures + 1
        return order if pictures == 1 else None

    def _order_of_picture(self, unit: bytes) -> Order | None:
        """Of a picture's first slice; None for a field, and where frames that wait are dropped."""
        kind, is_reference = unit[0] & 31, bool(unit[0] & 0x60)
        bits = Bits(unescaped(unit)[1:])
        bits.skip_ue(2)
        sequence_id, has_delta, has_redundant = self._pictures[bits.ue()]
        sequence = self._sequences[sequence_id]
        bits.u(2 * sequence.colour_planes + sequence.frame_number_bits)
        if sequence.has_fields and bits.u(1):
            return None
        waiting = self._order.begun and sequence.reorder
        if kind == IDR:
            bits.ue()
            self._order.restart()
        elif not self._order.begun:
            return None  # before the first IDR picture some frames may not be shown
        if sequence.in_order:
            return self._order.next()
        if not sequence.order_bits:
            return None
        low = bits.u(sequence.order_bits)
        if kind == IDR and waiting:
            if has_redundant:
                return None
            bits.skip_ue(int(has_delta))
            if bits.u(1):  # no_output_of_prior_pics_flag
                return None
        return self._order.at(low, sequence.order_bits, is_reference)

    def _read_set(self, unit: bytes) -> None:
        kind, bits = unit[0] & 31, Bits(unescaped(unit)[1:])
        if kind == SEQUENCE:
            id, sequence = _read_sequence(bits)
            self._units.remember((kind, id), unit)
            self._sequences[id] = sequence
            self.reorder = max(self.reorder, sequence.reorder)
        elif kind == PICTURE:
            id, sequence_id = bits.ue(), bits.ue()
            self._units.remember((kind, id), unit)
            bits.u(1)
            has_delta = bool(bits.u(1))
            if bits.ue():
                raise TruncatedError("slice groups are not read")
            bits.skip_ue(2)
            bits.u(3)
            bits.skip_ue(3)
            bits.u(2)
            self._pictures[id] = sequence_id, has_delta, bool(bits.u(1))


def _stored(extradata: bytes) -> Iterator[bytes]:
    """Parameter sets of an avcC: a count and sequence sets, a count and picture sets."""
    place = 5
    for mask in (31, 255):
        if place >= len(extradata):
            return
        units, place = listed_sets(extradata, place + 1, extradata[place] & mask)
        yield from units


def _read_sequence(bits: Bits) -> tuple[int, Sequence]:
    """The number of a sequence parameter set, and what it says."""
    profile = bits.u(8)
    bits.u(16)
    id, colour_planes = bits.ue(), False
    if profile in WITH_CHROMA:
        chroma = bits.ue()
        colour_planes = chroma == 3 and bool(bits.u(1))
        bits.skip_ue(2)
        bits.u(1)
        if bits.u(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    frame_number_bits = bits.ue() + 4
    order, order_bits = bits.ue(), 0
    if order == 0:
        order_bits = bits.ue() + 4
    elif order == 1:
        bits.u(1)
        bits.skip_ue(2)
        bits.skip_ue(bits.ue())
    bits.ue()
    if bits.u(1):
        raise TruncatedError("what fills gaps in frame numbers may be shown")
    bits.skip_ue(2)
    has_fields = not bits.u(1)
    bits.u(int(has_fields) + 1)
    if bits.u(1):
        bits.skip_ue(4)
    reorder = _read_reorder(bits) if order != 2 and bits.u(1) else 0
    return id, Sequence(
        frame_number_bits, order_bits, order == 2, has_fields, colour_planes, reorder
    )


def _skip_scaling_lists(bits: Bits, lists: int) -> None:
    for place in range(lists):
        if not bits.u(1):
            continue
        last = following = 8
        for _ in range(16 if place < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def _read_reorder(bits: Bits) -> int:
    """By how many frames others may overtake one, where the usability information says; else 0."""
    if bits.u(1) and bits.u(8) == 255:  # the shape of a pixel
        bits.u(32)
    if bits.u(1):
        bits.u(1)
    if bits.u(1):  # the signal
        bits.u(4)
        if bits.u(1):
            bits.u(24)
    if bits.u(1):  # where colour samples lie
        bits.skip_ue(2)
    if bits.u(1):  # the rate
        bits.u(65)
    buffered = False
    for _ in range(2):
        if bits.u(1):
            _skip_buffering(bits)
            buffered = True
    bits.u(int(buffered) + 1)
    if not bits.u(1):
        return 0
    bits.u(1)
    bits.skip_ue(4)
    return bits.ue()


def _skip_buffering(bits: Bits) -> None:
    schedules = bits.ue() + 1
    bits.u(8)
    for _ in range(schedules):
        bits.skip_ue(2)
        bits.u(1)
    bits.u(20)
