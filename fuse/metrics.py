"""SRCC, KRCC, PLCC and RMSE of predictions against labels, as the field computes them.

Rank correlations are of the raw scores. PLCC and RMSE are taken after a monotonic four-parameter
logistic, fitted on the very predictions it is applied to (VQEG FR-TV Phase II, 2003); ``plcc_raw``
is without it. A correlation with constant scores is undefined and given as NaN, never as 0.

Dimensions: N videos.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import scipy
from jaxtyping import Float

Scores = Float[np.ndarray, " N"]

# The curve is sought in standard deviations of the predictions and ranges of the labels. Without
# bounds a relation that bends one way only has no best logistic: its curve runs on to an infinite
# height.
MIDDLE, LOG_WIDTH, RISE = 20.0, 5.0, 20.0
# the coarse search looks at no more points than these, means of neighbours
POINTS = 2000
# of its places so many are refined a little, and of those so many to the end
STARTS, FINALISTS = 8, 4
# places whose errors agree in so many digits, in parts of the squared range of the labels, are one
SAME_DIGITS = 6


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
        # where nothing increasing fits better than a constant, a correlation with that constant
        # would be undefined, and a median over splits would count the lucky ones alone
        plcc=plcc(fitted if len(mos) and np.ptp(fitted) > 0 else predicted, mos),
        krcc=krcc(predicted, mos),
        rmse=float(np.sqrt(np.mean((fitted - mos) ** 2))) if len(mos) else float("nan"),
        plcc_raw=plcc(predicted, mos),
    )


def srcc(predicted: Scores, mos: Scores) -> float:
    """Spearman's rank correlation, ties at their mean rank."""
    return (
        float(scipy.stats.spearmanr(predicted, mos).statistic)
        if _varied(predicted, mos)
        else float("nan")
    )


def srcc_interval(srcc: float, n: int) -> tuple[float, float] | None:
    """95 % interval of an SRCC over ``n`` videos: Fisher's z with the variance
    (1 + srcc^2 / 2) / (n - 3) of Bonett and Wright (Psychometrika 65, 2000).

    None where it is undefined: with three videos or fewer, or where the SRCC is 1, -1 or NaN.
    """
    if n <= 3 or not abs(srcc) < 1:
        return None
    # not scipy.stats, which takes half a second to import
    reach = NormalDist().inv_cdf(0.975) * np.sqrt((1 + srcc**2 / 2) / (n - 3))
    return float(np.tanh(np.arctanh(srcc) - reach)), float(np.tanh(np.arctanh(srcc) + reach))


def krcc(predicted: Scores, mos: Scores) -> float:
    """Kendall's tau-b."""
    return (
        float(scipy.stats.kendalltau(predicted, mos).statistic)
        if _varied(predicted, mos)
        else float("nan")
    )


def plcc(predicted: Scores, mos: Scores) -> float:
    """Pearson's linear correlation of the values as they are."""
    return (
        float(scipy.stats.pearsonr(predicted, mos).statistic)
        if _varied(predicted, mos)
        else float("nan")
    )


def apply_logistic(parameters: Float[np.ndarray, " 4"] | None, predicted: Scores) -> Scores:
    """``b2 + (b1 - b2) / (1 + exp(-(x - b3) / b4))`` with b4 > 0; ``None`` leaves the scores as
    they are.
    """
    if parameters is None:
        return predicted.astype(float)
    high, low, middle, width = parameters
    return low + (high - low) * scipy.special.expit((predicted - middle) / width)


