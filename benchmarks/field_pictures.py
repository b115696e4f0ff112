"""H.264 whose frames are coded as two fields, as camcorders and broadcasts have it (PAFF).

No free encoder makes it, so it is written here: every macroblock holds its pixels as they are
(I_PCM). Source: ITU-T H.264, 7.3.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

MACROBLOCK = 16  # pixels to a side
I_PCM, I_SLICE = 25, 7
ORDER_BITS = 8


class Writer:
    """Writes a unit bit by bit."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def u(self, value: int, bits: int) -> None:
        self._bits.append(f"{value:0{bits}b}")

    def ue(self, *values: int) -> None:
        for value in values:
            coded = f"{value + 1:b}"
            self._bits.append("0" * (len(coded) - 1) + coded)

    def align(self) -> None:
        length = sum(map(len, self._bits))
        self._bits.append("0" * (-length % 8))

    def bytes_of(self, values: UInt8[np.ndarray, " n"]) -> None:
        self._bits.append("".join(f"{value:08b}" for value in values.tolist()))

    def unit(self, header: int) -> bytes:
        """With a start code, and without what would be taken for one."""
        self._bits.append("1")
        self.align()
        text = "".join(self._bits)
        payload = int(text, 2).to_bytes(len(text) // 8, "big")
        written, zeros = bytearray(), 0
        for byte in payload:
            if zeros == 2 and byte <= 3:
                written.append(3)
                zeros = 0
            written.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\x00\x00\x00\x01" + bytes([header]) + bytes(written)


def field_stream(
    frames: UInt8[np.ndarray, "N H W"], bottom_first: bool = False, every_third_whole: bool = False
) -> bytes:
    """Grey ``frames``, H and W multiples of 32, each as two fields, or every third as one picture.

    Without a container; two fields make a frame, of which there are N.
    """
    height, width = frames.shape[1:]
    parts = [_sequence(width // MACROBLOCK, height // MACROBLOCK), _picture()]
    for number, frame in enumerate(frames):
        if every_third_whole and number % 3 == 2:
            parts.append(_slice(frame, number, None, first=False))
            continue
        for place, bottom in enumerate((bottom_first, not bottom_first)):
            first = number == 0 and place == 0
            parts.append(_slice(frame[int(bottom) :: 2], number, bottom, first))
    return b"".join(parts)


def _sequence(columns: int, rows: int) -> bytes:
    writer = Writer()
    for value, bits in ((77, 8), (0, 8), (30, 8)):  # main profile, level 3
        writer.u(value, bits)
    writer.ue(0, 0, 0, ORDER_BITS - 4, 1)
    writer.u(0, 1)
    writer.ue(columns - 1, rows // 2 - 1)
    for flag in (0, 0, 1, 0, 0):  # not only frames, no mixed macroblocks, …
        writer.u(flag, 1)
    return writer.unit(0x67)


def _picture() -> bytes:
    writer = Writer()
    writer.ue(0, 0)
    writer.u(0, 2)
    writer.ue(0, 0, 0)
    writer.u(0, 3)
    writer.ue(0, 0, 0)
    writer.u(0b100, 3)
    return writer.unit(0x68)


def _slice(
    pixels: UInt8[np.ndarray, "H W"], number: int, bottom: bool | None, first: bool
) -> bytes:
    """A picture: a field, or a frame where ``bottom`` is None."""
    writer = Writer()
    writer.ue(0, I_SLICE, 0)
    writer.u(number % 16, 4)
    writer.u(int(bottom is not None), 1)
    if bottom is not None:
        writer.u(int(bottom), 1)
    if first:
        writer.ue(0)
    writer.u((2 * number + int(bool(bottom))) % (1 << ORDER_BITS), ORDER_BITS)
    writer.u(0, 2 if first else 1)
    writer.ue(0, 1)
    chroma = np.full(MACROBLOCK**2 // 2, 128, np.uint8)
    rows, columns = (length // MACROBLOCK for length in pixels.shape)
    for block in (
        pixels.reshape(rows, MACROBLOCK, columns, MACROBLOCK)
        .swapaxes(1, 2)
        .reshape(-1, MACROBLOCK**2)
    ):
        writer.ue(I_PCM)
        writer.align()
        writer.bytes_of(block)
        writer.bytes_of(chroma)
    return writer.unit(0x65 if first else 0x61)
