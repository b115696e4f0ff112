"""What must not be in the features that a head is trained on: its labels.

Features may have learnt from the opinions of the dataset itself (`fuse.opinions`), or be the labels
by mistake: a column of scores in a table, an id that counts videos from the worst to the best.

A column is taken to be the label where the means of the videos rank them as the labels do, with
|SRCC| > .98 on 20 videos or more. Whole methods that learn from a dataset's labels reach .92 to
.94 on the sets of the field, and labels themselves are means of few opinions, whose ranks another
group of people does not repeat so closely. By chance 20 videos do not reach .98 in 10^10 columns.

Dimensions: N videos, F frames of some videos, C columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Float32, Float64, Int64

from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.opinions import require_others
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName

MOST_SRCC = 0.98
FEWEST_VIDEOS = 20
# columns are looked through on some videos, and only those that come near are looked at on more;
# of .98 the ranks of 64 videos give .9 or less in no draw
SCREENED, FEWEST_SCREENED, SCREENED_VALUES = 256, 64, 16 << 20
NEAR_SRCC = 0.9
# of more videos so many, drawn at random, stand for all
EXAMINED = 2048
LISTED = 10


@dataclass(frozen=True)
class LabelLike:
    """A column that is likely to be the label, and its SRCC with the labels."""

    track: str
    array: ArrayName
    column: int
    srcc: float

    @property
    def name(self) -> str:
        """How options call it: ``scores/mean[3]``."""
        return f"{self.array}[{self.column}]"


def check_leakage(data: Dataset, options: TrainOptions) -> None:
    """UsageError where features learnt from the opinions of the dataset, or a column of them is
    likely to be its label, or one of the further labels that ``options`` name, unless they allow it
    by name.
    """
    check_opinions(data, options.allow_trained_on)
    _check_columns(data, options, "labels")
    for name in options.axes or ():
        _check_columns(data.of_axis(name), options, f"labels of the axis {name!r}")


def _check_columns(data: Dataset, options: TrainOptions, labels: str) -> None:
    """``labels``: what the message calls those of ``data``."""
    allowed = (options.allow_label_like or "").split(",")
    found = [
        like
        for track in data.tracks
        for like in label_like_columns(track, data.mos)
        if like.name not in allowed
    ]
    if found:
        raise UsageError(_message(found, data, labels))


def check_opinions(data: Dataset, allowed: str | None) -> None:
    """UsageError where features learnt from the opinions of the dataset, unless it is ``allowed``
    by name.
    """
    learnt = {track.path.stem: track.identity.opinions for track in data.tracks}
    require_others(data.manifest.name, learnt, allowed)


def _message(found: list[LabelLike], data: Dataset, labels: str) -> str:
    worst = max(found, key=lambda like: abs(like.srcc))
    more = f" ({len(found) - 1} more columns do so)" if len(found) > 1 else ""
    names = ",".join(like.name for like in found[:LISTED])
    what, how = "feature", "Import the features without it (vqa-cache import --columns)"
    if data.tracks[0].identity.kind == "score":
        what, how = "score of a model", "Import another column (vqa-fuse import-scores)"
    where = f"column {worst.column} of {worst.array} in the track {worst.track}"
    return (
        f"{where} ranks the {len(data.mos)} videos as their {labels} do, with SRCC "
        f"{worst.srcc:.3f}{more}: it is likely to be the label and no {what}, since whole methods "
        f"reach .92 to .94. {how}, or allow it by name with --allow-label-like '{names}'"
    )


def label_like_columns(features: Features, mos: Float64[np.ndarray, " N"]) -> Iterator[LabelLike]:
    """The columns of a track whose means over the frames rank the videos as ``mos`` does."""
    # in random order, so that equal values are in no order of the dataset
    drawn = np.random.default_rng(0).permutation(len(mos))[:EXAMINED]
    if len(mos) < FEWEST_VIDEOS or len(np.unique(mos[drawn])) < 2:
        return
    for name, array in features.arrays.items():
        of_video = math.prod(array.shape[1:])
        few = max(FEWEST_SCREENED, min(SCREENED, SCREENED_VALUES // max(1, of_video)))
        means = _means(features, name, drawn[:few])
        near = np.flatnonzero(np.abs(_quick_srcc(means, mos[drawn[:few]])) > NEAR_SRCC)
        if not len(near):
            continue
        parts = [
            _means(features, name, drawn[first : first + few])[:, near]
            for first in range(0, len(drawn), few)
        ]
        scores = _srcc(np.concatenate(parts), mos[drawn])
        for column, score in zip(near, scores, strict=True):
            if abs(score) > MOST_SRCC:
                yield LabelLike(features.path.stem, name, int(column), float(score))


def _means(
    features: Features, name: ArrayName, videos: Int64[np.ndarray, " N"]
) -> Float32[np.ndarray, "N C"]:
    """The mean of each column over the frames, and of maps over space, of some videos; what is not
    finite is the median of the others.
    """
    lengths = features.mask[videos].sum(axis=1)
    frames = np.flatnonzero(features.mask[videos]) % features.mask.shape[1]
    rows = features.arrays[name][np.repeat(videos, lengths), frames]
    flat = rows.reshape(*rows.shape[:2], -1).mean(axis=2, dtype=np.float32)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    with np.errstate(all="ignore"):
        means: Float32[np.ndarray, "N C"] = np.add.reduceat(flat, starts, axis=0)
        means /= lengths[:, None].astype(np.float32)
    for column in np.flatnonzero(~np.isfinite(means).all(axis=0)):
        values = means[:, column]
        finite = np.isfinite(values)
        values[~finite] = np.median(values[finite]) if finite.any() else 0
    return means


def _quick_srcc(
    values: Float32[np.ndarray, "N C"], mos: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, " C"]:
    """SRCC of each column where its values differ; equal values count as if they were in order."""
    order = np.argsort(np.ascontiguousarray(values.T), axis=1, kind="stable")
    ranks = np.arange(len(mos), dtype=np.float64)
    labels = scipy.stats.rankdata(mos)
    spread = len(mos) * ranks.std() * labels.std()
    scores: Float64[np.ndarray, " C"] = (labels - labels.mean())[order] @ ranks / spread
    return scores


def _srcc(
    values: Float[np.ndarray, "N C"], mos: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, " C"]:
    """SRCC of each column; 0 of one whose values are all equal."""
    ranks, labels = scipy.stats.rankdata(values, axis=0), scipy.stats.rankdata(mos)
    ranks -= ranks.mean(axis=0)
    labels -= labels.mean()
    spread = np.sqrt((ranks**2).sum(axis=0) * (labels**2).sum())
    scores: Float64[np.ndarray, " C"] = labels @ ranks / np.where(spread > 0, spread, np.inf)
    return scores
