"""Paired statistics of two runs on the same splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

# of the bootstrap over splits
RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class PairedStatistics:
    """Of a run's SRCC minus the reference's, split by split.

    Splits of one dataset overlap, so the interval and the p-value are optimistic: they are a
    guide, not a proof.
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


def paired_statistics(differences: Float[np.ndarray, " splits"]) -> PairedStatistics | None:
    """NaN marks a split in which one of the two is undefined; None where all of them are."""
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return None
    drawn = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return PairedStatistics(
        difference=float(np.median(differences)),
        interval=(float(low), float(high)),
        p_value=float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0,
        wins=int((differences > 0).sum()),
        pairs=len(differences),
    )
