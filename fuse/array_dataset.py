"""Arrays that a caller has in memory as the dataset that heads are trained on: `HeadRegressor`
fits these as training does those of a cache.

Dimensions: n videos, T frames of a video, F frames of all videos, d columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Int64

from vqa_twostage.fuse.data import Dataset, Features, Side
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES, ArrayName
from vqa_twostage.pipeline.identity import Kind, TrackIdentity
from vqa_twostage.pipeline.spec import Spec

# "spatial", "temporal/last/mean", "spatial/resnet/c2/std[17]"
COLUMN = re.compile(r"(spatial|temporal)(?:/(.+?))?(?:\[\d+\])?")
# of a column of which no name says the level
UNNAMED = ArrayName("features/mean")
CALLED = "arrays"
# one video alone has no deviation
LEAST_FITTED = 2

Places = dict[Kind, dict[ArrayName, list[int]]]
"""The numbers of the columns that each array of a stream is made of."""


class ArrayError(UsageError, ValueError):
    """Arrays that cannot be used; scikit-learn's tools expect a ValueError."""


class Frames(NamedTuple):
    """Features of the frames of n videos, one video after the other: ``rows`` is [F, d], of any
    type, and ``lengths`` how many of them each video has.
    """

    rows: Any
    lengths: Int64[np.ndarray, " n"]


def frames_of(features: Any) -> Frames:
    """Of features of videos, [n, d], each of which is a video's only frame; of frames, [n, T, d];
    or of a list of n arrays [T, d].

    ArrayError where such arrays are empty or have other numbers of columns.
    """
    if isinstance(features, list | tuple) and any(
        getattr(each, "ndim", 0) == 2 for each in features
    ):
        shapes = [np.shape(each) for each in features]
        if {len(shape) for shape in shapes} != {2} or len({shape[-1] for shape in shapes}) > 1:
            raise ArrayError(
                "a list of features of frames must hold an array [T, d] for each video, all of one "
                f"d, and it holds the shapes {', '.join(map(str, dict.fromkeys(shapes)))}"
            )
        lengths = np.array([shape[0] for shape in shapes], np.int64)
        rows = np.concatenate(features)
    else:
        # a table and a sparse matrix have a shape, and stay what they are
        rows = features if hasattr(features, "shape") else np.asarray(features)
        if len(rows.shape) != 3:  # of none or one it is refused as X
            return Frames(rows, np.ones(rows.shape[:1] or 1, np.int64))
        lengths = np.full(len(rows), rows.shape[1], np.int64)
        rows = np.asarray(rows).reshape(-1, rows.shape[2])
    if not lengths.all():
        video = int(np.flatnonzero(lengths == 0)[0])
        raise ArrayError(f"the video in place {video} has no frame; leave it out")
    return Frames(rows, lengths)


def places_of(names: Sequence[str] | None, columns: int) -> Places:
    """Which arrays the columns are, by their names; without names every column is one of a spatial
    array.

    ArrayError where there are not so many names, or one cannot be read.
    """
    if names is None:
        return {"spatial": {UNNAMED: [*range(columns)]}}
    if isinstance(names, str):
        raise ArrayError(f"columns must be a list of a name for each column, not {names!r}")
    if len(names) != columns:
        raise ArrayError(f"columns names {len(names)} columns, and X has {columns}")
    places: Places = {}
    for column, name in enumerate(names):
        kind, array = _parsed(name)
        places.setdefault(kind, {}).setdefault(array, []).append(column)
    return places


def say_streams(names: Sequence[str]) -> bool:
    """Whether all say of which stream a column is, as `DatasetFeatures.columns` do."""
    return all(COLUMN.fullmatch(str(name)) for name in names)


def _parsed(name: str) -> tuple[Kind, ArrayName]:
    match = COLUMN.fullmatch(str(name))
    array = UNNAMED if match is None or match[2] is None else ArrayName(match[2])
    if match is None or array.statistic not in AVERAGES:
        raise ArrayError(
            f"the column {name!r} is not one of a head; names are spatial or temporal, which a "
            "level and a statistic may follow, as in temporal/last/mean or spatial/last/std[3]; "
            f"statistics are {', '.join(AVERAGES)}"
        )
    return ("spatial" if match[1] == "spatial" else "temporal"), array


