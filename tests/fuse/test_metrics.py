"""SRCC, KRCC, PLCC and RMSE against oracles that share no code with them, and the fit before PLCC
and RMSE.

Dimensions: N videos.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction

import jaxtyping
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.metrics import apply_logistic, evaluate, fit_logistic, krcc, plcc, srcc

# no deadline, because the machine may be busy
RELAXED = settings(deadline=None, max_examples=75)

# --- oracles, from the definitions ---


def mean_ranks(values: np.ndarray) -> list[Fraction]:
    """1 + how many are smaller + half of how many others are equal."""
    return [
        1
        + sum(Fraction(int(other < value)) for other in values)
        + Fraction(sum(values == value) - 1, 2)
        for value in values.tolist()
    ]


def pearson(first: list[Fraction], second: list[Fraction]) -> float:
    """Covariance over the root of the product of variances, in exact arithmetic up to the root."""
    n = len(first)
    a, b = ([value - sum(values) / n for value in values] for values in (first, second))
    covariance, product = (
        sum(x * y for x, y in zip(a, b, strict=True)),
        sum(x * x for x in a) * sum(y * y for y in b),
    )
    return math.copysign(math.sqrt(covariance * covariance / product), covariance)


def tau_b(first: np.ndarray, second: np.ndarray) -> float:
    """Concordant minus discordant pairs, over the geometric mean of the numbers of pairs that are
    not tied in either column.
    """
    agreement = apart_first = apart_second = 0
    for i in range(len(first)):
        for j in range(i):
            a, b = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
            agreement, apart_first, apart_second = (
                agreement + a * b,
                apart_first + a * a,
                apart_second + b * b,
            )
    return float(agreement / math.sqrt(apart_first * apart_second))


def exact(values: np.ndarray) -> list[Fraction]:
    return [Fraction(value) for value in values.tolist()]


# --- the correlations ---


@st.composite
def pairs(draw: st.DrawFn, least: int = 2, most: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of equal length, neither of them constant: of few values, so with many ties, or
    of many.
    """
    n = draw(st.integers(least, most))
    values = draw(st.sampled_from([st.integers(0, 3), st.integers(-(2**12), 2**12)]))
    first, second = (
        np.array(draw(st.lists(values, min_size=n, max_size=n)), float) / 8 for _ in range(2)
    )
    assume(np.ptp(first) > 0 and np.ptp(second) > 0)
    return first, second


