"""The features of a dataset as heads read them, prepared once for all heads and members of a split.

Dimensions: N videos, T frames of a track; where they are averaged 1, or one for each draw of
patches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.streams import Arrays, Shapes, Streams, joined
from vqa_twostage.pipeline.cache.layout import TrackPath

Statistics = tuple[str, ...]


class PreparedTrack(NamedTuple):
    """A track, its prepared arrays, and which of their T frames there are."""

    preparation: Preparation
    arrays: Arrays
    mask: Bool[Tensor, "N T"]

    @property
    def shapes(self) -> Shapes:
        return {name: tuple(array.shape[2:]) for name, array in self.arrays.items()}

    def of(self, rows: Int[Tensor, " B"]) -> tuple[Arrays, Bool[Tensor, "B T"]]:
        """The arrays and the mask of some videos."""
        averages = {name: array for name, array in self.arrays.items() if array.ndim == 3}
        columns = joined([*averages.values()])[rows] if averages else torch.empty(0)
        parts = columns.split([array.shape[2] for array in averages.values()], dim=-1)
        maps = {name: array[rows] for name, array in self.arrays.items() if array.ndim > 3}
        return dict(zip(averages, parts, strict=True)) | maps, self.mask[rows]


@dataclass(frozen=True)
class PreparedFeatures:
    """The tracks of a dataset, prepared by statistics of the videos ``rows`` alone.

    ``compact``: for a model that is kept, whose file is then half as large. Whatever two heads read
    alike is prepared once.
    """

    data: Dataset
    rows: Int[np.ndarray, " rows"]
    compact: bool = False
    _preparations: dict[tuple[TrackPath, Statistics], Preparation] = field(default_factory=dict)
    _tracks: dict[tuple[TrackPath, Statistics, bool], PreparedTrack] = field(default_factory=dict)

    def of(self, head: Head) -> Streams[PreparedTrack]:
        """What ``head`` reads of each track: every frame, or their mean where that is enough."""
        return self.data.features.map(
            lambda track, reads: self._track(track, reads, head.reads_frames), head.reads
        )

    def _track(self, track: Features, reads: Statistics, frames: bool) -> PreparedTrack:
        key = track.path, reads, frames
        if key not in self._tracks:
            preparation = self._preparation(track, reads)
            if frames:
                arrays, mask = preparation(track), np.array(track.mask)
            else:
                arrays = preparation.means(track)
                mask = np.ones((len(track.mask), track.draws), bool)
            self._tracks[key] = PreparedTrack(preparation, arrays, torch.from_numpy(mask))
        return self._tracks[key]

    def _preparation(self, track: Features, reads: Statistics) -> Preparation:
        key = track.path, reads
        if key not in self._preparations:
            preparation = Preparation.fit(track.only(reads), self.rows)
            self._preparations[key] = preparation.compact() if self.compact else preparation
        return self._preparations[key]
