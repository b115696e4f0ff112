"""From the cache to aligned, masked arrays: every video of the manifest that both tracks hold.

Letters: N videos, T frames (padded to the longest), C channels of one stored array.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from pipeline import cache as cached
from pipeline import records
from pipeline.datasets import Manifest
from pipeline.errors import UsageError

# beyond this many standard deviations a standardised feature says "unusual", and no more
CLIP = 5.0
# what the pooling heads take; maxima are stored as well, and maps on request
AVERAGES = ("cls", "mean", "std")


@dataclass(frozen=True)
class Features:
    """One track. ``arrays``: name -> [N, T, C]; ``mask`` [N, T] is true where there is a frame.

    ``timestamp`` is when each frame is shown, in seconds; 0 where there is none.
    """

    path: Path
    identity: dict[str, object]
    arrays: dict[str, Float[Tensor, "N T _"]]
    mask: Bool[Tensor, "N T"]
    timestamp: Float64[Tensor, "N T"]

    def levels(self) -> dict[str, list[str]]:
        """Array names by level: ``{"c1": ["c1/mean", "c1/std"], …}``, shallow first, the order of the names."""
        grouped: dict[str, list[str]] = {}
        for name in sorted(self.arrays):
            level, _, statistic = name.partition("/")
            if statistic in AVERAGES:
                grouped.setdefault(level, []).append(name)
        return grouped


@dataclass(frozen=True)
class Dataset:
    """What a head is trained on. ``manifest`` has only the N videos that every track holds, in its own order.

    ``missing`` are the ids without features: named in every output, never dropped silently.
    """

    manifest: Manifest
    spatial: Features
    temporal: Features
    mos: Float[Tensor, " N"]
    missing: list[str]


def load_dataset(cache: Path, dataset: str | None, spatial: str | None, temporal: str | None) -> Dataset:
    """Reads a dataset's manifest and two of its tracks; UsageError lists the choices where they are not clear."""
    name = choose_dataset(cache, dataset)
    manifest = records.load_cached_manifest(cache, name)
    paths = [choose_track(cache, name, kind, wanted) for kind, wanted in (("spatial", spatial), ("temporal", temporal))]
    with cached.open_track(paths[0]) as first, cached.open_track(paths[1]) as second:
        in_both = set(first.ids) & set(second.ids)
        for key in ("sampler", "sampler_version", "sampler_digest"):
            one, other = (track.identity.get(key) for track in (first, second))
            if one != other:
                raise UsageError(
                    f"{paths[0]} and {paths[1]} were sampled differently ({key}: {one} and {other}); "
                    "choose two tracks of one sampler"
                )
        present = manifest.rows["id"].isin(in_both)
        if not present.any():
            raise UsageError(f"no video of {name} is in both {paths[0]} and {paths[1]}; run vqa-extract first")
        ids = list(manifest.rows["id"][present])
        spatial_features, temporal_features = (_read(track, ids) for track in (first, second))
    kept = Manifest(
        manifest.name, manifest.title, manifest.label, manifest.scale, manifest.rows[present].reset_index(drop=True)
    )
    mos = torch.tensor(kept.rows["mos"].to_numpy(), dtype=torch.float32)
    return Dataset(kept, spatial_features, temporal_features, mos, list(manifest.rows["id"][~present]))


def choose_dataset(cache: Path, wanted: str | None) -> str:
    known = cached.datasets(cache)
    if not known:
        raise UsageError(f"{cache} holds no dataset; run vqa-extract --cache {cache} first")
    if wanted is None and len(known) == 1:
        return known[0]
    if wanted is None:
        raise UsageError(f"{cache} holds several datasets; choose one with --dataset: {', '.join(known)}")
    name = Path(wanted).stem if wanted.endswith((".csv", ".toml")) else wanted
    if name not in known:
        raise UsageError(f"{cache} holds no dataset {name!r}; it holds {', '.join(known)}")
    return name


def choose_track(cache: Path, dataset: str, kind: str, wanted: str | None) -> Path:
    """The track of ``kind`` whose file is ``<wanted>-<digest>.h5`` (or that stem in full); the only one for None."""
    tracks = []
    for path in cached.tracks(cache, dataset):
        with cached.open_track(path) as track:
            if track.identity["kind"] == kind and len(track):
                tracks.append(path)
    choices = [path for path in tracks if wanted in (None, path.stem, re.sub(r"-[0-9a-f]{10}$", "", path.stem))]
    if len(choices) == 1:
        return choices[0]
    listed = "\n".join(f"  --{kind} {path.stem}   (sampler {path.parent.name})" for path in choices or tracks)
    if not tracks:
        raise UsageError(f"{cache / dataset} holds no {kind} track; run vqa-extract with --{kind}")
    if not choices:
        raise UsageError(f"no {kind} track of {dataset} is called {wanted!r}; choose from\n{listed}")
    raise UsageError(f"several {kind} tracks of {dataset}; choose one:\n{listed}")


def standardised(features: Features, train: np.ndarray) -> dict[str, Float[Tensor, "N T _"]]:
    """Every column with mean 0 and deviation 1 over the frames of the training rows alone, clipped at `CLIP`."""
    mask = features.mask[train]
    result = {}
    for name, array in features.arrays.items():
        frames = array[train][mask]
        std, mean = torch.std_mean(frames, dim=0, correction=0)
        # a column that is constant in training says nothing: it becomes 0, whatever it is elsewhere
        scale = torch.where(std > 1e-6, 1 / std.clamp(min=1e-6), torch.zeros(()))
        result[name] = ((array - mean) * scale).clamp(-CLIP, CLIP) * features.mask[..., None]
    return result


def _read(track: cached.Track, ids: list[str]) -> Features:
    stored = [track.read(video_id, without=("grid",)) for video_id in ids]
    videos = [video.arrays for video in stored]
    lengths = [len(next(iter(arrays.values()))) for arrays in videos]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    arrays = {}
    for name in videos[0]:
        padded = np.zeros((len(ids), max(lengths), videos[0][name].shape[-1]), np.float32)
        for row, (video, length) in enumerate(zip(videos, lengths, strict=True)):
            padded[row, :length] = video[name]
        arrays[name] = torch.from_numpy(padded)
    timestamp = torch.zeros(mask.shape, dtype=torch.float64)
    for row, features in enumerate(stored):
        timestamp[row, : lengths[row]] = torch.from_numpy(features.timestamp)
    return Features(track.path, track.identity, arrays, mask, timestamp)
