"""Regressors in closed form that are averaged with a head's networks (`fuse.averaging`).

The setting of each is chosen on validation; then it is fitted again, on training and validation
together. Predictions are on the scale of the labels.

Dimensions: N videos, D columns of all prepared arrays, P penalties.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqa_twostage.fuse.averaging import (
    FittedAverage,
    Setting,
    TrainingRows,
    levels_of,
    rows_of,
)
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.splits import Split
from vqa_twostage.pipeline import spec

Videos = Int[np.ndarray, " videos"]


def fit_average(features: PreparedFeatures, head: Head, split: Split) -> FittedAverage:
    """Fitted once for all heads that read the same arrays."""
    specs = tuple(str(plugin.full_spec) for plugin in head.closed_forms)
    key = specs, head.reads, head.reads_frames, split.train.tobytes(), split.val.tobytes()
    if key not in features.averaged:
        features.averaged[key] = _fit_average(features, head, split)
    return features.averaged[key]


def _fit_average(features: PreparedFeatures, head: Head, split: Split) -> FittedAverage:
    rows, mos = rows_of_all(features, head), features.data.mos
    both = np.sort(np.concatenate([split.train, split.val]))
    regressors: list[nn.Module] = []
    settings: dict[str, Setting] = {}
    everywhere, unseen = np.zeros(len(mos)), np.zeros(len(split.val))
    for plugin in used(head, features.data):
        method = plugin.build()
        training = training_rows(features, head, rows, split.train)
        predicted = np.stack(
            [
                _predict(fit(training, method.penalties), rows[torch.from_numpy(split.val)])
                for fit in method.fits
            ]
        )
        fit, penalty = choose(np.square(predicted - mos[split.val]))
        settings[str(plugin.short_spec)] = Setting(fit, float(method.penalties[penalty]))
        unseen += predicted[fit, penalty]
        chosen = method.penalties[penalty : penalty + 1]
        regressors.append(method.fits[fit](training_rows(features, head, rows, both), chosen))
        everywhere += _predict(regressors[-1], rows)[0]
    return FittedAverage(regressors, settings, everywhere, unseen)


def choose(errors: Float[np.ndarray, "fits P val"]) -> tuple[int, int]:
    """The numbers of the fit and of the penalty, by the squared errors of validation videos: the
    last fit that is not surely worse, by two standard errors, than the best.
    """
    means = errors.mean(axis=2)
    penalties = means.argmin(axis=1)
    lowest = int(means.min(axis=1).argmin())
    of_lowest = errors[lowest, penalties[lowest]]
    limit = of_lowest.mean() + 2 * of_lowest.std() / len(of_lowest) ** 0.5
    fit = int(np.flatnonzero(means.min(axis=1) <= limit)[-1])
    return fit, int(penalties[fit])


def refit_average(
    features: PreparedFeatures, head: Head, settings: Sequence[dict[str, Setting]]
) -> dict[str, nn.Module]:
    """The regressors on all videos, by their specs, with the median of the settings that splits
    chose: the less careful fit and the lower penalty of two.
    """
    rows, everything = rows_of_all(features, head), np.arange(len(features.data.mos))
    training = training_rows(features, head, rows, everything)
    regressors: dict[str, nn.Module] = {}
    for plugin in used(head, features.data):
        chosen = sorted(of_split[str(plugin.short_spec)] for of_split in settings)
        fit, penalty = chosen[(len(chosen) - 1) // 2]
        fits = plugin.build().fits
        regressors[str(plugin.short_spec)] = fits[fit](training, np.array([penalty]))
    return regressors


def used(head: Head, data: Dataset) -> list[spec.Plugin]:
    """Those that suit a dataset: where most of its videos share their content with another one,
    none that remembers contents.
    """
    videos = data.manifest.rows.groupby("group")["group"].transform("size")
    shared = bool((videos > 1).mean() > 0.5)
    return [
        plugin for plugin in head.closed_forms if not (shared and plugin.build().remembers_contents)
    ]


def rows_of_all(features: PreparedFeatures, head: Head) -> Float[Tensor, "N D"]:
    """The row of every video."""
    sides = features.of(head)
    return rows_of(sides.map(lambda side: side.arrays), sides.map(lambda side: side.mask))


def training_rows(
    features: PreparedFeatures, head: Head, rows: Float[Tensor, "N D"], videos: Videos
) -> TrainingRows:
    """What a regressor is fitted on."""
    group = pd.factorize(features.data.manifest.rows["group"])[0].astype(np.int64)
    return TrainingRows(
        rows[torch.from_numpy(videos)].double().numpy(),
        levels_of(features.of(head).map(lambda side: side.shapes)),
        features.data.mos[videos],
        group[videos],
    )


def _predict(module: nn.Module, rows: Float[Tensor, "N D"]) -> Float[np.ndarray, "P N"]:
    with torch.inference_mode():
        predicted: Float[np.ndarray, "P N"] = module(rows).double().numpy()
    return predicted
