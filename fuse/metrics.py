"""SRCC, KRCC, PLCC and RMSE of predictions against labels, as the field computes them.

Rank correlations are of the raw scores. PLCC and RMSE are taken after a monotonic four-parameter logistic, fitted on
the very predictions it is applied to (VQEG FR-TV Phase II, 2003); ``plcc_raw`` is without it. A correlation with
constant scores is undefined and given as NaN, never as 0.

Letters: N videos.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

Scores = Float[np.ndarray, " N"]


@dataclass(frozen=True)
class Metrics:
    """``rmse`` is in units of the labels; ``n`` is the number of videos."""

    n: int
    srcc: float
    plcc: float
    krcc: float
    rmse: float
    plcc_raw: float


def evaluate(predicted: Scores, mos: Scores) -> Metrics:
    """All metrics of N predictions; ValueError when a value is not finite or the lengths differ."""
    if len(predicted) != len(mos):
        raise ValueError(f"{len(predicted)} predictions for {len(mos)} labels")
    if not (np.isfinite(predicted).all() and np.isfinite(mos).all()):
        raise ValueError("predictions and labels must be finite")
    fitted = apply_logistic(fit_logistic(predicted, mos), predicted)
    return Metrics(
        n=len(mos),
        srcc=srcc(predicted, mos),
        # where nothing increasing fits better than a constant, a correlation with that constant would be undefined, and
        # a median over splits would count the lucky ones alone
        plcc=plcc(fitted if np.ptp(fitted) > 0 else predicted, mos),
        krcc=krcc(predicted, mos),
        rmse=float(np.sqrt(np.mean((fitted - mos) ** 2))) if len(mos) else float("nan"),
        plcc_raw=plcc(predicted, mos),
    )


def srcc(predicted: Scores, mos: Scores) -> float:
    """Spearman's rank correlation, ties at their mean rank."""
    return float(stats.spearmanr(predicted, mos).statistic) if _varied(predicted, mos) else float("nan")


def krcc(predicted: Scores, mos: Scores) -> float:
    """Kendall's tau-b."""
    return float(stats.kendalltau(predicted, mos).statistic) if _varied(predicted, mos) else float("nan")


def plcc(predicted: Scores, mos: Scores) -> float:
    """Pearson's linear correlation of the values as they are."""
    return float(stats.pearsonr(predicted, mos).statistic) if _varied(predicted, mos) else float("nan")


def apply_logistic(parameters: Float[np.ndarray, " 4"] | None, predicted: Scores) -> Scores:
    """``b2 + (b1 - b2) / (1 + exp(-(x - b3) / b4))`` with b4 > 0; ``None`` leaves the scores as they are."""
    if parameters is None:
        return predicted.astype(float)
    high, low, middle, width = parameters
    return low + (high - low) / (1 + np.exp(-np.clip((predicted - middle) / width, -500, 500)))


def fit_logistic(predicted: Scores, mos: Scores) -> Float[np.ndarray, " 4"] | None:
    """Least-squares parameters of `apply_logistic`, monotonically increasing; ``None`` where there is nothing to fit.

    There is nothing to fit with fewer videos than parameters, or with constant predictions or labels. Where no
    increasing curve is better than a constant, the curve is that constant, the mean of the labels.
    """
    if len(mos) < 4 or not _varied(predicted, mos):
        return None
    # standardised, so that the optimiser's steps and tolerances mean the same on every scale
    center, spread = predicted.mean(), predicted.std()
    low, high = mos.min(), mos.max()
    if not (np.isfinite(spread) and spread > np.finfo(float).tiny):
        return None  # constant, or beyond what floating point can square
    x, y = (predicted - center) / spread, (mos - low) / (high - low)

    def residual(parameters: np.ndarray) -> np.ndarray:
        bottom, rise, middle, log_width = parameters
        return bottom + rise / (1 + np.exp(-np.clip((x - middle) / np.exp(log_width), -500, 500))) - y

    # a steep and a flat start: the curve has a valley for a step and one for a line; the rise may not be negative
    bounds = ([-20, 0, -20, -5], [20, 20, 20, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        fits = [
            optimize.least_squares(
                residual, (0, 1, 0, start), bounds=bounds, x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12
            )
            for start in (-1.0, 0.0, 1.0)
        ]
    best = min(fits, key=lambda fit: fit.cost)
    if best.cost >= 0.5 * len(y) * y.var() * (1 - 1e-9):
        return np.array([mos.mean(), mos.mean(), center, spread])
    bottom, rise, middle, log_width = best.x
    scale = high - low
    return np.array(
        [low + scale * (bottom + rise), low + scale * bottom, center + spread * middle, spread * np.exp(log_width)]
    )


def _varied(predicted: Scores, mos: Scores) -> bool:
    return len(mos) > 1 and bool(np.ptp(predicted) > 0) and bool(np.ptp(mos) > 0)
