"""From the cache to aligned, masked arrays: every video of the manifest that all tracks hold.

Dimensions: N videos, T frames (padded to the longest), C channels of one stored array.
"""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int64

from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.cache import choosing
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.choosing import as_names, choose_dataset
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.same_files import of_different_files
from vqa_twostage.pipeline.cache.stored_column import StoredColumn, StoredTrack
from vqa_twostage.pipeline.cache.track_index import FEATURES, TIMESTAMP
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES, STATISTICS, ArrayName
from vqa_twostage.pipeline.identity import SAMPLING, Kind, TrackIdentity

# the statistics that are read of each track unless a head reads others
READS = Streams(AVERAGES, AVERAGES)
# threads: while one waits for bytes, the other tests those that have come
READERS = 2
# of an array that is worked on in blocks
BLOCK_BYTES = 64 << 20
# rows of padding for each row, and bytes with padding, that are refused where both are exceeded
MOST_PADDING, LARGEST_PADDED = 100, 4 << 30


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one track.

    ``arrays``: name -> [N, T, C], of maps [N, T, C, H, W], as stored; padding is 0. They are in
    memory, or a `StoredColumn` of what would not fit there. ``mask`` is true where there is a
    frame; ``timestamp`` is when it is shown, in seconds. ``content``: a checksum of what the track
    holds of these videos.
    """

    path: TrackPath
    identity: TrackIdentity
    arrays: Mapping[ArrayName, Float[np.ndarray, "N T ..."] | StoredColumn]
    mask: Bool[np.ndarray, "N T"]
    timestamp: Float[np.ndarray, "N T"]
    content: str = ""

    @property
    def draws(self) -> int:
        """How many successive rows each frame has: one for each draw of its patches, which an
        extractor with ``crops=K`` made; else 1.

        UsageError where the rows of a video are not so many: such a track was not written here.
        """
        text = self.identity.extractor.options.get("crops", "1")
        draws = int(text) if text.isdecimal() and len(text) < 5 else 0
        if draws < 1 or (self.mask.sum(axis=1) % draws).any():
            raise UsageError(
                f"{self.path}: its identity says crops={text}, and its videos have other numbers "
                "of rows; extract them again"
            )
        return draws

    def only(self, statistics: Collection[str]) -> Features:
        """The same track without the arrays of other statistics."""
        arrays = {
            name: array for name, array in self.arrays.items() if name.statistic in statistics
        }
        return replace(self, arrays=arrays)

    def blocks(self, name: ArrayName) -> Iterator[tuple[slice, Float[np.ndarray, "videos T ..."]]]:
        """An array some videos at a time: which, and their rows, about `BLOCK_BYTES` of them."""
        array = self.arrays[name]
        of_video = math.prod(array.shape[1:]) * array.dtype.itemsize
        videos = max(1, BLOCK_BYTES // max(1, of_video))
        for first in range(0, len(array), videos):
            place = slice(first, first + videos)
            yield place, array[place]

    def not_finite(self) -> dict[str, int]:
        """In how many videos a column has values that are not finite: ``{"videval/mean[20]":
        2}``.
        """
        counts: dict[str, int] = {}
        for name in self.arrays:
            blocks = (block for _, block in self.blocks(name))
            videos = np.sum([*map(_not_finite, blocks)], axis=0)
            counts |= {
                f"{name}[{column}]": int(videos[column]) for column in np.flatnonzero(videos)
            }
        return counts

    def frame_shares(self) -> Float[np.ndarray, "N T"]:
        """The weights of a plain mean over the frames of each video; 0 for padding."""
        return self.mask / self.mask.sum(axis=1, keepdims=True)


Side = tuple[Features, ...]
"""The tracks of one stream, each with frames of its own."""


def frames_of(side: Side) -> Features:
    """The track whose frames stand for those of a stream: the first of those with most of them."""
    return max(side, key=lambda track: track.mask.shape[1])


def _not_finite(block: Float[np.ndarray, "N T C ..."]) -> Int64[np.ndarray, " C"]:
    """In how many videos each column has a value that is not finite."""
    bad = ~np.isfinite(block)
    columns: Int64[np.ndarray, " C"] = bad.any(axis=(1, *range(3, block.ndim))).sum(axis=0)
    return columns


@dataclass(frozen=True, eq=False)
class Dataset:
    """The features and labels that a head is trained on.

    ``manifest`` has only the N videos that every track holds, in its own order, and ``mos`` their
    labels. ``everything`` are all rows of the manifest, by which published protocols divide.
    ``missing`` are the ids without features: named in every output, never dropped silently. Where
    there is no temporal track, both streams are of the spatial ones. ``scores``: of published
    models, which no head reads (`fuse.published_scores`). ``others`` are datasets that heads are
    trained on as well (`fuse.joint`).
    """

    manifest: Manifest
    features: Streams[Side]
    mos: Float[np.ndarray, " N"]
    everything: pd.DataFrame
    missing: list[str]
    scores: Side = ()
    others: tuple[Dataset, ...] = ()

    def of_axis(self, name: str) -> Dataset:
        """The same videos and features with the labels of an axis in the place of the main ones.

        UsageError where the dataset has none of that name, or a video has no such label.
        """
        axis, rows = self.manifest.axis(name), self.manifest.rows
        labels = rows[axis.column].to_numpy(np.float64)
        if missing := list(rows["id"][np.isnan(labels)]):
            raise UsageError(
                f"{len(missing)} of {len(rows)} videos have no label of the axis {name!r}, such as "
                f"{missing[0]}; leave the axis out, or give these videos labels in the dataset's "
                "file (or take them out of it) and run vqa-extract again"
            )
        manifest = replace(
            self.manifest,
            label=name,
            scale=axis.scale,
            better=axis.better,
            rows=rows.assign(mos=labels, mos_std=np.nan),
        )
        return replace(self, manifest=manifest, mos=labels)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is computed beside them may come while another thread pickles."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def tracks(self) -> list[Features]:
        """Each track once, the spatial ones first."""
        return list({track.path: track for side in self.features for track in side}.values())

    @property
    def paths(self) -> Streams[list[TrackPath]]:
        return self.features.map(lambda side: [track.path for track in side])

    @property
    def identities(self) -> Streams[list[TrackIdentity]]:
        return self.features.map(lambda side: [track.identity for track in side])

    @property
    def content(self) -> list[str]:
        """Checksums of the features, of every spatial and then of every temporal track."""
        return [track.content for side in self.features for track in side]

    @cached_property
    def not_finite(self) -> dict[str, int]:
        """Of all tracks; computed once, however many runs are made of the dataset. Columns of one
        name in several tracks have the track in front.
        """
        counts: dict[TrackPath, dict[str, int]] = {}
        for side in self.features:  # of one track they may read other statistics
            for track in side:
                counts.setdefault(track.path, {}).update(track.not_finite())
        seen = Counter(name for of_track in counts.values() for name in of_track)
        return {
            name if seen[name] == 1 else f"{path.stem}/{name}": count
            for path, of_track in counts.items()
            for name, count in of_track.items()
        }


def load_dataset(
    cache: Path,
    dataset: str | None,
    spatial: str | Collection[str] | None,
    temporal: str | Collection[str] | None,
    reads: Streams[Collection[str]] = READS,
    max_ram: int | None = None,
) -> Dataset:
    """Reads a dataset's manifest and some of its tracks; UsageError lists the choices where they
    are not clear.

    ``reads``: which statistics of spatial and of temporal tracks. Features of more than
    ``max_ram`` bytes (None: a quarter of the machine's memory) stay in the cache, and are read when
    they are used.
    """
    name = choose_dataset(cache, dataset)
    manifest = load_cached_manifest(cache, name)
    paths = choose_tracks(cache, name, spatial, temporal)
    return load_tracks(manifest, paths, reads, max_ram)


def load_tracks(
    manifest: Manifest,
    paths: Streams[list[TrackPath]],
    reads: Streams[Collection[str]] = READS,
    max_ram: int | None = None,
    scores: Sequence[TrackPath] = (),
) -> Dataset:
    """The dataset of a manifest with these very tracks, in this order, and these ``scores`` of
    published models; else as `load_dataset`.
    """
    with ExitStack() as stack:
        opened = paths.map(
            lambda side: [stack.enter_context(cached.open_track(path)) for path in side]
        )
        opened_scores = [stack.enter_context(cached.open_track(path)) for path in scores]
        all_tracks = [*(track for side in opened for track in side), *opened_scores]
        for sentence in of_different_files(all_tracks):
            warnings.warn(sentence, stacklevel=2)
        in_all = set.intersection(*(set(track.ids) for track in all_tracks))
        present = manifest.rows["id"].isin(in_all)
        if not present.any():
            listed = " and ".join(dict.fromkeys(str(track.path) for track in all_tracks))
            raise UsageError(f"no video of {manifest.name} is in {listed}; run vqa-extract first")
        ids = list(manifest.rows["id"][present])
        room = _quarter_of_memory() if max_ram is None else max_ram
        features = _features(opened, ids, reads, room)
        read_scores = tuple(read_features(track, ids, AVERAGES) for track in opened_scores)
    kept = replace(manifest, rows=manifest.rows[present].reset_index(drop=True))
    mos = kept.rows["mos"].to_numpy(np.float64)
    missing = list(manifest.rows["id"][~present])
    return Dataset(kept, features, mos, manifest.rows, missing, read_scores)


def _features(
    opened: Streams[list[cached.Track]],
    ids: list[str],
    reads: Streams[Collection[str]],
    max_ram: int,
) -> Streams[Side]:
    # a track of both streams is read once
    wanted: dict[Path, tuple[cached.Track, set[str]]] = {}
    for side, names in opened.zip(reads):
        for track in side:
            wanted.setdefault(track.path, (track, set()))[1].update(names)
    needed = sum(size_of(track, ids, names) for track, names in wanted.values())
    # beyond what fits in memory all tracks are read in blocks
    room = max_ram if needed <= max_ram else 0
    found = {
        path: read_features(track, ids, names, room) for path, (track, names) in wanted.items()
    }
    return opened.map(
        lambda side, names: tuple(found[track.path].only(names) for track in side), reads
    )


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def check_same_frames(data: Dataset) -> None:
    """UsageError unless the tracks of a head that reads frames were sampled alike; those of one
    frame stand for all.
    """
    first, *others = [track for track in data.tracks if track.mask.shape[1] > 1] or data.tracks
    for other in others:
        for difference in first.identity.differences(other.identity):
            if difference.field in SAMPLING:
                raise UsageError(
                    f"{first.path} and {other.path} were sampled differently "
                    f"({difference.field}: {difference.ours} and {difference.theirs}), and this "
                    "head reads frames; choose tracks of one sampler, or a head of means, such as "
                    "--fusion dynamic with the pooling avg and the temporal encoder mean"
                )


def choose_tracks(
    cache: Path,
    dataset: str,
    spatial: str | Collection[str] | None,
    temporal: str | Collection[str] | None,
) -> Streams[list[TrackPath]]:
    """The tracks of both streams; the spatial ones twice where the dataset has no temporal track
    and none was asked for.
    """
    names: dict[Kind, tuple[str, ...] | None] = {
        "spatial": as_names(spatial),
        "temporal": as_names(temporal),
    }
    chosen = choosing.choose_tracks(cache, dataset, names)
    return Streams(chosen["spatial"], chosen.get("temporal", chosen["spatial"]))


def _check_padding(track: cached.Track, lengths: Int64[np.ndarray, " N"]) -> None:
    """UsageError where one long video makes enormous arrays of the others' padding."""
    rows, padded = int(lengths.sum()), int(lengths.max()) * len(lengths)
    row_bytes = sum(column.row_bytes for column in track.index.columns)
    if padded > MOST_PADDING * rows and padded * row_bytes > LARGEST_PADDED:
        raise UsageError(
            f"{track.path}: the longest of {len(lengths)} videos has {lengths.max()} rows, and all "
            f"have {rows}: padded to its length they take {padded * row_bytes / 1e9:.0f} GB; leave "
            "that video out, or sample by count"
        )


def _wanted(track: cached.Track, statistics: Collection[str]) -> list[ArrayName]:
    return [
        name
        for name in track.array_names
        if name.statistic in statistics or name.statistic not in STATISTICS
    ]


def size_of(track: cached.Track, ids: list[str], statistics: Collection[str]) -> int:
    """How many bytes of memory `read_features` takes."""
    rows = [track.empty(f"{FEATURES}{name}", 1) for name in _wanted(track, statistics)]
    return len(ids) * int(track.row_counts(ids).max()) * sum(row.nbytes for row in rows)


def read_features(
    track: cached.Track, ids: list[str], wanted: Collection[str], max_ram: int | None = None
) -> Features:
    """The arrays with the statistics ``wanted`` of the videos ``ids``, in the order of ``ids``.

    Of more than ``max_ram`` bytes (None: however many) they stay in the track, and are read when
    they are used.
    """
    lengths = track.row_counts(ids)
    _check_padding(track, lengths)
    longest = int(lengths.max())
    mask = np.arange(longest) < lengths[:, None]
    names = _wanted(track, wanted)
    arrays: dict[ArrayName, np.ndarray | StoredColumn]
    if max_ram is not None and size_of(track, ids, wanted) > max_ram:
        stored = StoredTrack(track.path)
        arrays = {name: StoredColumn(stored, f"{FEATURES}{name}", ids) for name in names}
    else:
        with ThreadPoolExecutor(READERS) as pool:
            columns = pool.map(
                lambda name: track.read_padded(f"{FEATURES}{name}", ids, longest), names
            )
            arrays = dict(zip(names, columns, strict=True))
    path, timestamp = TrackPath.parse(track.path), track.read_padded(TIMESTAMP, ids, longest)
    return Features(path, track.identity, arrays, mask, timestamp, track.content_digest(ids))
