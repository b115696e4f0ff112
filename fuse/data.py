"""From the cache to aligned, masked arrays: every video of the manifest that both tracks hold.

Dimensions: N videos, T frames (padded to the longest), C channels of one stored array.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int64

from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.cache import choosing
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.track_index import FEATURES, TIMESTAMP
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES, STATISTICS, ArrayName
from vqa_twostage.pipeline.identity import SAMPLING, TrackIdentity

# the statistics that are read of each track unless a head reads others
READS = Streams(AVERAGES, AVERAGES)
# threads: while one waits for bytes, the other tests those that have come
READERS = 2
# rows of padding for each row, and bytes with padding, that are refused where both are exceeded
MOST_PADDING, LARGEST_PADDED = 100, 4 << 30


@dataclass(frozen=True)
class Features:
    """The features of one track.

    ``arrays``: name -> [N, T, C], of maps [N, T, C, H, W], as stored; padding is 0. ``mask`` is
    true where there is a frame; ``timestamp`` is when it is shown, in seconds. ``content``: a
    checksum of what the track holds of these videos.
    """

    path: TrackPath
    identity: TrackIdentity
    arrays: dict[ArrayName, Float[np.ndarray, "N T ..."]]
    mask: Bool[np.ndarray, "N T"]
    timestamp: Float[np.ndarray, "N T"]
    content: str = ""

    def only(self, statistics: Collection[str]) -> Features:
        """The same track without the arrays of other statistics."""
        arrays = {
            name: array for name, array in self.arrays.items() if name.statistic in statistics
        }
        return replace(self, arrays=arrays)

    def not_finite(self) -> dict[str, int]:
        """In how many videos a column has values that are not finite: ``{"videval/mean[20]":
        2}``.
        """
        counts: dict[str, int] = {}
        for name, array in self.arrays.items():
            bad = ~np.isfinite(array)
            if bad.any():
                videos = bad.any(axis=(1, *range(3, array.ndim)))
                counts |= {
                    f"{name}[{column}]": int(videos[:, column].sum())
                    for column in np.flatnonzero(videos.any(0))
                }
        return counts

    def frame_shares(self) -> Float[np.ndarray, "N T"]:
        """The weights of a plain mean over the frames of each video; 0 for padding."""
        return self.mask / self.mask.sum(axis=1, keepdims=True)


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
) -> Dataset:
    """Reads a dataset's manifest and two of its tracks; UsageError lists the choices where they are
    not clear.

    ``reads``: which statistics of the spatial and of the temporal track.
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
        features = pair.map(lambda track, statistics: read_features(track, ids, statistics), reads)
    kept = replace(manifest, rows=manifest.rows[present].reset_index(drop=True))
    mos = kept.rows["mos"].to_numpy(np.float64)
    return Dataset(kept, features, mos, manifest.rows, list(manifest.rows["id"][~present]))


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


def read_features(track: cached.Track, ids: list[str], wanted: Collection[str]) -> Features:
    """The arrays with the statistics ``wanted`` of the videos ``ids``, in the order of ``ids``."""
    lengths = track.row_counts(ids)
    _check_padding(track, lengths)
    mask = np.arange(lengths.max()) < lengths[:, None]

    def padded(column: str) -> np.ndarray:
        # read to where it stays: a copy of a large track may not fit into memory
        rows = track.empty(column, mask.size)
        track.read_into(column, ids, np.arange(len(ids)) * mask.shape[1], rows)
        return rows.reshape(*mask.shape, *rows.shape[1:])

    names = [
        name
        for name in track.array_names
        if name.statistic in wanted or name.statistic not in STATISTICS
    ]
    with ThreadPoolExecutor(READERS) as pool:
        columns = pool.map(padded, [f"{FEATURES}{name}" for name in names])
        arrays = dict(zip(names, columns, strict=True))
    path = TrackPath.parse(track.path)
    digest = track.content_digest(ids)
    return Features(path, track.identity, arrays, mask, padded(TIMESTAMP), digest)