def fit_logistic(predicted: Scores, mos: Scores) -> Float[np.ndarray, " 4"] | None:
    """Least-squares parameters of `apply_logistic`, monotonically increasing; ``None`` where there
    is nothing to fit.

    There is nothing to fit with fewer videos than parameters, or with constant predictions or
    labels. Where no increasing curve is better than a constant, the curve is that constant, the
    mean of the labels.

    It is the best of all curves within the bounds, not the nearest to some start: weak relations
    and few videos have a valley between any two videos. For a given place (middle, logarithm of the
    width) the heights have a closed form, so only two parameters are sought (variable projection;
    Golub & Pereyra, 1973): a coarse search, then L-BFGS-B.
    """
    if len(mos) < 4 or not _varied(predicted, mos):
        return None
    # standardised, so that the optimiser's steps and tolerances mean the same on every scale
    center, spread = predicted.mean(), predicted.std()
    low, high = mos.min(), mos.max()
    if not (np.isfinite(spread) and spread > np.finfo(float).tiny):
        return None  # constant, or beyond what floating point can square
    x, y = (predicted - center) / spread, (mos - low) / (high - low)

    def refined(place: np.ndarray, iterations: int) -> scipy.optimize.OptimizeResult:
        return scipy.optimize.minimize(
            _squared_error,
            place,
            args=(x, y),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-MIDDLE, MIDDLE), (-LOG_WIDTH, LOG_WIDTH)],
            options={"ftol": 1e-15, "gtol": 1e-11, "maxiter": iterations},
        )

    begun = sorted(
        (refined(place, 10) for place in _coarse_places(x, y)), key=lambda fit: float(fit.fun)
    )
    best = min((refined(fit.x, 300) for fit in begun[:FINALISTS]), key=lambda fit: float(fit.fun))
    if best.fun >= len(y) * y.var() * (1 - 1e-9):
        return np.array([mos.mean(), mos.mean(), center, spread])
    middle, width = best.x[0], np.exp(best.x[1])
    bottom, rise = _heights(scipy.special.expit((x - middle) / width), y)
    scale = high - low
    return np.array(
        [
            low + scale * (bottom + rise),
            low + scale * bottom,
            center + spread * middle,
            spread * width,
        ]
    )


def _heights(curve: Scores, y: Scores) -> tuple[float, float]:
    """The best bottom and rise of ``bottom + rise * curve``, the rise neither negative nor above
    `RISE`.
    """
    tilt = curve - curve.mean()
    power = float(tilt @ tilt)
    rise = min(max(float(tilt @ y) / power, 0.0), RISE) if power > 0 else 0.0
    return float(y.mean()) - rise * float(curve.mean()), rise


def _squared_error(
    place: Float[np.ndarray, " 2"], x: Scores, y: Scores
) -> tuple[float, Float[np.ndarray, " 2"]]:
    """Of the best heights at ``place``, and its gradient, in which the heights count as constants:
    they are optimal.
    """
    middle, width = place[0], np.exp(place[1])
    z = (x - middle) / width
    curve = scipy.special.expit(z)
    bottom, rise = _heights(curve, y)
    error = bottom + rise * curve - y
    slope = -2 * error * rise * curve * (1 - curve)
    return float(error @ error), np.array([slope.sum() / width, slope @ z])


def _coarse_places(x: Scores, y: Scores) -> list[np.ndarray]:
    """The `STARTS` best of the local minima over the middle, for curves from steps to lines."""
    order = np.argsort(x, kind="stable")
    first = np.linspace(0, len(x), min(len(x), POINTS) + 1).astype(int)[:-1]
    weight = np.diff(np.append(first, len(x))).astype(float)
    x, y = (np.add.reduceat(values[order], first) / weight for values in (x, y))
    weight /= weight.sum()
    found = []
    for log_width in np.arange(-LOG_WIDTH, LOG_WIDTH + 1):
        width = np.exp(log_width)
        # as fine as the curve is steep, and far to both sides, where relations bend one way only
        left, right = max(x.min() - width, -MIDDLE), min(x.max() + width, MIDDLE)
        within = np.arange(left, right, max(width, (right - left) / 400))
        middles = np.unique([*within, -MIDDLE, -10, -6, 6, 10, MIDDLE])
        curves = scipy.special.expit((x - middles[:, None]) / width)
        tilts = curves - (curves @ weight)[:, None]
        power, along = tilts**2 @ weight, tilts @ (weight * (y - y @ weight))
        rise = np.clip(along / np.maximum(power, np.finfo(float).tiny), 0, RISE)
        error = rise * (rise * power - 2 * along)  # less that of a constant
        around = np.concatenate([[np.inf], error, [np.inf]])
        valleys = np.flatnonzero((error <= around[:-2]) & (error <= around[2:]))
        found += [(error[valley], middles[valley], log_width) for valley in valleys]
    # steep curves between the same two videos are all alike, and would take every start
    distinct = {round(error, SAME_DIGITS): place for error, *place in sorted(found, reverse=True)}
    return [np.array(distinct[error]) for error in sorted(distinct)[:STARTS]]


def _varied(predicted: Scores, mos: Scores) -> bool:
    return len(mos) > 1 and bool(np.ptp(predicted) > 0) and bool(np.ptp(mos) > 0)
