"""The prepared tracks of one stream, side by side: what a head reads as one.

A stream of one track keeps the names of its arrays. Of several, each array has the name of its
track in front: ``resnet/c2/mean``. A track is prepared by itself, and a level counts alike whatever
its number of columns (`fuse.pooling`).

Dimensions: N videos, T frames of a stream; where they are averaged 1, or one for each draw of
patches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from vqa_twostage.fuse.data import Features, Side
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.streams import Arrays
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.identity import TrackIdentity


class Prepared(NamedTuple):
    """Prepared arrays, and which of their T frames there are."""

    arrays: Arrays
    mask: Bool[Tensor, "N T"]


def track_names(identities: Sequence[TrackIdentity]) -> list[str]:
    """What tells the tracks of a stream apart; "" for a single one."""
    if len(identities) == 1:
        return [""]
    numbers: Counter[str] = Counter()
    names: dict[str, None] = {}  # in order, and found at once however many a file may claim
    for identity in identities:
        name = identity.extractor.name
        while name in names:
            numbers[identity.extractor.name] += 1
            name = f"{identity.extractor.name}_{numbers[identity.extractor.name] + 1}"
        names[name] = None
    return [*names]


def named(track: str, array: ArrayName) -> ArrayName:
    """The name of a track's array in its stream."""
    return ArrayName(f"{track}/{array}") if track else array


def prepare_track(
    track: Features, preparation: Preparation, frames: bool, threads: int = 1
) -> Prepared:
    """Every frame of a track, or their mean, with so many ``threads``."""
    if frames:
        return Prepared(preparation(track), torch.tensor(track.mask))
    mask = torch.ones((len(track.mask), track.draws), dtype=torch.bool)
    return Prepared(preparation.means(track, threads), mask)


def prepare_side(side: Side, preparations: Sequence[Preparation], frames: bool) -> Prepared:
    """The tracks of a stream as one: every frame, or their mean."""
    tracks = [
        prepare_track(track, preparation, frames)
        for track, preparation in zip(side, preparations, strict=True)
    ]
    return side_by_side(side, tracks)


def side_by_side(side: Side, tracks: Sequence[Prepared]) -> Prepared:
    """What was prepared of each track of ``side``; one of a single frame stands for every frame of
    the others.

    UsageError where several have other frames, or other numbers of draws.
    """
    if len(tracks) == 1:
        return tracks[0]
    mask = max((track.mask for track in tracks), key=lambda mask: mask.shape[1])
    arrays: Arrays = {}
    names = track_names([track.identity for track in side])
    for name, track, found in zip(names, side, tracks, strict=True):
        alone = found.mask.shape[1] == 1
        if not alone and not torch.equal(found.mask, mask):
            raise UsageError(
                f"{track.path} has other frames, or draws of patches, than the other tracks of its "
                "stream; choose tracks of one sampler and of the same crops"
            )
        for array, values in found.arrays.items():
            places = mask.reshape(*mask.shape, *[1] * (values.ndim - 2))
            arrays[named(name, array)] = values * places if alone else values
    return Prepared(_neighbours(arrays), mask)


def _neighbours(arrays: Arrays) -> Arrays:
    """The same; all averages as columns of one tensor, so that they can be read as one."""
    averages = {name: arrays[name] for name in sorted(arrays) if arrays[name].ndim == 3}
    maps = {name: array for name, array in arrays.items() if array.ndim > 3}
    if not averages:
        return maps
    widths = [array.shape[2] for array in averages.values()]
    columns = torch.cat(list(averages.values()), dim=2).split(widths, dim=2)
    return dict(zip(averages, columns, strict=True)) | maps
