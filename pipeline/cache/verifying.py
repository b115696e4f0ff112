"""`verify`: whether everything in a track is as it was written."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from vqa_twostage.pipeline.cache.hdf5_structure import DamagedStructureError, read_structure
from vqa_twostage.pipeline.cache.journal import journal_of
from vqa_twostage.pipeline.cache.layout import datasets, load_cached_manifest, manifest_path
from vqa_twostage.pipeline.cache.track import Track, open_track
from vqa_twostage.pipeline.cache.track_index import TrackIndex
from vqa_twostage.pipeline.errors import UsageError

STRUCTURE = "its HDF5 structure"


def verify(path: PathLike[str]) -> list[str]:
    """Reads every byte of a track and returns its faults, one line each; empty means sound."""
    try:
        with open_track(path) as track:
            faults = [fault for name in track.ids for fault in _faults_of(track, name)]
            return faults + structure_faults(Path(path), track.index)
    except UsageError as error:
        return [str(error)]


def manifest_faults(cache: Path) -> dict[Path, str]:
    """Of each manifest of a cache that cannot be used, what is wrong with it."""
    faults = {}
    for dataset in datasets(cache) if cache.is_dir() else []:
        try:
            load_cached_manifest(cache, dataset)
        except UsageError as error:
            faults[manifest_path(cache, dataset)] = str(error)
    return faults


def structure_faults(path: Path, index: TrackIndex) -> list[str]:
    """How HDF5's part of a track, which other programs read, differs from the index."""
    if journal_of(path).exists():
        return []  # its writer was killed while it changed that part; the next one replays it
    try:
        found = read_structure(path)
    except DamagedStructureError as error:
        reason = f"cannot be read ({error})"
    else:
        if found.to_bytes() == index.to_bytes():
            return []
        reason = "says something else than its index"
    return [f"{STRUCTURE} {reason}; vqa-cache repair {path} writes it anew, no video is lost"]


def _faults_of(track: Track, video_id: str) -> list[str]:
    try:
        arrays = track.read(video_id).arrays
    except UsageError as error:
        return [str(error).removeprefix(f"{track.path}: ")]
    if track.identity.imported:
        return []
    return [
        f"{video_id}: {name} holds values that are not finite"
        for name, array in arrays.items()
        if not np.isfinite(array).all()
    ]
