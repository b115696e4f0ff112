"""From streams of resized frames to batches, and from batches back to the videos that they came
from.

Frames of several videos share a batch of a track. Each frame is dropped as soon as the last unit
that wants it has taken it. Neither a video nor a batcher knows the other: the engine carries units
from the one and features to the other.

Dimensions: N frames of a unit, M rows of features a unit, S side in pixels.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from vqa_twostage.extract.decoding.workers import DecodeSummary, VideoHeader
from vqa_twostage.extract.extractor import Extractor, View
from vqa_twostage.extract.inference.resizing import Frame, ResizedFrames, frame_uses
from vqa_twostage.extract.inference.runtime import Runtime, preprocessings
from vqa_twostage.extract.inference.units import UnitLayout
from vqa_twostage.extract.preprocess import Geometry
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures

# features of a unit: name -> [M, C] or, for a grid, [M, C, h, w]
UnitArrays = dict[str, Float32[np.ndarray, "M ..."]]


@dataclass(frozen=True, eq=False)
class Unit:
    """Frames of a video that go through a track's network together.

    ``number`` counts the video's units on that track. ``frames``: N frames for each preprocessing
    of the track, which may differ in size.
    """

    video: str
    track: TrackPath
    number: int
    frames: list[list[UInt8[Tensor, "3 _ _"]]]


@dataclass(frozen=True, eq=False)
class UnitFeatures:
    """What a network made of a unit."""

    video: str
    track: TrackPath
    number: int
    arrays: UnitArrays


class VideoInFlight:
    """A video between its decoder and its tracks: frames until all units have taken them, features
    until all units have them.
    """

    def __init__(self, video_id: str, header: VideoHeader, layouts: Mapping[TrackPath, UnitLayout]):
        self.id, self.header = video_id, header
        self.decoded: DecodeSummary | None = None  # set when the last frame was received
        self._layouts = layouts
        self._frames: dict[Geometry, dict[int, Frame]] = defaultdict(dict)
        # how many units still want a frame
        self._uses = frame_uses(header, layouts.values())
        # of each track the units that wait for frames, as their numbers and frames
        self._waiting: dict[TrackPath, deque[tuple[int, list[int]]]] = {}
        self._arrays: dict[TrackPath, list[UnitArrays | None]] = {}
        for track, layout in layouts.items():
            units = layout.units(header).tolist()
            self._waiting[track] = deque(enumerate(units))
            self._arrays[track] = [None] * len(units)

    def receive(self, resized: Iterable[ResizedFrames]) -> None:
        """Keeps frames that a `Resizer` made for the same layouts."""
        for geometry, numbers, frames in resized:
            self._frames[geometry].update(zip(numbers, frames, strict=True))

    def ready_units(self) -> Iterator[Unit]:
        """The units whose frames are all here, with those frames, each unit once."""
        for track, waiting in self._waiting.items():
            geometries = [item.geometry for item in self._layouts[track].preprocessings]
            # a frame comes in all its sizes at once, so one of them tells
            while waiting and all(frame in self._frames[geometries[0]] for frame in waiting[0][1]):
                number, frames = waiting.popleft()
                yield Unit(
                    self.id,
                    track,
                    number,
                    [self._take(geometry, frames) for geometry in geometries],
                )

    def collect(self, features: UnitFeatures) -> None:
        self._arrays[features.track][features.number] = features.arrays

    @property
    def tracks(self) -> tuple[TrackPath, ...]:
        return tuple(self._layouts)

    @property
    def complete(self) -> bool:
        """Whether all units of all tracks have their features."""
        return all(part is not None for parts in self._arrays.values() for part in parts)

    def features(self, track: TrackPath, runtime: str) -> VideoFeatures:
        """What ``runtime`` computed for one track of a video that is `complete`."""
        assert self.complete and self.decoded is not None, "asked for before it is complete"
        header, decoded = self.header, self.decoded
        parts = [part for part in self._arrays[track] if part is not None]
        rows = self._layouts[track].rows(header, len(next(iter(parts[0].values()))))
        arrays = {
            ArrayName(name): np.concatenate([part[name] for part in parts])[: len(rows)]
            for name in parts[0]
        }
        timestamp = header.timestamp[np.searchsorted(header.distinct, rows)]
        attributes = VideoAttributes(
            source_digest=header.source.digest,
            source_size=header.source.size,
            source_mtime_ns=header.source.mtime_ns,
            width=header.width,
            height=header.height,
            fps=header.fps,
            frames=header.length,
            repeated=header.repeated,
            decoder=decoded.decoder,
            damage=decoded.damage,
            seconds=decoded.seconds,
            runtime=runtime,
        )
        return VideoFeatures(arrays, rows, timestamp, attributes)

    def _take(self, geometry: Geometry, unit: list[int]) -> list[Frame]:
        """The frames of a unit; those that no other unit wants are dropped."""
        held, uses = self._frames[geometry], self._uses[geometry]
        taken = [held[number] for number in unit]
        uses.subtract(unit)
        for number in set(unit):
            if not uses[number]:
                del held[number]
        return taken


class TrackBatcher:
    """The batch of one track: it takes units until it is `full`, and runs the network on them."""

    def __init__(
        self, extractor: Extractor, view: View, runtime: Runtime, batch_frames: int
    ) -> None:
        self.layout = UnitLayout(
            extractor.unit_frames,
            extractor.of_clips,
            tuple(preprocessings(extractor, view)),
            view.crops,
        )
        self._size = max(1, batch_frames // extractor.unit_frames)  # units in a batch
        sizes = {item.size: item for item in self.layout.preprocessings}
        loaded = {
            size: runtime.load(extractor, item, view.grid, self._size)
            for size, item in sizes.items()
        }
        self.runtime = "+".join(sorted({name for name, _ in loaded.values()}))
        self._networks = [loaded[item.size][1] for item in self.layout.preprocessings]
        # channels last: 1.9 times the frames a second of the default on CPU (docs/experiments.md)
        self._batches = [
            torch.zeros(
                (self._size * extractor.unit_frames, item.size, item.size, 3), dtype=torch.uint8
            ).permute(0, 3, 1, 2)
            for item in self.layout.preprocessings
        ]
        self._units: list[tuple[str, TrackPath, int]] = []  # what is in the batch, in its order

    @property
    def empty(self) -> bool:
        return not self._units

    @property
    def full(self) -> bool:
        return len(self._units) == self._size

    def add(self, unit: Unit) -> None:
        """Copies a unit into the batch, which must not be full."""
        assert not self.full, "a full batch must run before the next unit is added"
        first = len(self._units) * self.layout.unit_frames
        for batch, frames in zip(self._batches, unit.frames, strict=True):
            for place, frame in enumerate(frames, start=first):
                batch[place] = frame
        self._units.append((unit.video, unit.track, unit.number))

    def run(self) -> list[UnitFeatures]:
        """Runs the network on the batch, which must hold a unit, empties it, and returns the
        features of its units.

        The batch always has its full size, with what is left over from an earlier one: with one
        shape, what shares a batch with a video does not decide which kernels compute its features.
        """
        outputs = [
            network(batch.unflatten(0, (-1, self.layout.unit_frames)))
            for network, batch in zip(self._networks, self._batches, strict=True)
        ]
        features = [
            UnitFeatures(
                *unit,
                {
                    name: self._rows([output[name][place] for output in outputs])
                    for name in outputs[0]
                },
            )
            for place, unit in enumerate(self._units)
        ]
        self._units.clear()
        return features

    def _rows(
        self, outputs: list[Float32[np.ndarray, "M _ ..."]]
    ) -> Float32[np.ndarray, "rows C ..."]:
        """Of a unit's arrays for each preprocessing: resolutions stand side by side, and the draws
        of each row below one another.
        """
        resolutions = len(outputs) // self.layout.draws
        draws = [
            np.concatenate(outputs[first : first + resolutions], axis=1)
            for first in range(0, len(outputs), resolutions)
        ]
        stacked = np.stack(draws, axis=1)  # [M, draws, C, ...]
        return stacked.reshape(-1, *stacked.shape[2:])
