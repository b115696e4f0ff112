"""Whether a manifest is of the dataset that a cache holds under its name, and what changed.

What was said of a table once, such as its scale, holds until something else is said.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.pipeline.cache.layout import (
    TrackPath,
    load_cached_manifest,
    manifest_path,
    tracks,
    write_manifest,
)
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.remote_files import RemoteFile, Root, VideoFile

LOG = logging.getLogger(__name__)

# videos whose files are compared with what the cache recorded of them
LOOKED_AT = 20


def save_manifest(cache: Path, manifest: Manifest) -> None:
    """Keeps the manifest beside its features, with what was said of it before; labels that changed
    since are reported as a warning.

    UsageError when the cache holds another dataset of that name, or labels of another column.
    """
    path = manifest_path(cache, manifest.name)
    if path.exists():
        old = load_cached_manifest(cache, manifest.name)
        if not same_dataset(old, manifest, tracks(cache, manifest.name)):
            where = f", from {old.origin}" if old.origin else ""
            raise UsageError(
                f"{path} is of another dataset that is also called {manifest.name!r}{where}; "
                "give yours another name with vqa-extract --name, or give another --cache. If it "
                f"is the same one, which has moved and changed, remove {path}: features stay"
            )
        manifest = _completed(manifest, old, path)
        if count := changed_labels(old, manifest):
            LOG.warning("%s: %s changed since the last time", manifest.name, _labels(count))
    write_manifest(cache, manifest)


def with_what_was_said(cache: Path, manifest: Manifest) -> Manifest:
    """``manifest`` with the scale and the better end that were said of the same labels when they
    came into the cache, in the place of those that are only assumed.

    UsageError where nobody says now which column holds the labels, and those in the cache are of
    another one.
    """
    path = manifest_path(cache, manifest.name)
    if not manifest.assumed or not path.exists():
        return manifest
    old = load_cached_manifest(cache, manifest.name)
    if not same_dataset(old, manifest, tracks(cache, manifest.name)):
        return manifest  # which is never saved under this name
    return _completed(manifest, old, path)


def _completed(new: Manifest, old: Manifest, path: Path) -> Manifest:
    """``new`` with what was said of ``old``, an earlier state of it, which is at ``path``."""
    if old.label.casefold() != new.label.casefold():
        if "label" in new.assumed and old.origin == new.origin:
            raise UsageError(
                f"{path} holds labels of the column {old.label}, and {new.origin} was read by its "
                f"column mos; give --mos-column {old.label} as before, or --mos-column mos to use "
                "these labels from now on"
            )
        return new
    mos, (low, high) = old.rows["mos"], old.scale
    said: dict[str, Any] = {}
    notes = list(new.notes)
    if "scale" in new.assumed and old.scale != (mos.min(), mos.max()):  # else it was assumed, too
        said["scale"] = old.scale
        notes.append(f"the scale is {low:g} to {high:g}, as said before; --scale sets another")
    if "better" in new.assumed and old.better != new.better:
        said["better"] = old.better
        notes.append(f"{old.better} is better, as said before; --better sets the other")
    assumed = {fact: note for fact, note in new.assumed.items() if fact not in said}
    return replace(new, **said, notes=tuple(notes), assumed=assumed)


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count} labels"


def changed_labels(old: Manifest, new: Manifest) -> int:
    """How many videos of both have another label."""
    both = _in_both(old, new)
    return int((both["mos_old"] != both["mos_new"]).sum())


def same_dataset(old: Manifest, new: Manifest, tracks: list[TrackPath]) -> bool:
    """Whether ``new`` is a later state of ``old``, whose features are in ``tracks``.

    A name is not enough: many folders hold a ``labels.csv`` with the videos 001, 002 … A file at
    the same place is the same dataset, whatever changed in it; one from another place is a copy if
    labels and the sizes of the video files agree.
    """
    both = _in_both(old, new)
    if both.empty or old.title != new.title:
        return False
    # a dataset of data_manifests is known by its name, and its files may have moved
    if new.title == new.name and (both["path_old"] != both["path_new"]).any():
        return False
    if old.origin == new.origin:
        return True
    return not changed_labels(old, new) and _same_files(both, new.root, tracks)


def _in_both(old: Manifest, new: Manifest) -> pd.DataFrame:
    return old.rows.merge(new.rows, on="id", suffixes=("_old", "_new"))


def _same_files(both: pd.DataFrame, root: Root | None, tracks: list[TrackPath]) -> bool:
    """Of the first videos that are there and were extracted, whether the files are as large as
    then; files that are not there say nothing.
    """
    for path in tracks if root is not None else []:
        with open_track(path) as track:
            if track.identity.imported:
                continue
            compared = 0
            for video_id, file in zip(both["id"], both["path_new"], strict=True):
                size = _size((root or Path()) / file)
                if size is None or video_id not in track:
                    continue
                if size != track.attributes(video_id).source_size:
                    return False
                compared += 1
                if compared == LOOKED_AT:
                    break
    return True


def _size(path: VideoFile) -> int | None:
    if isinstance(path, RemoteFile):
        return path.size
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return None
