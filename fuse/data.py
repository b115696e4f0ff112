"""From the cache to aligned, masked arrays: every video of the manifest that both tracks hold.

Letters: N videos, T frames (padded to the longest), C channels of one stored array.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, datasets, load_cached_manifest, tracks
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES, STATISTICS, ArrayName
from vqa_twostage.pipeline.identity import SAMPLING, TrackIdentity


@dataclass(frozen=True)
class Features:
    """One track. ``arrays``: name -> [N, T, C], of maps [N, T, C, H, W], as stored; 0 where there
    is no frame.

    ``mask`` [N, T] is true where there is a frame; ``timestamp`` [N, T] is when it is shown, in
    seconds.
    """

    path: TrackPath
    identity: TrackIdentity
    arrays: dict[ArrayName, Float[np.ndarray, "N T ..."]]
    mask: Bool[np.ndarray, "N T"]
    timestamp: Float[np.ndarray, "N T"]

    def only(self, statistics: Collection[str]) -> Features:
        """The same track without the arrays of other statistics."""
        arrays = {
            name: array for name, array in self.arrays.items() if name.statistic in statistics
        }
        return replace(self, arrays=arrays)

    def not_finite(self) -> dict[str, int]:
        """Columns that hold values that are no numbers: ``{"videval/mean[20]": 2}``, and in how
        many videos.
        """
        found: dict[str, int] = {}
        for name, array in self.arrays.items():
            bad = ~np.isfinite(array)
            if bad.any():
                videos = bad.any(axis=(1, *range(3, array.ndim)))
                found |= {
                    f"{name}[{column}]": int(videos[:, column].sum())
                    for column in np.flatnonzero(videos.any(0))
                }
        return found


@dataclass(frozen=True)
class Dataset:
    """What a head is trained on. ``manifest`` has only the N videos that every track holds, in its
    own order.

    ``everything`` are all rows of the manifest, by which published protocols divide. ``missing``
    are the ids without features: named in every output, never dropped silently. Where there is no
    temporal track, ``temporal`` is the spatial one again.
    """

    manifest: Manifest
    spatial: Features
    temporal: Features
    mos: Float[np.ndarray, " N"]
    everything: pd.DataFrame
    missing: list[str]

    @cached_property
    def not_finite(self) -> dict[str, int]:
        """Of both tracks; looked for once, however many runs are made of the dataset."""
        return {**self.spatial.not_finite(), **self.temporal.not_finite()}


def load_dataset(
    cache: Path,
    dataset: str | None,
    spatial: str | None,
    temporal: str | None,
    reads: tuple[Collection[str], Collection[str]] = (AVERAGES, AVERAGES),
) -> Dataset:
    """Reads a dataset's manifest and two of its tracks; UsageError lists the choices where they are
    not clear.

    ``reads``: which statistics of the spatial and of the temporal track.
    """
    name = choose_dataset(cache, dataset)
    manifest = load_cached_manifest(cache, name)
    paths = choose_tracks(cache, name, spatial, temporal)
    with ExitStack() as stack:
        first, second = pair = [stack.enter_context(cached.open_track(path)) for path in paths]
        in_both = set(first.ids) & set(second.ids)
        for field, one, other in first.identity.differences(second.identity):
            if field in SAMPLING:
                raise UsageError(
                    f"{paths[0]} and {paths[1]} were sampled differently ({field}: {one} and "
                    f"{other}); choose two tracks of one sampler"
                )
        present = manifest.rows["id"].isin(in_both)
        if not present.any():
            raise UsageError(
                f"no video of {name} is in both {paths[0]} and {paths[1]}; run vqa-extract first"
            )
        ids = list(manifest.rows["id"][present])
        spatial_features, temporal_features = (
            read_features(track, ids, wanted) for track, wanted in zip(pair, reads, strict=True)
        )
    kept = replace(manifest, rows=manifest.rows[present].reset_index(drop=True))
    mos = kept.rows["mos"].to_numpy(np.float64)
    return Dataset(
        kept,
        spatial_features,
        temporal_features,
        mos,
        manifest.rows,
        list(manifest.rows["id"][~present]),
    )


def choose_dataset(cache: Path, wanted: str | None) -> str:
    known = datasets(cache)
    if not known:
        raise UsageError(f"{cache} holds no dataset; run vqa-extract --cache {cache} first")
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None:
        raise UsageError(
            f"{cache} holds several datasets; choose one with --dataset: {', '.join(known)}"
        )
    name = Path(wanted).stem if wanted.endswith((".csv", ".toml")) else wanted
    if name not in known:
        raise UsageError(f"{cache} holds no dataset {name!r}; it holds {', '.join(known)}")
    return name


def choose_tracks(
    cache: Path, dataset: str, spatial: str | None, temporal: str | None
) -> tuple[TrackPath, TrackPath]:
    """The two tracks of a head; the spatial one twice where the dataset has no temporal track and
    none is asked for.
    """
    found: dict[str, list[TrackPath]] = {"spatial": [], "temporal": []}
    for path in tracks(cache, dataset):
        with cached.open_track(path) as track:
            if len(track):
                found[track.identity.kind].append(path)
    first = choose_track(cache, dataset, "spatial", spatial, found["spatial"])
    if not found["temporal"] and temporal is None:
        return first, first
    return first, choose_track(cache, dataset, "temporal", temporal, found["temporal"])


def choose_track(
    cache: Path, dataset: str, kind: str, wanted: str | None, tracks: list[TrackPath]
) -> TrackPath:
    """Of ``tracks`` the one called ``<wanted>-<digest>.h5`` (or that stem in full); the only one
    for None.
    """
    # as files call it, or by the spec that it was extracted with
    names = (None, "") if wanted is None else (wanted, _filename(wanted))
    choices = [path for path in tracks if wanted is None or {path.stem, path.name} & {*names}]
    if len(choices) == 1:
        return choices[0]
    listed = "\n".join(
        f"  --{kind} {path.stem}   (sampler {path.sampler})" for path in choices or tracks
    )
    if not tracks:
        raise UsageError(
            f"{cache / dataset} holds no {kind} track; run vqa-extract with --{kind}, or vqa-cache "
            "import"
        )
    if not choices:
        raise UsageError(
            f"no {kind} track of {dataset} is called {wanted!r}; choose from\n{listed}"
        )
    raise UsageError(f"several {kind} tracks of {dataset}; choose one:\n{listed}")


def _filename(text: str) -> str:
    try:
        return spec.parse(text).filename
    except UsageError:
        return text


def read_features(track: cached.Track, ids: list[str], wanted: Collection[str]) -> Features:
    """Of the videos ``ids`` the arrays of those statistics, side by side in the order given."""
    stored = [track.read(video_id, without=STATISTICS - set(wanted)) for video_id in ids]
    lengths = np.array([len(video.frame_index) for video in stored])
    mask = np.arange(lengths.max()) < lengths[:, None]
    arrays = {}
    for name, first in stored[0].arrays.items():
        padded = np.zeros((*mask.shape, *first.shape[1:]), first.dtype)
        padded[mask] = np.concatenate([video.arrays[name] for video in stored])
        arrays[name] = padded
    timestamp = np.zeros(mask.shape)
    timestamp[mask] = np.concatenate([video.timestamp for video in stored])
    return Features(TrackPath.parse(track.path), track.identity, arrays, mask, timestamp)