@given(pairs())
@RELAXED
def test_srcc_is_pearsons_correlation_of_mean_ranks(columns: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = columns
    assert srcc(first, second) == pytest.approx(
        pearson(mean_ranks(first), mean_ranks(second)), rel=0, abs=1e-12
    )


@given(pairs())
@RELAXED
def test_krcc_is_tau_b_by_counting_pairs(columns: tuple[np.ndarray, np.ndarray]) -> None:
    assert krcc(*columns) == pytest.approx(tau_b(*columns), rel=0, abs=1e-12)


@given(pairs())
@RELAXED
def test_plcc_is_pearsons_correlation(columns: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = columns
    assert plcc(first, second) == pytest.approx(
        pearson(exact(first), exact(second)), rel=0, abs=1e-12
    )


KINDS = ["random", "tied", "constant", "tiny", "long"]


def columns_of(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two related columns as metrics meet them; ``constant`` is one of them, ``tiny`` has two to
    five videos.
    """
    generator = np.random.default_rng(seed)
    n = {"tiny": 2 + seed % 4, "long": 3000}.get(kind, 80)
    first = generator.normal(size=n)
    second = first + generator.normal(size=n)
    if kind == "tied":
        return np.round(2 * first), np.round(second)
    if kind == "constant":
        return (np.full(n, 0.1), second) if seed % 2 else (first, np.full(n, 3.0))
    return first, second


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_correlations_equal_those_of_scipy(kind: str, seed: int) -> None:
    first, second = columns_of(kind, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        theirs = [
            test(first, second).statistic
            for test in (stats.spearmanr, stats.kendalltau, stats.pearsonr)
        ]
    ours = [metric(first, second) for metric in (srcc, krcc, plcc)]
    assert ours == pytest.approx(theirs, rel=0, abs=1e-12, nan_ok=True)
    assert np.isnan(ours).all() if kind == "constant" else np.isfinite(ours).all()


@given(pairs())
@RELAXED
def test_correlations_of_arbitrary_columns_equal_those_of_scipy(
    columns: tuple[np.ndarray, np.ndarray],
) -> None:
    theirs = [
        test(*columns).statistic for test in (stats.spearmanr, stats.kendalltau, stats.pearsonr)
    ]
    assert [metric(*columns) for metric in (srcc, krcc, plcc)] == pytest.approx(
        theirs, rel=0, abs=1e-12
    )


def test_metrics_of_thirty_thousand_videos_are_computed_quickly() -> None:
    generator = np.random.default_rng(0)
    predicted = generator.normal(size=30_000)
    start = time.process_time()
    results = evaluate(
        predicted, np.round(50 + 10 * predicted + 8 * generator.normal(size=30_000), 1)
    )
    # less than half a second here: whatever is slower than all pairs of videos, or than some
    # hundred fits, is caught
    assert time.process_time() - start < 5
    assert results.plcc == pytest.approx(math.sqrt(100 / 164), abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_correlations_of_continuous_scores_equal_the_oracles(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mos = generator.uniform(1, 5, 60)
    predicted = mos + generator.normal(size=60)
    assert srcc(predicted, mos) == pytest.approx(
        pearson(mean_ranks(predicted), mean_ranks(mos)), rel=0, abs=1e-12
    )
    assert krcc(predicted, mos) == pytest.approx(tau_b(predicted, mos), rel=0, abs=1e-12)
    assert plcc(predicted, mos) == pytest.approx(
        pearson(exact(predicted), exact(mos)), rel=0, abs=1e-12
    )


def test_correlations_are_1_for_perfect_and_minus_1_for_inverted_order() -> None:
    mos = np.array([1.0, 2.0, 2.5, 4.0, 4.5])
    for metric in (srcc, krcc):
        assert metric(mos**3, mos) == pytest.approx(1, abs=1e-12)
        assert metric(-(mos**3), mos) == pytest.approx(-1, abs=1e-12)
    assert plcc(3 * mos - 7, mos) == pytest.approx(1, abs=1e-12)
    assert plcc(7 - 3 * mos, mos) == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("metric", [srcc, krcc, plcc])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_correlation_with_a_constant_is_nan(
    metric: Callable[[np.ndarray, np.ndarray], float], n: int
) -> None:
    constant, varied = np.full(n, 0.1), np.arange(n, dtype=float)
    assert math.isnan(metric(constant, varied))
    assert math.isnan(metric(varied, constant))
    assert math.isnan(metric(constant, constant))


# --- all of them together ---


@given(pairs(least=5), st.integers(1, 4))
@settings(deadline=None, max_examples=15)
def test_evaluate_ranks_the_raw_scores_and_fits_before_plcc_and_rmse(
    columns: tuple[np.ndarray, np.ndarray], share: int
) -> None:
    predicted, noise = columns
    mos = predicted + noise * np.ptp(predicted) / np.ptp(noise) / (2 * share)
    assume(np.ptp(mos) > 0)
    results = evaluate(predicted, mos)
    fitted = apply_logistic(fit_logistic(predicted, mos), predicted)
    assert results.n == len(mos)
    assert (results.srcc, results.krcc) == (srcc(predicted, mos), krcc(predicted, mos))
    assert (results.plcc_raw, results.plcc) == (plcc(predicted, mos), plcc(fitted, mos))
    assert results.rmse == pytest.approx(
        math.sqrt(sum((fitted - mos) ** 2) / len(mos)), rel=1e-9, abs=1e-12
    )


def test_logistic_fit_raises_plcc_of_a_curved_relation_and_leaves_rank_correlations_unchanged() -> (
    None
):
    predicted = np.linspace(-4, 4, 50)
    mos = 1 + 4 / (1 + np.exp(-2 * predicted))
    results = evaluate(predicted, mos)
    assert results.plcc == pytest.approx(1, abs=1e-9)
    assert results.rmse == pytest.approx(0, abs=1e-6)
    assert results.plcc_raw < 0.95
    assert results.srcc == pytest.approx(1, abs=1e-12)
    assert results.krcc == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_non_finite_values_are_refused(wrong: float) -> None:
    good, bad = np.arange(6.0), np.array([0, 1, 2, wrong, 4, 5])
    for columns in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="finite"):
            evaluate(*columns)


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """As users run it: the shapes in the signatures are checked in tests only, and would be the
    first to object.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("without_shape_checks")
def test_unequal_lengths_are_refused_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="5 predictions for 4 labels"):
        evaluate(np.arange(5.0), np.arange(4.0))


def test_constant_predictions_have_an_rmse_but_no_correlation() -> None:
    results = evaluate(np.full(6, 3.0), np.array([1.0, 2, 3, 3, 4, 5]))
    assert all(
        math.isnan(value) for value in (results.srcc, results.plcc, results.krcc, results.plcc_raw)
    )
    assert results.rmse == pytest.approx(math.sqrt(10 / 6))


# --- the logistic ---

N = 60


def related(name: str, seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels with noise between them: a relation of a shape that heads really
    produce.
    """
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    noise = generator.normal(size=n)
    return {
        "line": (x, x + 0.5 * noise),
        "sigmoid": (x, 1 / (1 + np.exp(-3 * x)) + 0.1 * noise),
        "steep sigmoid": (x, 50 + 40 / (1 + np.exp(-12 * (x - 0.4))) + 2 * noise),
        "bent up": (x, np.exp(x) + 0.2 * noise),
        "bent down": (x, -np.exp(-x) + 0.2 * noise),
        "weak": (x, 0.5 * x + noise),
    }[name]


RELATIONS = ["line", "sigmoid", "steep sigmoid", "bent up", "bent down", "weak"]


def squared_error(parameters: np.ndarray | None, predicted: np.ndarray, mos: np.ndarray) -> float:
    return float(np.sum((apply_logistic(parameters, predicted) - mos) ** 2))


def best_of_a_grid(
    predicted: np.ndarray, mos: np.ndarray, flattest: float = 5, steepest: float = -5
) -> np.ndarray:
    """Parameters of `apply_logistic`: the best of a fine grid of middles and widths, heights by
    linear least squares.

    It looks where the product looks: the middle within 20 standard deviations of the mean, the
    width e^-5 to e^5 of one (or less of that), a rise of at most 20 ranges of the labels.
    """
    center, spread, mean = predicted.mean(), predicted.std(), mos.mean()
    x = (predicted - center) / spread
    # also at every video and between any two, where the minima for few videos lie
    videos = np.unique(x)
    within = np.concatenate(
        [np.linspace(x.min() - 1, x.max() + 1, 100), videos, (videos[1:] + videos[:-1]) / 2]
    )
    middles, log_widths = np.meshgrid(
        [*within, -20, -15, -10, -6, 6, 10, 15, 20], np.linspace(steepest, flattest, 15)
    )
    curves = 1 / (
        1 + np.exp(-np.clip((x - middles[..., None]) / np.exp(log_widths[..., None]), -500, 500))
    )
    tilts = curves - curves.mean(axis=-1, keepdims=True)
    power = np.maximum(np.sum(tilts**2, axis=-1), 1e-300)
    rises = np.clip(tilts @ (mos - mean) / power, 0, 20 * np.ptp(mos))
    errors = np.sum((rises[..., None] * tilts - (mos - mean)) ** 2, axis=-1)
    best = np.unravel_index(errors.argmin(), errors.shape)
    low = mean - rises[best] * curves[best].mean()
    return np.array(
        [low + rises[best], low, center + spread * middles[best], spread * np.exp(log_widths[best])]
    )


def independent_fit(predicted: np.ndarray, mos: np.ndarray) -> np.ndarray:
    """Parameters of `apply_logistic`, all four at once: simplexes from the best steep and the best
    flat curve of a grid, and from what differential evolution finds, within the bounds of the grid.
    """
    center, spread, low, scale = predicted.mean(), predicted.std(), mos.min(), np.ptp(mos)
    x, y = (predicted - center) / spread, (mos - low) / scale

    def errors(parameters: np.ndarray) -> np.ndarray:
        foot, rise, middle, log_width = parameters.reshape(4, -1, 1)
        curves = foot + rise / (1 + np.exp(-np.clip((x - middle) / np.exp(log_width), -500, 500)))
        return np.sum((curves - y) ** 2, axis=1)

    bounds = [(-20, 1), (0, 20), (-20, 20), (-5, 5)]
    evolved = optimize.differential_evolution(
        errors,
        bounds,
        rng=0,
        vectorized=True,
        updating="deferred",
        maxiter=150,
        tol=1e-6,
        polish=False,
    ).x
    gridded = [
        [
            (foot - low) / scale,
            (high - foot) / scale,
            (middle - center) / spread,
            np.log(width / spread),
        ]
        for high, foot, middle, width in (
            best_of_a_grid(predicted, mos, flattest=-1),
            best_of_a_grid(predicted, mos, steepest=-1),
        )
    ]
    best = min(
        (
            optimize.minimize(
                lambda parameters: float(errors(parameters)[0]),
                start,
                method="Nelder-Mead",
                bounds=bounds,
                options={"xatol": 1e-9, "fatol": 1e-15, "maxiter": 2000, "maxfev": 2000},
            )
            for start in (evolved, *gridded)
        ),
        key=lambda fit: float(fit.fun),
    )
    foot, rise, middle, log_width = best.x
    return np.array(
        [
            low + scale * (foot + rise),
            low + scale * foot,
            center + spread * middle,
            spread * np.exp(log_width),
        ]
    )


def tied(columns: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    predicted, mos = columns
    return np.round(predicted), np.round(4 * mos / np.ptp(mos))


FITTED = {
    **{
        f"{relation} {seed}": related(relation, seed)
        for relation, seed in zip(RELATIONS, range(6), strict=True)
    },
    **{f"weak {seed}": related("weak", seed) for seed in (1, 3)},
    **{
        f"tied {relation}": tied(related(relation, 0))
        for relation in ("line", "steep sigmoid", "weak")
    },
    **{f"{n} videos": related("line", n, n) for n in (4, 5, 6, 8, 12)},
}


@pytest.mark.parametrize("name", FITTED)
def test_logistic_fit_equals_that_of_an_independent_optimiser(name: str) -> None:
    predicted, mos = FITTED[name]
    ours, theirs = (
        apply_logistic(parameters, predicted)
        for parameters in (fit_logistic(predicted, mos), independent_fit(predicted, mos))
    )
    scale = np.ptp(mos)
    assert math.sqrt(np.mean((ours - mos) ** 2)) == pytest.approx(
        math.sqrt(np.mean((theirs - mos) ** 2)), abs=1e-6 * scale
    )
    assert evaluate(predicted, mos).rmse == pytest.approx(
        math.sqrt(np.mean((ours - mos) ** 2)), rel=1e-12
    )
    # near the minimum, the error agrees to more digits than the curve
    assert ours == pytest.approx(theirs, abs=1e-6 * scale)


def mostly_zero(videos: int, **values: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    columns = np.zeros((2, videos))
    for column, of_video in zip(columns, values.values(), strict=True):
        column[list(of_video)] = list(of_video.values())
    return columns[0], columns[1]


@given(pairs(least=4, most=40))
@example(  # steep curves between two of the few distinct values are all alike
    mostly_zero(
        37,
        predicted={7: -347.875, 8: 492.375, 9: -162.5, 14: -196.375, 23: -503, 24: -176.25},
        mos={6: -452.875, 7: -369, 13: 429.875, 14: 146.75, 22: 317.125, 23: -420}
        | {24: -232, 35: 225.25, 36: 334.5},
    )
)
@settings(deadline=None, max_examples=25)
def test_logistic_fit_is_at_least_as_good_as_the_best_of_a_fine_grid(
    columns: tuple[np.ndarray, np.ndarray],
) -> None:
    predicted, mos = columns
    fitted_error, grid_error = (
        squared_error(fit(predicted, mos), predicted, mos) for fit in (fit_logistic, best_of_a_grid)
    )
    assert math.sqrt(fitted_error / len(mos)) <= math.sqrt(grid_error / len(mos)) + 1e-6 * np.ptp(
        mos
    )


@pytest.mark.parametrize("relation", RELATIONS)
def test_logistic_fit_is_better_than_a_line_unless_the_relation_is_linear(relation: str) -> None:
    predicted, mos = related(relation, 7)
    line = np.polyval(np.polyfit(predicted, mos, 1), predicted)
    error = squared_error(fit_logistic(predicted, mos), predicted, mos)
    assert error <= np.sum((line - mos) ** 2) * (1 if relation not in ("line", "weak") else 1.001)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("seed", range(4))
def test_logistic_fit_never_decreases(relation: str, seed: int) -> None:
    predicted, mos = related(relation, seed, n=25)
    parameters = fit_logistic(predicted, mos)
    assert parameters is not None
    high, low, _, width = parameters
    assert high > low
    assert width > 0
    curve = apply_logistic(parameters, np.linspace(-10, 10, 500))
    assert np.diff(curve).min() >= -1e-12 * np.ptp(mos)


def test_logistic_fit_of_inverted_predictions_is_constant() -> None:
    predicted, mos = related("line", 0)
    parameters = fit_logistic(-predicted, mos)
    assert np.diff(apply_logistic(parameters, np.linspace(-10, 10, 500))).min() >= -1e-12 * np.ptp(
        mos
    )
    # the best non-decreasing curve is a constant
    assert squared_error(parameters, -predicted, mos) == pytest.approx(N * mos.var(), rel=1e-6)


@pytest.mark.parametrize(
    ("scale", "shift"), [(37.0, -1234.5), (1e-4, 3.0), (20.0, 50.0), (1e6, 0.0)]
)
@pytest.mark.parametrize("relation", RELATIONS)
def test_metrics_do_not_depend_on_the_scale_of_the_predictions(
    relation: str, scale: float, shift: float
) -> None:
    predicted, mos = related(relation, 3)
    original, rescaled = evaluate(predicted, mos), evaluate(scale * predicted + shift, mos)
    assert asdict(rescaled) == pytest.approx(asdict(original), rel=0, abs=1e-6)


def test_rmse_scales_with_the_labels() -> None:
    predicted, mos = related("sigmoid", 5)
    original, rescaled = evaluate(predicted, mos), evaluate(predicted, 100 * mos + 7)
    assert rescaled.rmse == pytest.approx(100 * original.rmse, rel=1e-6)
    assert rescaled.plcc == pytest.approx(original.plcc, abs=1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_than_four_videos_are_not_fitted(n: int) -> None:
    predicted, mos = np.arange(float(n)), np.arange(float(n)) ** 2
    assert fit_logistic(predicted, mos) is None
    assert np.array_equal(apply_logistic(None, predicted), predicted)
    if n:
        assert evaluate(predicted, mos).rmse == pytest.approx(
            math.sqrt(np.mean((predicted - mos) ** 2))
        )


def test_metrics_of_no_video_are_undefined() -> None:
    """As of a split without a test part, which only a stranger's run can have."""
    found = asdict(evaluate(np.zeros(0), np.zeros(0)))
    assert found.pop("n") == 0 and np.isnan(list(found.values())).all()


def test_four_videos_are_fitted() -> None:
    predicted, mos = np.array([0.0, 1, 2, 3]), np.array([1.0, 1.1, 4.0, 4.2])
    assert squared_error(fit_logistic(predicted, mos), predicted, mos) < 0.05


def test_constant_predictions_or_labels_are_not_fitted() -> None:
    constant, varied = np.full(9, 2.0), np.arange(9.0)
    assert fit_logistic(constant, varied) is None
    assert fit_logistic(varied, constant) is None


def test_extreme_scores_do_not_overflow() -> None:
    predicted, mos = related("line", 1)
    with np.errstate(over="raise"):
        ends = apply_logistic(fit_logistic(predicted, mos), np.array([-1e12, 1e12]))
    assert np.isfinite(ends).all()
    assert ends[0] < ends[1]


def test_metrics_are_listed_once() -> None:
    assert set(asdict(metrics.evaluate(*related("line", 0)))) == {
        "n",
        "srcc",
        "plcc",
        "krcc",
        "rmse",
        "plcc_raw",
    }


@pytest.mark.parametrize("seed", range(6))
def test_metrics_of_inverted_predictions_do_not_depend_on_their_scale(seed: int) -> None:
    predicted, mos = related("line", seed)
    original, rescaled = evaluate(-predicted, mos), evaluate(-37 * predicted + 5, mos)
    assert asdict(rescaled) == pytest.approx(asdict(original), rel=0, abs=1e-6, nan_ok=True)
    assert original.rmse == pytest.approx(mos.std(), rel=1e-6)


def test_metrics_of_nearly_equal_scores_are_computed() -> None:
    assert evaluate(np.arange(5) * 1e-200, np.arange(5.0)).srcc == pytest.approx(1)
