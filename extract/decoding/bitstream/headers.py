"""What the headers inside packets say: whether a packet is exactly one picture that is shown.

A container's packet need not be a frame: it may hold one field of a frame, a picture that is never
shown, several, or none. Of the codecs here that can be read from a few bytes of each packet. Of any
other codec, and wherever these headers leave a doubt, frames are counted by decoding them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from vqa_twostage.extract.decoding.bitstream.av1 import AV1
from vqa_twostage.extract.decoding.bitstream.h264 import H264
from vqa_twostage.extract.decoding.bitstream.hevc import HEVC
from vqa_twostage.extract.decoding.bitstream.order import DisplayOrder, Order
from vqa_twostage.extract.decoding.bitstream.vpx import VP8, VP9

# every packet is a picture by itself, and is shown
INTRA = (
    "mjpeg", "png", "prores", "dnxhd", "dvvideo", "ffv1", "ffvhuff", "huffyuv", "utvideo",
    "magicyuv", "rawvideo", "v210", "v410", "cfhd", "jpeg2000",
)  # fmt: skip


@runtime_checkable
class Headers(Protocol):
    """Reads the packets of one stream in their order.

    ``reorder``: by how many pictures, at most, the headers seen so far let one overtake others, 0
    where they do not say.
    ``steady``: whether all parameter sets seen so far were equal.
    """

    @property
    def reorder(self) -> int: ...

    @property
    def steady(self) -> bool: ...

    def order_of(self, packet: bytes) -> Order | None:
        """When it is shown, of a packet that surely holds one picture, and that is shown; None of
        any other.
        """
        ...


@dataclass
class Intra:
    """Of codecs whose packets are whole pictures."""

    reorder: int = 0
    steady: bool = True
    _order: DisplayOrder = field(default_factory=DisplayOrder)

    def order_of(self, packet: bytes) -> Order | None:
        return self._order.next()


READERS: dict[str, Callable[[bytes], Headers]] = {
    "h264": H264,
    "hevc": HEVC,
    "vp8": VP8,
    "vp9": VP9,
    "av1": AV1,
    "libdav1d": AV1,
}


def headers_of(codec: str, extradata: bytes) -> Headers | None:
    """For FFmpeg's name of a codec and what the container stores before the packets; None for a
    codec that is not read here.
    """
    if codec in INTRA:
        return Intra()
    reader = READERS.get(codec)
    return None if reader is None else reader(extradata)
