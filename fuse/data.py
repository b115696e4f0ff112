"""From the cache to aligned, masked arrays: every video of the manifest that both tracks hold.

Dimensions: N videos, T frames (padded to the longest), C channels of one stored array.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping
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
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.stored_column import StoredColumn, StoredTrack
from vqa_twostage.pipeline.cache.track_index import FEATURES, TIMESTAMP
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES, STATISTICS, ArrayName
from vqa_twostage.pipeline.identity import SAMPLING, TrackIdentity

# the statistics that are read of each track unless a head reads others
READS = Streams(AVERAGES, AVERAGES)
# threads: while one waits for bytes, the other tests those that have come
READERS = 2
# of an array that is worked on in blocks
BLOCK_BYTES = 64 << 20
# rows of padding for each row, and bytes with padding, that are refused where both are exceeded
MOST_PADDING, LARGEST_PADDED = 100, 4 << 30


@dataclass(frozen=True)
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


def _not_finite(block: Float[np.ndarray, "N T C ..."]) -> Int64[np.ndarray, " C"]:
    """In how many videos each column has a value that is not finite."""
    bad = ~np.isfinite(block)
    columns: Int64[np.ndarray, " C"] = bad.any(axis=(1, *range(3, block.ndim))).sum(axis=0)
    return columns


@dataclass(frozen=True)
class Dataset:
    """The features and labels that a head is trained on.

    ``manifest`` has only the N videos that every track holds, in its own order, and ``mos`` their
    labels. ``everything`` are all rows of the manifest, by which published protocols divide.
    ``missing`` are the ids without features: named in every output, never dropped silently. Where
    there is no temporal track, both streams are the spatial one.
    """

    manifest: Manifest
    features: Streams[Features]
    mos: Float[np.ndarray, " N"]
    everything: pd.DataFrame
    missing: list[str]

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is computed beside them may come while another thread pickles."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def spatial(self) -> Features:
        return self.features.spatial

    @property
    def temporal(self) -> Features:
        return self.features.temporal

    @property
    def has_temporal(self) -> bool:
        """Whether the temporal features are of another track than the spatial ones."""
        return self.temporal.path != self.spatial.path

    @property
    def content(self) -> Streams[str]:
        """Checksums of the features, in both tracks."""
        return self.features.map(lambda track: track.content)

    @cached_property
    def not_finite(self) -> dict[str, int]:
        """Of both tracks; computed once, however many runs are made of the dataset."""
        return {**self.spatial.not_finite(), **self.temporal.not_finite()}


def load_dataset(
    cache: Path,
    dataset: str | None,
    spatial: str | None,
    temporal: str | None,
    reads: Streams[Collection[str]] = READS,
    max_ram: int | None = None,
) -> Dataset:
    """Reads a dataset's manifest and two of its tracks; UsageError lists the choices where they are
    not clear.

    ``reads``: which statistics of the spatial and of the temporal track. Features of more than
    ``max_ram`` bytes (None: a quarter of the machine's memory) stay in the cache, and are read when
    they are used.
    """
    name = choose_dataset(cache, dataset)
    manifest = load_cached_manifest(cache, name)
    paths = choose_tracks(cache, name, spatial, temporal)
    with ExitStack() as stack:
        pair = paths.map(lambda path: stack.enter_context(cached.open_track(path)))
        _check_same_sampling(pair)
        in_both = set(pair.spatial.ids) & set(pair.temporal.ids)
        present = manifest.rows["id"].isin(in_both)
        if not present.any():
            raise UsageError(
                f"no video of {name} is in both {paths.spatial} and {paths.temporal}; run "
                "vqa-extract first"
            )
        ids = list(manifest.rows["id"][present])
        features = _features(pair, ids, reads, _quarter_of_memory() if max_ram is None else max_ram)
    kept = replace(manifest, rows=manifest.rows[present].reset_index(drop=True))
    mos = kept.rows["mos"].to_numpy(np.float64)
    return Dataset(kept, features, mos, manifest.rows, list(manifest.rows["id"][~present]))


def _features(
    pair: Streams[cached.Track], ids: list[str], reads: Streams[Collection[str]], max_ram: int
) -> Streams[Features]:
    if pair.spatial.path == pair.temporal.path:  # one track for both streams is read once
        both = read_features(pair.spatial, ids, {*reads.spatial, *reads.temporal}, max_ram)
        return Streams(both.only(reads.spatial), both.only(reads.temporal))
    needed = sum(size_of(track, ids, names) for track, names in pair.zip(reads))
    # beyond what fits in memory both tracks are read in blocks
    room = max_ram if needed <= max_ram else 0
    return pair.map(lambda track, names: read_features(track, ids, names, room), reads)


def _quarter_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _check_same_sampling(pair: Streams[cached.Track]) -> None:
    for difference in pair.spatial.identity.differences(pair.temporal.identity):
        if difference.field in SAMPLING:
            raise UsageError(
                f"{pair.spatial.path} and {pair.temporal.path} were sampled differently "
                f"({difference.field}: {difference.ours} and {difference.theirs}); choose two "
                "tracks of one sampler"
            )


def choose_tracks(
    cache: Path, dataset: str, spatial: str | None, temporal: str | None
) -> Streams[TrackPath]:
    """The two tracks of a head; the spatial one twice where the dataset has no temporal track and
    none was asked for.
    """
    chosen = choosing.choose_tracks(cache, dataset, spatial, temporal)
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