def sides_of(
    rows: Float32[np.ndarray, "F d"], lengths: Int64[np.ndarray, " n"], places: Places
) -> Streams[Side]:
    """Both streams, which are of the same columns where all of them are of one."""
    mask = np.arange(lengths.max()) < lengths[:, None]
    sides = {kind: (_features(rows, mask, kind, arrays),) for kind, arrays in places.items()}
    (first, *_) = sides.values()
    return Streams(sides.get("spatial", first), sides.get("temporal", first))


def _features(
    rows: Float32[np.ndarray, "F d"],
    mask: np.ndarray,
    kind: Kind,
    places: Mapping[ArrayName, list[int]],
) -> Features:
    arrays = {}
    for name, columns in places.items():
        arrays[name] = np.zeros((*mask.shape, len(columns)), np.float32)
        arrays[name][mask] = rows[:, columns]
    path = TrackPath(Path(), CALLED, CALLED, kind)
    identity = TrackIdentity(kind, Spec(CALLED), Spec(CALLED))
    return Features(path, identity, arrays, mask, np.zeros(mask.shape))


def dataset_of(
    features: Streams[Side],
    mos: Float64[np.ndarray, " n"],
    contents: Int64[np.ndarray, " n"],
) -> Dataset:
    """Videos without files, whose ids are their numbers; ``contents``: the number of what each
    shows.
    """
    ids = np.arange(len(mos)).astype(str)
    rows = pd.DataFrame(
        {
            "id": ids,
            "path": "",
            "mos": mos,
            "mos_std": np.nan,
            "group": contents.astype(str),
            "split": "",
        }
    )
    scale = float(mos.min()), float(mos.max())
    manifest = Manifest(CALLED, CALLED, "MOS", scale, rows)
    return Dataset(manifest, features, mos, rows, [])


def contents_of(groups: Any, videos: int) -> Int64[np.ndarray, " n"]:
    """A number for each value of ``groups``; each video is a content of its own where they are
    None.

    ArrayError where there is not one for each video.
    """
    if groups is None:
        return np.arange(videos)
    if np.ndim(groups) != 1 or len(groups) != videos:
        raise ArrayError(
            f"groups must be one value for each of {videos} videos, not of shape {np.shape(groups)}"
        )
    numbers = pd.factorize(np.asarray(groups))[0].astype(np.int64)
    if (numbers < 0).any():
        raise ArrayError("groups must have no missing value; give each video a content")
    return numbers


def held_out(
    contents: Int64[np.ndarray, " n"], fraction: float, seed: int
) -> Bool[np.ndarray, " n"]:
    """Which videos validate: those of a share of the contents, chosen at random; at least of one
    content, and at most of all but one.

    ArrayError where there is only one content.
    """
    distinct = np.unique(contents)
    if len(distinct) < 2:
        raise ArrayError(
            "all videos are of one content by groups, and a content cannot validate what was "
            "fitted on it; give videos of several contents, or leave out groups"
        )
    count = min(max(1, round(fraction * len(distinct))), len(distinct) - 1)
    chosen = np.random.default_rng(seed).permutation(distinct)[:count]
    return np.isin(contents, chosen)


def as_mask(validation: Any, videos: int) -> Bool[np.ndarray, " n"]:
    """``validation`` as a caller gives it; ArrayError unless it is true or false for each video."""
    mask = np.asarray(validation)
    if mask.shape != (videos,) or mask.dtype != bool:
        raise ArrayError(
            f"validation must be true or false for each of {videos} videos, not {mask.dtype} of "
            f"shape {mask.shape}"
        )
    return mask


def split_of(validation: Bool[np.ndarray, " n"], seed: int) -> Split:
    """The other videos are fitted, and none is tested; ArrayError where a part has too few."""
    fitted, validating = np.flatnonzero(~validation), np.flatnonzero(validation)
    if len(fitted) < LEAST_FITTED or not len(validating):
        raise ArrayError(
            f"{len(validating)} of {len(validation)} videos validate, which leaves {len(fitted)} "
            f"to fit; at least {LEAST_FITTED} must be fitted, and one must validate: give another "
            "validation_fraction, or more videos"
        )
    return Split(seed, fitted, validating, np.array([], np.int64))
