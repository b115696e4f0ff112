"""From a stream of frames to batches, one lane a track, and from batches back to the videos they
came from.

Frames of several videos share a batch. Each is resized once for all lanes that want it alike, and
is forgotten as soon as the last of them has taken it.

Letters: T rows of n sampled frames, N frames of a unit, M rows of features a unit, k frames at
once, S side in pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from vqa_twostage.extract.decoding.workers import VideoHeader
from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.inference.runtime import Runtime, preprocessings
from vqa_twostage.extract.options import View
from vqa_twostage.extract.preprocess import Geometry
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures

Part = dict[str, np.ndarray]  # a unit's features: name -> [M, C] or, for a grid, [M, C, h, w]
Seconds = defaultdict[str, float]  # by phase


class Job:
    """A video on its way: its frames until they are used, its features until they are whole."""

    def __init__(self, name: str, opened: VideoHeader, lanes: list[Lane]) -> None:
        self.id, self.opened, self.lanes = name, opened, lanes
        self._frames: dict[Geometry, dict[int, UInt8[Tensor, "3 S S"]]] = defaultdict(dict)
        self._uses: dict[Geometry, Counter[int]] = defaultdict(
            Counter
        )  # how many units still want a frame
        self._waiting: dict[
            Lane, deque[tuple[int, list[int]]]
        ] = {}  # units by number, with their frames
        self._parts: dict[Lane, list[Part | None]] = {}
        for lane in lanes:
            units = lane.units(opened).tolist()
            self._waiting[lane] = deque(enumerate(units))
            self._parts[lane] = [None] * len(units)
            for preprocessing in lane.preprocessings:
                for unit in units:
                    self._uses[preprocessing.geometry].update(unit)

    def receive(
        self,
        numbers: Int64[np.ndarray, " k"],
        pixels: UInt8[np.ndarray, "k H W 3"],
        seconds: Seconds,
    ) -> None:
        """Takes frames in, resized, and moves every unit that is whole into its lane's batch."""
        for preprocessing in {
            p.geometry: p for lane in self.lanes for p in lane.preprocessings
        }.values():
            wanted = [
                place
                for place, frame in enumerate(numbers)
                if self._uses[preprocessing.geometry][int(frame)]
            ]
            if wanted:
                with timed(seconds, "resize"):
                    chosen = torch.from_numpy(
                        pixels if len(wanted) == len(numbers) else pixels[wanted]
                    )
                    # cloned: the result may be a view of memory that the next frames are written to
                    resized = preprocessing.resize(chosen).clone()
                frames = (int(numbers[place]) for place in wanted)
                self._frames[preprocessing.geometry].update(zip(frames, resized, strict=True))
        for lane in self.lanes:
            while self._waiting[lane] and self._has(lane, self._waiting[lane][0][1]):
                lane.add(self, *self._waiting[lane].popleft(), seconds)

    def take(self, geometry: Geometry, unit: list[int]) -> list[UInt8[Tensor, "3 S S"]]:
        """A unit's frames; those that no other unit wants are forgotten."""
        held, uses = self._frames[geometry], self._uses[geometry]
        taken = [held[frame] for frame in unit]
        uses.subtract(unit)
        for frame in set(unit):
            if not uses[frame]:
                del held[frame]
        return taken

    def give(self, lane: Lane, unit: int, part: Part) -> None:
        self._parts[lane][unit] = part

    @property
    def complete(self) -> bool:
        return all(part is not None for parts in self._parts.values() for part in parts)

    def features(self, lane: Lane, attributes: VideoAttributes) -> VideoFeatures:
        """What a lane found of this video, once it is `complete`."""
        parts = [part for part in self._parts[lane] if part is not None]
        assert len(parts) == len(self._parts[lane]), "a video is asked for before it is complete"
        frames = lane.rows(self.opened, len(next(iter(parts[0].values()))))
        arrays = {
            ArrayName(name): np.concatenate([part[name] for part in parts])[: len(frames)]
            for name in parts[0]
        }
        timestamp = self.opened.timestamp[np.searchsorted(self.opened.distinct, frames)]
        return VideoFeatures(arrays, frames, timestamp, attributes)

    def _has(self, lane: Lane, unit: list[int]) -> bool:
        held = self._frames[
            lane.preprocessings[0].geometry
        ]  # a frame comes in all its sizes at once
        return all(frame in held for frame in unit)


class Lane:
    """One extractor with its batch."""

    def __init__(
        self, extractor: Extractor, view: View, runtime: Runtime, batch_frames: int
    ) -> None:
        self.preprocessings = preprocessings(extractor, view)
        self.of_clips, self.runtime = extractor.of_clips, runtime.name
        self._unit = extractor.unit_frames
        self._most = max(1, batch_frames // self._unit)
        self._forward = [
            runtime.load(extractor, p, view.grid, self._most) for p in self.preprocessings
        ]
        shapes = [(self._most * self._unit, p.size, p.size, 3) for p in self.preprocessings]
        # channels last: 1.9 times the frames a second of the default on CPU (docs/experiments.md)
        self._batch = [
            torch.zeros(shape, dtype=torch.uint8).permute(0, 3, 1, 2) for shape in shapes
        ]
        self._owners: list[tuple[Job, int]] = []  # whose units are in the batch, and which

    def units(self, opened: VideoHeader) -> Int64[np.ndarray, "units N"]:
        """Which frames make each unit; the last is filled up with the last frame."""
        if self.of_clips:
            return opened.index
        frames = opened.index[:, 0]  # of a clip, its first frame
        missing = -len(frames) % self._unit
        return np.concatenate([frames, np.repeat(frames[-1:], missing)]).reshape(-1, self._unit)

    def rows(self, opened: VideoHeader, rows_a_unit: int) -> Int64[np.ndarray, " T"]:
        """The frame that each row of features is of; of several, the first."""
        assert self._unit % rows_a_unit == 0, (
            "an extractor's rows share the frames of a unit evenly"
        )
        share = self._unit // rows_a_unit
        rows = self.units(opened)[:, ::share].reshape(-1)
        # without those of the frames that fill up the last unit
        return rows if self.of_clips else rows[: -(-len(opened.index) // share)]

    def add(self, job: Job, unit: int, frames: list[int], seconds: Seconds) -> None:
        """Puts a unit into the batch, and runs the batch when it is full."""
        place = len(self._owners) * self._unit
        for preprocessing, batch in zip(self.preprocessings, self._batch, strict=True):
            for offset, frame in enumerate(job.take(preprocessing.geometry, frames)):
                batch[place + offset] = frame
        self._owners.append((job, unit))
        if len(self._owners) == self._most:
            self.flush(seconds)

    def flush(self, seconds: Seconds) -> None:
        """Runs the batch and gives the features to their videos.

        It is always of full size, what is left over from an earlier one included: with one shape,
        what shares a batch with a video does not decide which kernels compute its features.
        """
        if not self._owners:
            return
        with timed(seconds, "forward"):
            found = [
                forward(batch.unflatten(0, (-1, self._unit)))
                for forward, batch in zip(self._forward, self._batch, strict=True)
            ]
        for place, (job, unit) in enumerate(self._owners):
            job.give(
                self,
                unit,
                {n: np.concatenate([one[n][place] for one in found], axis=1) for n in found[0]},
            )
        self._owners.clear()


@contextmanager
def timed(seconds: Seconds, phase: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        seconds[phase] += perf_counter() - start
