"""Regressors in closed form that are averaged with a head's networks (`fuse.averaging`).

The penalty of each is chosen on validation; then it is fitted again, on training and validation
together. Labels are standardised as those of the networks are.

Dimensions: N videos, D columns of all prepared arrays, P penalties.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqa_twostage.fuse.averaging import TrainingRows, levels_of, rows_of
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.splits import Split
from vqa_twostage.pipeline import spec

Rows = Int[np.ndarray, " rows"]


class FittedAverage(NamedTuple):
    """The regressors of a head on one split, fitted on training and validation together, the
    penalty of each by its spec, and the sums of their predictions, on the scale of the labels.

    ``everywhere``: of all videos; ``unseen``: of validation videos, by regressors that were fitted
    on the training part alone.
    """

    regressors: list[nn.Module]
    penalties: dict[str, float]
    everywhere: Float[np.ndarray, " N"]
    unseen: Float[np.ndarray, " val"]


def fit_average(features: PreparedFeatures, head: Head, split: Split) -> FittedAverage:
    """Fitted once for all heads that read the same arrays."""
    specs = tuple(str(plugin.full_spec) for plugin in head.closed_forms)
    key = specs, head.reads, head.reads_frames, split.train.tobytes(), split.val.tobytes()
    if key not in features.averaged:
        features.averaged[key] = _fit_average(features, head, split)
    return features.averaged[key]


def _fit_average(features: PreparedFeatures, head: Head, split: Split) -> FittedAverage:
    rows, mos = rows_of_head(features, head), features.data.mos
    both = np.sort(np.concatenate([split.train, split.val]))
    regressors: list[nn.Module] = []
    penalties, everywhere, unseen = {}, np.zeros(len(mos)), np.zeros(len(split.val))
    for plugin in used(head, features.data):
        grid = plugin.build().penalties
        of_each = _predict(fit_regressor(plugin, features, head, split.train, grid), rows)
        errors = np.square(of_each[:, split.val] - mos[split.val]).mean(axis=1)
        best = int(errors.argmin())
        penalties[str(plugin.short_spec)] = float(grid[best])
        unseen += of_each[best, split.val]
        regressors.append(fit_regressor(plugin, features, head, both, grid[best : best + 1]))
        everywhere += _predict(regressors[-1], rows)[0]
    return FittedAverage(regressors, penalties, everywhere, unseen)


def used(head: Head, data: Dataset) -> list[spec.Plugin]:
    """Those that suit a dataset: where most of its videos share their content with another one,
    none that remembers contents.
    """
    videos = data.manifest.rows.groupby("group")["group"].transform("size")
    shared = bool((videos > 1).mean() > 0.5)
    return [
        plugin for plugin in head.closed_forms if not (shared and plugin.build().remembers_contents)
    ]


def rows_of_head(features: PreparedFeatures, head: Head) -> Float[Tensor, "N D"]:
    """Of all videos."""
    sides = features.of(head)
    return rows_of(sides.map(lambda side: side.arrays), sides.map(lambda side: side.mask))


def fit_regressor(
    plugin: spec.Plugin,
    features: PreparedFeatures,
    head: Head,
    rows: Rows,
    penalties: Float[np.ndarray, " P"],
) -> nn.Module:
    """Fitted on the videos ``rows``, a prediction for each penalty."""
    data, sides = features.data, features.of(head)
    group = pd.factorize(data.manifest.rows["group"])[0].astype(np.int64)
    training = TrainingRows(
        rows_of_head(features, head)[torch.from_numpy(rows)].double().numpy(),
        levels_of(sides.map(lambda side: side.shapes)),
        data.mos[rows],
        group[rows],
    )
    module: nn.Module = plugin.build().fit(training, penalties)
    return module


def _predict(module: nn.Module, rows: Float[Tensor, "N D"]) -> Float[np.ndarray, "P N"]:
    with torch.inference_mode():
        predicted: Float[np.ndarray, "P N"] = module(rows).double().numpy()
    return predicted
