"""Regressors in closed form that are averaged with a head's networks (`fuse.averaging`).

The penalty of each is chosen on validation; then it is fitted again, on training and validation
together. Labels are standardised as those of the networks are.

Dimensions: N videos, D columns of all prepared arrays, P penalties.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from vqa_twostage.fuse.averaging import Columns, FittedAverage, levels_of, rows_of
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.splits import Split
from vqa_twostage.pipeline import spec

Rows = Int[np.ndarray, " rows"]


def fit_average(features: PreparedFeatures, head: Head, split: Split) -> FittedAverage:
    """Fitted once for all heads that read the same arrays."""
    specs = tuple(str(plugin.full_spec) for plugin in head.closed_forms)
    key = specs, head.reads, head.reads_frames, split.train.tobytes(), split.val.tobytes()
    if key not in features.averaged:
        features.averaged[key] = _fit_average(features, head, split)
    return features.averaged[key]


def _fit_average(features: PreparedFeatures, head: Head, split: Split) -> FittedAverage:
    columns, mos = columns_of(features, head), features.data.mos
    both = np.sort(np.concatenate([split.train, split.val]))
    regressors: list[nn.Module] = []
    penalties, everywhere, unseen = {}, np.zeros(len(mos)), np.zeros(len(split.val))
    for plugin in head.closed_forms:
        grid = plugin.build().penalties
        of_each = _predict(fit_regressor(plugin, columns, mos, split.train, grid), columns)
        errors = np.square(of_each[:, split.val] - mos[split.val]).mean(axis=1)
        best = int(errors.argmin())
        penalties[str(plugin.short_spec)] = float(grid[best])
        unseen += of_each[best, split.val]
        regressors.append(fit_regressor(plugin, columns, mos, both, grid[best : best + 1]))
        everywhere += _predict(regressors[-1], columns)[0]
    return FittedAverage(regressors, penalties, everywhere, unseen)


def columns_of(features: PreparedFeatures, head: Head) -> Columns:
    """Of all videos."""
    sides = features.of(head)
    rows = rows_of(sides.map(lambda side: side.arrays), sides.map(lambda side: side.mask))
    return Columns(rows.numpy(), levels_of(sides.map(lambda side: side.shapes)))


def fit_regressor(
    plugin: spec.Plugin,
    columns: Columns,
    labels: Float[np.ndarray, " N"],
    rows: Rows,
    penalties: Float[np.ndarray, " P"],
) -> nn.Module:
    """Fitted on the videos ``rows``, a prediction for each penalty."""
    chosen = Columns(columns.values[rows].astype(np.float64), columns.level)
    module: nn.Module = plugin.build().fit(chosen, labels[rows], penalties)
    return module


def _predict(module: nn.Module, columns: Columns) -> Float[np.ndarray, "P N"]:
    with torch.inference_mode():
        predicted: Float[np.ndarray, "P N"] = module(torch.from_numpy(columns.values)).numpy()
    return predicted.astype(np.float64)
