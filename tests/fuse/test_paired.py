"""Paired statistics are those of scipy, and the corrected test allows for splits that overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vqa_twostage.fuse.paired import (
    CorrectedTest,
    PairedStatistics,
    corrected_test,
    paired_statistics,
)

DIFFERENCES = np.random.default_rng(1).normal(0.01, 0.02, 20)


def paired_with(
    differences: np.ndarray, n_fitted: int = 80, n_test: int = 20
) -> PairedStatistics | None:
    sizes = np.ones(len(differences), int)
    return paired_statistics(differences, n_fitted * sizes, n_test * sizes)


def test_median_interval_wins_and_wilcoxon_are_those_of_scipy() -> None:
    paired = paired_with(DIFFERENCES)
    assert paired is not None
    assert paired.difference == np.median(DIFFERENCES)
    assert paired.p_value == stats.wilcoxon(DIFFERENCES).pvalue
    assert paired.wins == (DIFFERENCES > 0).sum()
    bootstrap = stats.bootstrap(
        (DIFFERENCES,), np.median, method="percentile", n_resamples=9999, rng=0
    )
    assert paired.interval == pytest.approx(list(bootstrap.confidence_interval), abs=0.003)


def test_corrected_test_without_overlap_is_the_t_test_of_scipy() -> None:
    test, theirs = corrected_test(DIFFERENCES, 0.0), stats.ttest_1samp(DIFFERENCES, 0.0)
    assert test is not None
    assert test.p_value == pytest.approx(theirs.pvalue)
    assert test.interval == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert test.difference == pytest.approx(DIFFERENCES.mean())


def test_corrected_test_is_the_published_formula() -> None:
    # J = 4, n_test / n_fitted = 1 / 4: variance of the mean = s2 * (1/4 + 1/4), by hand
    test = corrected_test(np.array([0.01, 0.03, 0.02, 0.04]), 0.25)
    assert test is not None
    t = 0.025 / np.sqrt(0.5 * 0.0005 / 3)
    assert t == pytest.approx(2.7386, abs=1e-4)
    assert test.p_value == pytest.approx(2 * (1 - stats.t(3).cdf(t)))
    reach = 3.18245 * 0.025 / t  # 97.5 % point of t with 3 degrees of freedom, from a table
    assert test.interval == pytest.approx((0.025 - reach, 0.025 + reach), abs=1e-6)


@pytest.mark.parametrize(
    ("n_fitted", "n_test", "ratio"),
    [
        ([80] * 5, [20] * 5, 1 / 4),
        # folds of whole groups differ in size; over all of them the ratio is 1 / (k - 1)
        ([67, 70, 63], [33, 30, 37], 1 / 2),
        ([82, 78, 80], [18, 22, 20], 60 / 240),
    ],
)
def test_correction_uses_the_sizes_of_the_splits(
    n_fitted: list[int], n_test: list[int], ratio: float
) -> None:
    differences = DIFFERENCES[: len(n_test)]
    paired = paired_statistics(differences, np.array(n_fitted), np.array(n_test))
    assert paired is not None
    assert paired.corrected == corrected_test(differences, ratio)


def test_split_without_a_difference_counts_in_no_size() -> None:
    differences = np.array([0.01, np.nan, 0.03])
    paired = paired_statistics(differences, np.array([80, 1, 80]), np.array([20, 99, 20]))
    assert paired is not None and paired.pairs == 2
    assert paired.corrected == corrected_test(np.array([0.01, 0.03]), 0.25)


@settings(deadline=None)
@given(
    differences=st.lists(st.floats(-1, 1), min_size=2, max_size=30).filter(
        lambda values: np.ptp(values) > 1e-6
    ),
    ratio=st.floats(0.01, 1),
)
def test_correction_only_ever_weakens_a_claim(differences: list[float], ratio: float) -> None:
    values = np.array(differences)
    plain, test, mirrored = (
        corrected_test(values, 0.0),
        corrected_test(values, ratio),
        corrected_test(-values, ratio),
    )
    assert plain is not None and test is not None and mirrored is not None
    assert plain.p_value <= test.p_value <= 1
    assert test.interval[0] < plain.interval[0] < plain.interval[1] < test.interval[1]
    assert mirrored.p_value == pytest.approx(test.p_value)
    # significant at .05 exactly where the interval leaves 0 out
    if abs(test.p_value - 0.05) > 1e-9:
        assert (test.p_value < 0.05) == (not test.interval[0] <= 0 <= test.interval[1])


def test_equal_runs_have_no_significant_difference() -> None:
    assert paired_with(np.zeros(5)) == PairedStatistics(
        0.0,
        (0.0, 0.0),
        p_value=1.0,
        wins=0,
        pairs=5,
        corrected=CorrectedTest(0.0, (0.0, 0.0), 1.0),
    )
    assert paired_with(np.full(5, np.nan)) is None


@pytest.mark.parametrize(
    "differences",
    [[0.02], [0.02, np.nan], [0.02, 0.02], [0.1 + 0.2, 0.3, 0.3]],
    ids=["one split", "one defined", "constant", "constant but for rounding"],
)
def test_corrected_test_is_undefined_without_a_variance(differences: list[Any]) -> None:
    paired = paired_with(np.array(differences, float))
    assert paired is not None and paired.corrected is None


@pytest.mark.long
def test_differences_by_chance_are_rarely_significant_although_test_parts_overlap() -> None:
    """Two useless models on 100 videos that are divided again and again: each of the two draws its
    scores once, so all splits share the same luck.
    """
    generator, corrected, wilcoxon = np.random.default_rng(0), 0, 0
    trials = 200
    for _ in range(trials):
        mos, one, two = generator.normal(size=(3, 100))
        differences = []
        for _ in range(10):
            part = generator.permutation(100)[:20]
            a, b = (stats.spearmanr(scores[part], mos[part]).statistic for scores in (one, two))
            differences.append(a - b)
        paired = paired_with(np.array(differences))
        assert paired is not None and paired.corrected is not None
        corrected += paired.corrected.p_value < 0.05
        wilcoxon += paired.p_value < 0.05
    assert corrected <= 0.1 * trials < wilcoxon
