"""A baseline on one split: its options chosen on validation, then fitted on training and
validation.

Its columns are the stored averages of both tracks, averaged over frames. Values that are not finite
are replaced by the mean of the training part, and columns are scaled to 0 to 1 over it (VIDEVAL's
protocol: Tu et al., IEEE TIP 2021).

Dimensions: N videos, T frames, C columns.
"""

from __future__ import annotations

import time

import numpy as np
from jaxtyping import Float, Int

from vqa_twostage.fuse.data import Dataset, Features, frames_of
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.threads import one_thread
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import AVERAGES, Baseline, Regressor
from vqa_twostage.pipeline import spec

Vectors = Float[np.ndarray, "N C"]


def fit_baseline(data: Dataset, split: Split, plugin: spec.Plugin) -> Fitted:
    """The predictions for validation are those of the regressor that did not see it."""
    baseline: Baseline = plugin.build()
    start = time.perf_counter()
    with one_thread():
        raw = np.concatenate([vectors(track) for track in data.tracks], axis=1)
        scaled = min_max(raw, split.train)
        mos, mos_val = data.mos[split.train], data.mos[split.val]

        def error(regressor: Regressor) -> float:
            fitted = regressor.fit(scaled[split.train], mos)
            return float(np.mean((fitted.predict(scaled[split.val]) - mos_val) ** 2))

        regressor = min(baseline(scaled.shape[1]), key=error)
        unseen = regressor.fit(scaled[split.train], mos).predict(scaled[split.val])
        both = np.sort(np.concatenate([split.train, split.val]))
        scaled = min_max(raw, both)
        predicted = regressor.fit(scaled[both], data.mos[both]).predict(scaled)
    predicted[split.val] = unseen
    shares = data.features.map(lambda side: frames_of(side).frame_shares())
    return Fitted(predicted, 0, shares, seconds=time.perf_counter() - start)


def vectors(track: Features) -> Vectors:
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
    return np.concatenate(columns, axis=1)


def min_max(columns: Vectors, rows: Int[np.ndarray, " rows"]) -> Vectors:
    """Columns imputed and scaled with the means and ranges of ``rows`` alone; 0 where a column is
    constant there.
    """
    columns = np.where(np.isfinite(columns), columns, np.nan)
    columns = columns[:, ~np.isnan(columns[rows]).all(axis=0)]
    columns = np.where(np.isnan(columns), np.nanmean(columns[rows], axis=0), columns)
    low, high = columns[rows].min(axis=0), columns[rows].max(axis=0)
    return (columns - low) / np.where(high > low, high - low, np.inf)
