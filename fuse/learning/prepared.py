"""The features of a dataset as heads read them, prepared once for all heads and members of a split.

Dimensions: N videos, T frames of a track; where they are averaged 1, or one for each draw of
patches.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vqa_twostage.fuse.averaging import FittedAverage
from vqa_twostage.fuse.data import Dataset, Features, Side
from vqa_twostage.fuse.learning.fine_tune import Start
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.sides import Prepared, prepare_track, side_by_side
from vqa_twostage.fuse.streams import Arrays, Shapes, Streams, joined
from vqa_twostage.pipeline.cache.layout import TrackPath

Statistics = tuple[str, ...]


class PreparedSide(NamedTuple):
    """How each track of a stream is prepared, the prepared arrays, and which of their T frames
    there are.
    """

    preparations: list[Preparation]
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


@dataclass(frozen=True, eq=False)
class PreparedFeatures:
    """The tracks of a dataset, prepared by statistics of the videos ``rows`` alone.

    ``compact``: for a model that is kept, whose file is then half as large. Whatever two heads read
    alike is prepared once.
    """

    data: Dataset
    rows: Int[np.ndarray, " rows"]
    compact: bool = False
    threads: int = 1
    """That prepare, where nothing else is to be done meanwhile."""
    averaged: dict[Hashable, FittedAverage] = field(default_factory=dict)
    """Kept for other heads that read the same (`fuse.learning.averaged`)."""
    _preparations: dict[tuple[TrackPath, Statistics], Preparation] = field(default_factory=dict)
    _tracks: dict[tuple[TrackPath, Statistics, bool], Prepared] = field(default_factory=dict)
    _sides: dict[tuple[tuple[TrackPath, ...], Statistics, bool], PreparedSide] = field(
        default_factory=dict
    )
    _others: list[PreparedFeatures] = field(default_factory=list)
    _axes: dict[str, PreparedFeatures] = field(default_factory=dict)

    def of_axis(self, name: str) -> PreparedFeatures:
        """The same with the labels of an axis (`fuse.data.Dataset.of_axis`); what is prepared is
        shared, since it knows no label.
        """
        if name not in self._axes:
            self._axes[name] = replace(self, data=self.data.of_axis(name), averaged={}, _axes={})
        return self._axes[name]

    def others(self, head: Head) -> list[PreparedFeatures]:
        """The other datasets of ``data``, prepared by the same statistics for ``head``."""
        if not self._others:
            self._others.extend(
                PreparedFeatures(other, np.arange(len(other.mos)), self.compact, self.threads)
                for other in self.data.others
            )
        for other in self._others:
            for ours, theirs, reads in zip(
                self.data.features, other.data.features, head.reads, strict=True
            ):
                for like, track in zip(ours, theirs, strict=True):
                    other._preparations[track.path, reads] = self._preparation(like, reads)
        return self._others

    @staticmethod
    def from_start(
        data: Dataset, rows: Int[np.ndarray, " rows"], head: Head, start: Start, threads: int = 1
    ) -> PreparedFeatures:
        """Prepared as what ``head`` starts from says."""
        found: dict[tuple[TrackPath, Statistics], Preparation] = {}
        sides = data.features.zip(start.preparations)
        for (side, of_source), reads in zip(sides, head.reads, strict=True):
            for track, preparation in zip(side, of_source, strict=True):
                found[track.path, reads] = start.preparation(preparation, track.only(reads), rows)
        return PreparedFeatures(data, rows, threads=threads, _preparations=found)

    def of(self, head: Head) -> Streams[PreparedSide]:
        """What ``head`` reads of each stream: every frame, or their mean where that is enough."""
        return self.data.features.map(
            lambda side, reads: self._side(side, reads, head.reads_frames), head.reads
        )

    def _side(self, side: Side, reads: Statistics, frames: bool) -> PreparedSide:
        key = tuple(track.path for track in side), reads, frames
        if key not in self._sides:
            joined_tracks = side_by_side(
                side, [self._track(track, reads, frames) for track in side]
            )
            preparations = [self._preparation(track, reads) for track in side]
            self._sides[key] = PreparedSide(preparations, *joined_tracks)
        return self._sides[key]

    def _track(self, track: Features, reads: Statistics, frames: bool) -> Prepared:
        key = track.path, reads, frames
        if key not in self._tracks:
            preparation = self._preparation(track, reads)
            self._tracks[key] = prepare_track(track.only(reads), preparation, frames, self.threads)
        return self._tracks[key]

    def _preparation(self, track: Features, reads: Statistics) -> Preparation:
        key = track.path, reads
        if key not in self._preparations:
            preparation = Preparation.fit(track.only(reads), self.rows)
            self._preparations[key] = preparation.compact() if self.compact else preparation
        return self._preparations[key]
