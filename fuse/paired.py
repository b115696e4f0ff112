"""Paired statistics of two runs on the same splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Int

# of the bootstrap over splits
RESAMPLES = 10_000
LEVEL = 0.95
SIGNIFICANT = 1 - LEVEL
# differences in SRCC that agree so far differ by rounding alone
ROUNDING = 1e-12
WHICH_TO_BELIEVE = (
    "believe the corrected p: splits share videos, which Wilcoxon's test and the bootstrap take "
    "for independent, so both are optimistic"
)


@dataclass(frozen=True)
class CorrectedTest:
    """The corrected resampled t-test (Nadeau and Bengio, Machine Learning 52, 2003), for splits
    that share videos: the variance of the mean over J splits is that of the differences times
    1 / J + n_test / n_train, and t has J - 1 degrees of freedom.
    """

    difference: float
    """Mean over the splits."""
    interval: tuple[float, float]
    """95 % confidence interval of the mean."""
    p_value: float
    """Two-sided."""


@dataclass(frozen=True)
class PairedStatistics:
    """Of a run's SRCC minus the reference's, split by split.

    Splits of one dataset share videos. ``corrected`` allows for that and is the one to believe;
    ``interval`` and ``p_value`` do not and are optimistic.
    """

    difference: float
    """Median over the splits."""
    interval: tuple[float, float]
    """95 % bootstrap interval of the median (percentile method)."""
    p_value: float
    """Wilcoxon's signed-rank test, two-sided."""
    wins: int
    """Splits in which the run is better."""
    pairs: int
    """Splits in which both have an SRCC."""
    corrected: CorrectedTest | None
    """None where it is undefined: with one split, or where all differ by the same amount."""


def paired_statistics(
    differences: Float[np.ndarray, " splits"],
    n_fitted: Int[np.ndarray, " splits"],
    n_test: Int[np.ndarray, " splits"],
) -> PairedStatistics | None:
    """Statistics of the differences of each split; None where all of them are NaN.

    ``differences``: NaN marks a split in which one of the two is undefined. ``n_fitted``: the
    videos that the tested model was fitted on, those of training and validation; ``n_test``: those
    of the test part.
    """
    both = np.isfinite(differences)
    differences = differences[both]
    if not len(differences):
        return None
    drawn = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return PairedStatistics(
        difference=float(np.median(differences)),
        interval=(float(low), float(high)),
        p_value=float(scipy.stats.wilcoxon(differences).pvalue) if differences.any() else 1.0,
        wins=int((differences > 0).sum()),
        pairs=len(differences),
        corrected=corrected_test(differences, float(n_test[both].sum() / n_fitted[both].sum())),
    )


def corrected_test(
    differences: Float[np.ndarray, " splits"], test_to_fitted: float
) -> CorrectedTest | None:
    """None with fewer than two splits, and where all differences are one number other than 0,
    which says nothing of their variance.

    ``test_to_fitted``: videos of a test part for each one that its model was fitted on; 1 / (k - 1)
    for k folds.
    """
    count = len(differences)
    if count < 2:
        return None
    mean = float(differences.mean())
    if np.ptp(differences) < ROUNDING:
        return CorrectedTest(0.0, (0.0, 0.0), 1.0) if abs(mean) < ROUNDING else None
    error = float(np.sqrt((1 / count + test_to_fitted) * differences.var(ddof=1)))
    reach = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    p_value = 2 * float(scipy.stats.t.sf(abs(mean) / error, count - 1))
    return CorrectedTest(mean, (mean - reach, mean + reach), p_value)
