"""Frames that travel in pieces arrive as they were sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.extract.cluster.pieces import Piece, VideoInPieces, pieces_of
from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.extract.decoding.workers import AT_ONCE, DecodeSummary, VideoHeader
from vqa_twostage.extract.inference.resizing import ResizedFrames
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import VideoError

GEOMETRY = Preprocessing(2, "bilinear", (0.0,) * 3, (1.0,) * 3).geometry
SUMMARY = DecodeSummary("pyav", 0.5)


@dataclass
class Video:
    """Gives its ``groups`` of frame numbers, and fails where it is told to."""

    groups: list[list[int]]
    fails: str = ""
    taken: list[int] = field(default_factory=list)

    def open(self) -> tuple[VideoHeader, Iterator[Sequence[ResizedFrames]]]:
        if self.fails == "open":
            raise VideoError("no video")
        distinct = np.concatenate(self.groups).astype(np.int64)
        header = VideoHeader(
            distinct[:, None], distinct, distinct / 10, Source(1, 1, "d"), 4, 4, 25.0, 99
        )
        return header, self._frames()

    def _frames(self) -> Iterator[Sequence[ResizedFrames]]:
        for numbers in self.groups:
            self.taken.extend(numbers)
            pixels = torch.tensor(numbers, dtype=torch.uint8)[:, None, None, None]
            yield [ResizedFrames(GEOMETRY, numbers, pixels.expand(-1, 3, 2, 2))]
        if self.fails == "frames":
            raise VideoError("broken", "decode")

    def summary(self) -> DecodeSummary:
        if self.fails == "summary":
            raise VideoError("damaged", "decode")
        return SUMMARY


def received(pieces: Iterator[Piece]) -> tuple[list[int], DecodeSummary]:
    video = VideoInPieces(pieces)
    _, frames = video.open()
    numbers = []
    for some in frames:
        for geometry, of, pixels in some:
            assert geometry == GEOMETRY and pixels.shape == (len(of), 3, 2, 2)
            assert pixels[:, 0, 0, 0].tolist() == of
            numbers += of
    return numbers, video.summary()


groups = st.lists(st.integers(1, 2 * AT_ONCE), min_size=1, max_size=6).map(
    lambda sizes: [list(range(sum(sizes[:at]), sum(sizes[: at + 1]))) for at in range(len(sizes))]
)


@given(groups)
@settings(deadline=None)
def test_frames_and_what_decoding_found_arrive_whole(sent: list[list[int]]) -> None:
    pieces = list(pieces_of(Video(sent)))
    assert received(iter(pieces)) == (np.concatenate(sent).tolist(), SUMMARY)
    # only the first has the header, only the last an end, and none is much larger than asked for
    assert [piece.header is not None for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [piece.end is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    most = AT_ONCE + max(map(len, sent))
    assert all(sum(len(of) for _, of, _ in piece.frames) < most for piece in pieces)


@given(groups, st.sampled_from(["open", "frames", "summary"]))
@settings(deadline=None)
def test_video_that_fails_does_so_at_the_other_end_and_leaves_no_piece_behind(
    sent: list[list[int]], fails: str
) -> None:
    pieces = iter([*pieces_of(Video(sent, fails)), *pieces_of(Video([[7]]))])
    with pytest.raises(VideoError):
        received(pieces)
    assert received(pieces) == ([7], SUMMARY)  # the next one is whole


def test_frames_are_not_made_before_they_are_asked_for() -> None:
    video = Video([list(range(AT_ONCE)) for _ in range(5)])
    pieces = pieces_of(video)
    next(pieces)
    assert len(video.taken) == AT_ONCE
