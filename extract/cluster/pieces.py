"""How resized frames travel from the machine that decodes a video to the one with the networks.

A video is one piece or more. The first has its header and the last its end: what decoding it
found, or why the video cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from vqa_twostage.extract.decoding.workers import AT_ONCE, DecodeSummary, VideoHeader
from vqa_twostage.extract.inference.engine import ResizedVideo
from vqa_twostage.extract.inference.resizing import ResizedFrames
from vqa_twostage.extract.preprocess import Geometry
from vqa_twostage.pipeline.errors import VideoError

# arrays and not tensors: Ray hands them on without a copy
FrameArrays = tuple[Geometry, list[int], UInt8[np.ndarray, "_ 3 _ _"]]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a video; ``header`` in its first and ``end`` in its last one."""

    header: VideoHeader | None
    frames: list[FrameArrays]
    end: DecodeSummary | VideoError | None = None


def pieces_of(video: ResizedVideo) -> Iterator[Piece]:
    """A video in pieces of some frames, so that its length does not decide how much is held."""
    first: VideoHeader | None = None
    held: list[FrameArrays] = []
    try:
        first, frames = video.open()
        for some in frames:
            held.extend(_as_arrays(some))
            if sum(len(numbers) for _, numbers, _ in held) >= AT_ONCE:
                yield Piece(first, held)
                first, held = None, []
        yield Piece(first, held, video.summary())
    except VideoError as error:
        yield Piece(first, held, error)


class VideoInPieces:
    """A video put together again, as a `ResizedVideo`; it takes all of its pieces and no more,
    whatever becomes of it.
    """

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._summary: DecodeSummary | None = None

    def open(self) -> tuple[VideoHeader, Iterator[Sequence[ResizedFrames]]]:
        first = next(self._pieces)
        if first.header is None:  # it could not even be opened
            assert isinstance(first.end, VideoError), "the first piece of a video has its header"
            raise first.end
        return first.header, self._frames(first)

    def summary(self) -> DecodeSummary:
        assert self._summary is not None, "asked for before all frames were taken"
        return self._summary

    def _frames(self, piece: Piece) -> Iterator[Sequence[ResizedFrames]]:
        while True:
            yield [
                # copied: Ray's memory cannot be written to, which torch warns of
                ResizedFrames(geometry, numbers, torch.from_numpy(pixels.copy()))
                for geometry, numbers, pixels in piece.frames
            ]
            if isinstance(piece.end, VideoError):
                raise piece.end
            if piece.end is not None:
                self._summary = piece.end
                return
            piece = next(self._pieces)


def _as_arrays(frames: Sequence[ResizedFrames]) -> Iterator[FrameArrays]:
    for geometry, numbers, pixels in frames:
        yield geometry, numbers, np.ascontiguousarray(pixels.numpy())
