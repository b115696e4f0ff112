"""Baselines without a network: a vector a video in, a score out. What a head must beat.

The ``build()`` of a baseline gives ``candidates(columns)``: scikit-learn regressors, of which the
one with the lowest validation RMSE is taken.

Columns are the stored averages of both tracks, averaged over frames, what is not finite imputed
with the mean of the training part, and scaled to 0 to 1 over it (VIDEVAL's protocol: Tu et al.,
IEEE TIP 2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.learning.fit import Fitted, one_thread
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import AVERAGES
from vqa_twostage.pipeline import spec

Vectors = Float[np.ndarray, "N C"]


def fit_baseline(data: Dataset, split: Split, baseline: spec.Plugin) -> Fitted:
    """Options chosen on validation, then fitted on training and validation; validation itself is
    scored unseen.
    """
    with one_thread():
        tracks = (
            [data.spatial]
            if data.temporal.path == data.spatial.path
            else [data.spatial, data.temporal]
        )
        raw = np.concatenate([vectors(track) for track in tracks], axis=1)
        scaled = min_max(raw, split.train)
        mos, mos_val = data.mos[split.train], data.mos[split.val]

        def error(regressor: Any) -> float:
            fitted = regressor.fit(scaled[split.train], mos)
            return float(np.mean((fitted.predict(scaled[split.val]) - mos_val) ** 2))

        regressor = min(baseline.build()(scaled.shape[1]), key=error)
        unseen = regressor.fit(scaled[split.train], mos).predict(scaled[split.val])
        both = np.sort(np.concatenate([split.train, split.val]))
        scaled = min_max(raw, both)
        predicted = regressor.fit(scaled[both], data.mos[both]).predict(scaled)
    predicted[split.val] = unseen
    return Fitted(
        predicted,
        0,
        *(track.mask / track.mask.sum(1)[:, None] for track in (data.spatial, data.temporal)),
    )


def vectors(track: Features) -> Vectors:
    """The stored averages of all levels, averaged over the frames that are there."""
    arrays = [array.astype(np.float64) for array in track.only(AVERAGES).arrays.values()]
    share = track.mask / track.mask.sum(axis=1, keepdims=True)
    return np.concatenate([np.einsum("ntc,nt->nc", array, share) for array in arrays], axis=1)


def min_max(columns: Vectors, rows: Int[np.ndarray, " rows"]) -> Vectors:
    """Columns imputed and scaled with the means and ranges of ``rows`` alone; 0 where a column is
    constant there.
    """
    columns = np.where(np.isfinite(columns), columns, np.nan)
    known = columns[rows][:, ~np.isnan(columns[rows]).all(axis=0)]
    columns = columns[:, ~np.isnan(columns[rows]).all(axis=0)]
    columns = np.where(np.isnan(columns), np.nanmean(known, axis=0), columns)
    low, high = columns[rows].min(axis=0), columns[rows].max(axis=0)
    return (columns - low) / np.where(high > low, high - low, np.inf)
