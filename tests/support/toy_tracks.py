"""Small tracks whose content is known, for the tests of the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

IDENTITY = TrackIdentity(
    "spatial", spec.parse("net:x=1"), spec.parse("uniform:frames=8"), precision="fp32"
)


def features(value: float = 1.0, frames: int = 3) -> VideoFeatures:
    arrays = {
        ArrayName("c1/mean"): np.full((frames, 4), value, np.float32),
        ArrayName("c1/std"): np.zeros((frames, 4), np.float32),
    }
    attributes = VideoAttributes("abc", source_size=7, fps=25.0, damage="cut off")
    return VideoFeatures(arrays, np.arange(frames), np.arange(frames) / 2, attributes)


def random_features(seed: int, frames: int = 3) -> VideoFeatures:
    """No two videos share a value, so that whatever is read from the wrong place is noticed."""
    generator = np.random.default_rng(seed)
    arrays = {
        ArrayName("c1/mean"): generator.normal(size=(frames, 4)),
        ArrayName("c5/std"): generator.normal(size=(frames, 24)),
        ArrayName("c5/grid"): generator.normal(size=(frames, 3, 2, 2)),
    }
    attributes = VideoAttributes(f"digest {seed}", source_size=seed, fps=25.0, damage="cut off")
    times = np.arange(frames) + generator.random()
    return VideoFeatures(arrays, generator.integers(0, 999, frames), times, attributes)


def write(path: Path, **videos: VideoFeatures) -> None:
    with write_track(path, IDENTITY, {"version test": "1"}) as track:
        for name, value in videos.items():
            track.write(name, value)


def place_of(path: Path, column: str, row: int) -> int:
    """Where in the file a row of a column begins."""
    with open_track(path) as track:
        (found,) = (each for each in track.index.columns if each.name == column)
    ((offset, _),) = found.extents(row, row + 1)
    return offset


def same(stored: VideoFeatures, given: VideoFeatures) -> bool:
    """Whether a video was read as it was written, in half precision."""
    return (
        stored.attributes == given.attributes
        and np.array_equal(stored.frame_index, given.frame_index)
        and np.array_equal(stored.timestamp, given.timestamp)
        and stored.arrays.keys() == given.arrays.keys()
        and all(
            np.array_equal(array, given.arrays[name].astype(np.float16))
            for name, array in stored.arrays.items()
        )
    )
