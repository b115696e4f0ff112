"""A small cache whose truth is known: which columns tell the quality, which the content. Shared by
several tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from vqa_twostage.fuse.data import Dataset, Features, Side
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, datasets, load_cached_manifest
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import Kind, TrackIdentity
from vqa_twostage.pipeline.spec import Spec

FRAMES = 4
COLUMNS = 16
LEVELS = ("c1", "c2", "last")
# how many columns of each array tell the quality
TELLING = 4


def manifest_of(name: str, contents: int, versions: int) -> Manifest:
    """``versions`` videos of each content, with qualities of their own, and labels that follow the
    quality closely.
    """
    generator = np.random.default_rng(0)
    count = contents * versions
    mos = 3 + 0.6 * generator.normal(size=count)
    ids = [
        f"content {number // versions:02d}/version {number % versions}" for number in range(count)
    ]
    rows = pd.DataFrame(
        {
            "id": ids,
            "path": [f"{video_id}.mp4" for video_id in ids],
            "mos": mos,
            "mos_std": np.nan,
            "group": [f"content {number // versions:02d}" for number in range(count)],
            "split": "",
        }
    )
    return Manifest(name, name, "opinion", (1.0, 5.0), rows)


def features_of(
    manifest: Manifest, extractor: str, frames: int = FRAMES
) -> Iterator[tuple[str, VideoFeatures]]:
    """Of each video: a few columns tell the quality, and all of them tell the content; some videos
    are shorter.
    """
    generator = np.random.default_rng(len(extractor))
    content, _ = pd.factorize(manifest.rows["group"])
    looks = generator.normal(size=(content.max() + 1, COLUMNS))
    for row, (video_id, mos) in enumerate(
        zip(manifest.rows["id"], manifest.rows["mos"], strict=True)
    ):
        length = max(1, frames - row % 5 // 4)
        own, quality = generator.normal(size=COLUMNS), np.zeros(COLUMNS)
        quality[:TELLING] = 2 * (mos - 3) / 0.6 + 0.5 * generator.normal()
        arrays = {
            ArrayName.of(level, name): looks[content[row]]
            + own
            + quality
            + generator.normal(size=(length, COLUMNS))
            for level in LEVELS
            for name in ("mean", "std")
        }
        index = np.arange(length)
        yield video_id, VideoFeatures(arrays, index, index / 2.0, VideoAttributes("none"))


def write_features(
    cache: Path,
    manifest: Manifest,
    kind: Kind,
    extractor: str = "",
    sampler: str = "uniform:frames=4",
    without: tuple[str, ...] = (),
    frames: int = FRAMES,
    **more: str,
) -> TrackPath:
    """A track of such features, with ``more`` in its identity; extractors whose names are equally
    long give the same.
    """
    extractor = extractor or f"{kind}net"
    named = spec.parse(extractor)
    identity = TrackIdentity(kind, named, spec.parse(sampler), **more)
    path = TrackPath.of(cache, manifest.name, named.filename, identity)
    with write_track(path, identity, {"manifest": manifest.digest}) as track:
        for video_id, features in features_of(manifest, extractor, frames):
            if video_id not in without:
                track.write(video_id, features)
    return path


def make_cache(cache: Path, name: str = "toy", contents: int = 12, versions: int = 5) -> Path:
    manifest = manifest_of(name, contents, versions)
    save_manifest(cache, manifest)
    write_features(cache, manifest, "spatial")
    write_features(cache, manifest, "temporal")
    return cache


def add_track(cache: Path, kind: Kind, extractor: str, frames: int) -> TrackPath:
    """Another track of the dataset of `make_cache`, of so many frames of each video."""
    (name,) = datasets(cache)
    manifest = load_cached_manifest(cache, name)
    return write_features(
        cache, manifest, kind, extractor, f"uniform:frames={frames}", frames=frames
    )


def with_second_tracks(data: Dataset, frames: int = FRAMES) -> Dataset:
    """With another track in each stream, of at most so many frames and its columns reversed."""

    def of(side: Side) -> Side:
        (first,) = side
        identity = replace(first.identity, extractor=Spec(f"second_{first.identity.kind}"))
        second = Features(
            TrackPath.of(first.path.cache, first.path.dataset, identity.extractor.name, identity),
            identity,
            {name: array[:, :frames, ::-1] * 2 + 1 for name, array in first.arrays.items()},
            first.mask[:, :frames],
            first.timestamp[:, :frames],
        )
        return first, second

    return replace(data, features=data.features.map(of))


def make_dataset(name: str, contents: int, versions: int) -> Dataset:
    """What `make_cache` writes, but never written: a thousand arrays take their time on a disk."""
    manifest = manifest_of(name, contents, versions)

    def track(kind: Kind) -> Features:
        videos = [features for _, features in features_of(manifest, f"{kind}net")]
        mask = np.arange(FRAMES) < np.array([[len(video.frame_index)] for video in videos])
        arrays = {key: np.zeros((*mask.shape, COLUMNS), np.float16) for key in videos[0].arrays}
        timestamp = np.zeros(mask.shape)
        for row, video in enumerate(videos):
            timestamp[row, mask[row]] = video.timestamp
            for key, array in video.arrays.items():
                arrays[key][row, mask[row]] = array
        identity = TrackIdentity(kind, Spec(f"{kind}net"), Spec("uniform"))
        path = TrackPath.of(Path("cache"), name, f"{kind}net", identity)
        return Features(path, identity, arrays, mask, timestamp)

    mos = manifest.rows["mos"].to_numpy(np.float64)
    features = Streams((track("spatial"),), (track("temporal"),))
    return Dataset(manifest, features, mos, manifest.rows, [])


def relabelled(data: Dataset, mos: np.ndarray) -> Dataset:
    """The same videos and features with other labels."""
    manifest = replace(data.manifest, rows=data.manifest.rows.assign(mos=mos))
    return replace(data, manifest=manifest, mos=np.asarray(mos, float))


def each_track(data: Dataset, change: Callable[[Features], Features]) -> Streams[Side]:
    """The features with ``change`` made to each track."""
    return data.features.map(lambda side: tuple(map(change, side)))


def reworked(data: Dataset, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The same videos and labels, with ``change`` made to a copy of every array of all tracks."""

    def of(features: Features) -> Features:
        return replace(
            features, arrays={name: change(array.copy()) for name, array in features.arrays.items()}
        )

    return replace(data, features=each_track(data, of))


def with_draws(data: Dataset, draws: int) -> Dataset:
    """The same videos as if each frame had so many draws of patches: rows that differ a little."""

    def of(features: Features) -> Features:
        generator, named = np.random.default_rng(0), features.identity.extractor.name
        mask = features.mask.repeat(draws, axis=1)
        arrays = {
            name: array[:].repeat(draws, axis=1)
            + np.where(mask[..., None], generator.normal(size=(*mask.shape, COLUMNS)), 0)
            for name, array in features.arrays.items()
        }
        identity = replace(features.identity, extractor=Spec(named, {"crops": str(draws)}))
        times = features.timestamp.repeat(draws, axis=1)
        return Features(features.path, identity, arrays, mask, times)

    return replace(data, features=each_track(data, of))


def labels(data: Dataset) -> np.ndarray:
    return data.manifest.rows["mos"].to_numpy().copy()
