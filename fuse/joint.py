"""Training on several datasets at once: the others that a head learns from beside its own.

A run remains of one dataset: its labels are the scale of the scores, its validation part chooses,
its test part is what figures are of. Of the other datasets every video is for training, but for
those that the run's own dataset has as well: their labels would be known of videos that are to be
unseen. How a head learns from them: `fuse.learning.other_sets`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool

from vqa_twostage.fuse.data import READS, Dataset, load_tracks
from vqa_twostage.fuse.matching_tracks import matching_tracks
from vqa_twostage.fuse.run_record import JointDataset
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.cache.video_names import normal
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError

# a part of an id that names a video wherever it stands, such as the number of a video on Flickr
SHORTEST_NAME = 6


def with_others(
    data: Dataset,
    names: Sequence[str] | None,
    reads: Streams[Collection[str]] = READS,
    max_ram: int | None = None,
) -> Dataset:
    """``data`` with the other datasets ``names`` of its cache, in the order of their names; their
    labels grow in the direction of those of ``data``.

    ``reads`` and ``max_ram`` as of `fuse.data.load_dataset`. UsageError where one is not in the
    cache, lacks tracks that were made as those of ``data``, or has no video of its own.
    """
    cache = data.paths.spatial[0].cache
    chosen = sorted(choose_dataset(cache, name) for name in names or ())
    for name in chosen:
        if name == data.manifest.name or chosen.count(name) > 1:
            raise UsageError(
                f"{name} is named twice; a head is trained on each of several datasets once"
            )
    others = (_load_other(data, cache, name, reads, max_ram) for name in chosen)
    return replace(data, others=tuple(others))


def identity_of(data: Dataset) -> list[JointDataset] | None:
    """What a run records of the others; None where there are none."""
    joint = [
        JointDataset(
            dataset=other.manifest.name,
            manifest=other.manifest.digest,
            content=other.content,
            videos=len(other.mos),
            left_out=len(other.everything) - len(other.missing) - len(other.mos),
            mirrored=other.manifest.better != data.manifest.better,
        )
        for other in data.others
    ]
    return joint or None


def shared_videos(rows: pd.DataFrame, other: pd.DataFrame) -> Bool[np.ndarray, " M"]:
    """Which videos of a manifest's rows ``other`` [M] are of a content that ``rows`` has as well,
    as far as names tell.

    Groups (contents) and ids are compared without letter case, extension and other characters than
    letters and digits. One of six characters or more, with a digit among them, is also found within
    an id: KoNViD-1k's ``10053703034`` in KoNViD-150k's ``orig_10053703034_540_5s.mp4``.
    """
    names, parts = _names(rows), _parts(rows)
    same = [
        not names.isdisjoint(own | within) or not own.isdisjoint(parts)
        for own, within in zip(_each_names(other), _each_parts(other), strict=True)
    ]
    return _whole_groups(other, np.array(same, bool))


def _load_other(
    data: Dataset,
    cache: Path,
    name: str,
    reads: Streams[Collection[str]],
    max_ram: int | None,
) -> Dataset:
    manifest, own = load_cached_manifest(cache, name), data.manifest.name
    paths = matching_tracks(cache, name, data.identities)
    shared = shared_videos(data.everything, manifest.rows)
    other = load_tracks(_without(manifest, shared, own), paths, reads, max_ram)
    for ours, theirs in zip(data.tracks, other.tracks, strict=True):
        shapes = [{key: array.shape[2:] for key, array in t.arrays.items()} for t in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"{theirs.path} has other arrays, or other numbers of columns, than {ours.path}; "
                f"extract or import {name} as {own}"
            )
    seen = set(_fingerprints(data))
    copies = [fingerprint in seen for fingerprint in _fingerprints(other)]
    if any(copies):
        same = other.manifest.rows["id"][copies]
        shared = _whole_groups(manifest.rows, shared | manifest.rows["id"].isin(same).to_numpy())
        other = load_tracks(_without(manifest, shared, own), paths, reads, max_ram)
    # labels whose better end is the other one are turned round
    aligned = other.mos if manifest.better == data.manifest.better else -other.mos
    return replace(other, everything=manifest.rows, mos=aligned)


def _without(manifest: Manifest, shared: Bool[np.ndarray, " M"], own: str) -> Manifest:
    if shared.all():
        raise UsageError(
            f"{own} has every video of {manifest.name} as well, by id, by group or by features, so "
            f"there is nothing else to learn from: leave out {manifest.name}, or give other ids "
            "and groups where these are other videos of the same names"
        )
    return replace(manifest, rows=manifest.rows[~shared].reset_index(drop=True))


def _whole_groups(rows: pd.DataFrame, shared: Bool[np.ndarray, " M"]) -> Bool[np.ndarray, " M"]:
    """With all other videos of their groups, which are of the same contents."""
    groups: Bool[np.ndarray, " M"] = rows["group"].isin(rows["group"][shared]).to_numpy()
    return groups


def _fingerprints(data: Dataset) -> list[bytes]:
    """Of the features of each video: equal ones are of copies of one file, whatever their names."""
    digests = [hashlib.sha256() for _ in data.mos]
    for track in data.tracks:
        for name in sorted(track.arrays):
            for videos, block in track.blocks(name):
                parts = zip(digests[videos], block, track.mask[videos], strict=True)
                for digest, values, mask in parts:
                    digest.update(values[mask].astype(np.float32).tobytes())
    return [digest.digest() for digest in digests]


def _each_names(rows: pd.DataFrame) -> list[set[str]]:
    """Of each video its id and its group, as they are compared."""
    both = zip(rows["id"], rows["group"], strict=True)
    return [{_compared(video_id), _compared(group)} - {""} for video_id, group in both]


def _each_parts(rows: pd.DataFrame) -> list[set[str]]:
    """The parts of each id that may name a video."""
    return [set(filter(_is_name, _compared(video_id).split("_"))) for video_id in rows["id"]]


def _names(rows: pd.DataFrame) -> set[str]:
    return set().union(*_each_names(rows))


def _parts(rows: pd.DataFrame) -> set[str]:
    return set().union(*_each_parts(rows))


def _compared(name: str) -> str:
    return normal(re.sub(r"[/\\]", "_", name))


def _is_name(part: str) -> bool:
    return len(part) >= SHORTEST_NAME and re.search(r"\d", part) is not None
