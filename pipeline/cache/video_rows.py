"""`VideoRows`: the rows of chosen videos of a track, read in blocks, as stored or as their means.

Dimensions: N videos, T rows of all videos of a block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, Num

from vqa_twostage.pipeline.cache.track import Track

# how much of a track is in memory at a time; a video is read whole
BLOCK_BYTES = 64 << 20


def ids_with_rows(track: Track, ids: Iterable[str]) -> list[str]:
    """Those of ``ids`` that the track has rows of, in their order."""
    held = [video_id for video_id in ids if video_id in track]
    # this program writes no video without rows, but a track may come from elsewhere
    return [name for name, rows in zip(held, track.row_counts(held), strict=True) if rows]


@dataclass(frozen=True, eq=False)
class VideoRows:
    """``ids`` in the order in which they are wanted; ``lengths`` of their rows, 1 or more."""

    track: Track
    ids: list[str]
    lengths: Int64[np.ndarray, " N"]

    @classmethod
    def of(cls, track: Track, ids: list[str]) -> VideoRows:
        """KeyError where the track lacks one of them."""
        return cls(track, ids, track.row_counts(ids))

    def blocks(self) -> list[tuple[int, int]]:
        """Videos that follow each other, about `BLOCK_BYTES` at a time: first, and before last."""
        row_bytes = sum(column.row_bytes for column in self.track.index.columns)
        number = (np.cumsum(self.lengths) * row_bytes - 1) // BLOCK_BYTES
        edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(self.ids)]
        return list(itertools.pairwise(edges))

    def read(self, column: str, first: int, last: int) -> Num[np.ndarray, "T ..."]:
        """The rows of the videos from ``first`` to before ``last``, in their order.

        UsageError where one is damaged.
        """
        ends = np.cumsum(self.lengths[first:last])
        found = self.track.empty(column, int(ends[-1]))
        self.track.read_into(column, self.ids[first:last], ends - self.lengths[first:last], found)
        return found

    def means(self, column: str, first: int, last: int) -> Float32[np.ndarray, "videos ..."]:
        """The mean over the rows of each of these videos."""
        rows = self.read(column, first, last)
        found = np.empty((last - first, *rows.shape[1:]), np.float32)
        ends = np.cumsum(self.lengths[first:last])
        with np.errstate(invalid="ignore"):  # imported features may be infinite
            # several times as fast as np.add.reduceat
            for number, video in enumerate(np.split(rows, ends[:-1])):
                found[number] = video.mean(axis=0, dtype=np.float64)
        return found
