"""A baseline on one split: its options chosen on validation, then fitted on training and
validation.

Its columns are the stored averages of every track, averaged over frames, and prepared as the
baseline says (`fuse.candidates`), by statistics of the rows that it is fitted on alone.

Dimensions: N videos, T frames, C columns of a track, D columns of all tracks, P regressors that are
fitted together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.data import Dataset, Features, frames_of
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.prepare import Squash
from vqa_twostage.fuse.learning.threads import one_thread
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import AVERAGES, Regressor
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError, require

Vectors = Float[np.ndarray, "N D"]
Labels = Float[np.ndarray, " N"]


class TrackColumns(NamedTuple):
    """The columns of one track, and the number of the level that each is of."""

    values: Float[np.ndarray, "N C"]
    level: Int[np.ndarray, " C"]


def fit_baseline(data: Dataset, split: Split, plugin: spec.Plugin) -> Fitted:
    """UsageError where the split has more videos than the baseline takes, or it is of a published
    score and ``data`` of features.
    """
    check_size(plugin, [split])
    candidates = Candidates.of(plugin.build())
    require(
        not candidates.score or [track.identity.kind for track in data.tracks] == ["score"],
        f"{plugin.spec} reads a published score and no features; load it alone "
        "(fuse.published_scores.read_by)",
    )
    start = time.perf_counter()
    with one_thread():
        columns = [columns_of(track) for track in data.tracks]
        predicted = predictions(columns, data.mos, split, candidates)
    shares = data.features.map(lambda side: frames_of(side).frame_shares())
    return Fitted(predicted, 0, shares, seconds=time.perf_counter() - start)


def check_size(plugin: spec.Plugin, splits: Sequence[Split]) -> None:
    """UsageError where a split has more videos than the baseline takes."""
    most = Candidates.of(plugin.build()).most_videos
    count = max(len(split.train) + len(split.val) for split in splits)
    if most is not None and count > most:
        raise UsageError(
            f"{plugin.spec} takes at most {most:,} videos for training and validation, and there "
            f"are {count:,}; choose ridge or kernel_ridge, which take any number"
        )


def predictions(
    tracks: Sequence[TrackColumns], mos: Labels, split: Split, candidates: Candidates
) -> Labels:
    """Of the candidate with the lowest squared error on the validation part, fitted on training and
    validation; those for validation are of the regressor that did not see it.
    """
    prepare = PREPARE[candidates.preparation]
    rows = prepare(tracks, split.train)
    regressor, option, unseen = _choose(candidates, rows, mos, split)
    both = np.sort(np.concatenate([split.train, split.val]))
    rows = prepare(tracks, both)
    predicted = np.atleast_2d(regressor.fit(rows[both], mos[both]).predict(rows))[option].copy()
    predicted[split.val] = unseen
    return predicted


def _choose(
    candidates: Candidates, rows: Vectors, mos: Labels, split: Split
) -> tuple[Regressor, int, Float[np.ndarray, " val"]]:
    """The best on validation: its regressor, its place among those that are fitted with it, and its
    predictions for the validation part. The first of equals.
    """
    lowest, best = np.inf, None
    for regressor in candidates(rows.shape[1]):
        fitted = regressor.fit(rows[split.train], mos[split.train])
        predicted: Float[np.ndarray, "P val"] = np.atleast_2d(fitted.predict(rows[split.val]))
        errors = np.mean((predicted - mos[split.val]) ** 2, axis=1)
        option = int(errors.argmin())
        if best is None or errors[option] < lowest:
            lowest, best = errors[option], (regressor, option, predicted[option])
    assert best is not None, "a baseline gives one or more regressors"
    return best


def columns_of(track: Features) -> TrackColumns:
    """The stored averages of all levels, averaged over the frames of each video."""
    track, shares = track.only(AVERAGES), track.frame_shares()
    columns = [
        np.concatenate(
            [
                np.einsum("ntc,nt->nc", block.astype(np.float64), shares[videos])
                for videos, block in track.blocks(name)
            ]
        )
        for name in track.arrays
    ]
    levels = list(dict.fromkeys(name.level for name in track.arrays))
    number = [levels.index(name.level) for name in track.arrays]
    widths = [values.shape[1] for values in columns]
    return TrackColumns(np.concatenate(columns, axis=1), np.repeat(number, widths))


def robust(
    tracks: Sequence[TrackColumns], rows: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "N D"]:
    """Columns as heads get them (`fuse.learning.prepare.Squash`), by statistics of ``rows`` alone;
    0 where a column is constant there.

    Tracks count alike, and so do the levels of a track, however many columns they have; distances
    do not grow with their number.
    """
    prepared = []
    for values, level in tracks:
        squash = Squash.fit(values[rows])
        informative = np.bincount(level, squash.keep)
        shares = np.maximum(informative, 1) * max(1, np.count_nonzero(informative))
        prepared.append(squash(values).astype(np.float64) / np.sqrt(shares)[level])
    return np.concatenate(prepared, axis=1)


def min_max(
    tracks: Sequence[TrackColumns], rows: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "N D"]:
    """Columns imputed and scaled with the means and ranges of ``rows`` alone; 0 where a column is
    constant there.
    """
    columns = np.concatenate([track.values for track in tracks], axis=1)
    columns = np.where(np.isfinite(columns), columns, np.nan)
    columns = columns[:, ~np.isnan(columns[rows]).all(axis=0)]
    columns = np.where(np.isnan(columns), np.nanmean(columns[rows], axis=0), columns)
    low, high = columns[rows].min(axis=0), columns[rows].max(axis=0)
    return (columns - low) / np.where(high > low, high - low, np.inf)


def as_is(tracks: Sequence[TrackColumns], rows: Int[np.ndarray, " rows"]) -> Vectors:
    """Columns as they are stored."""
    return np.concatenate([track.values for track in tracks], axis=1)


Prepare = Callable[[Sequence[TrackColumns], Int[np.ndarray, " rows"]], Vectors]
PREPARE: dict[str, Prepare] = {"robust": robust, "min_max": min_max, "as_is": as_is}
