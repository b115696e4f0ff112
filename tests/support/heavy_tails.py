"""Columns whose ranks tell the quality, and whose values have heavy tails: a few are enormous."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import stats


def heavy_tailed(
    seed: int, videos: int, columns: int
) -> tuple[Float[np.ndarray, "videos columns"], Float[np.ndarray, " videos"]]:
    """Columns and labels. A third of the columns tell the quality. Each has Student's t
    distribution with 1.2 degrees of freedom; every 250th value is enlarged up to 10^8 times.
    """
    generator = np.random.default_rng(seed)
    quality = generator.normal(size=videos)
    telling = np.arange(columns) % 3 == 0
    normal = generator.normal(size=(videos, columns)) + 0.35 * quality[:, None] * telling
    values = stats.t(1.2).ppf(stats.rankdata(normal, axis=0) / (videos + 1))
    enormous = generator.random((videos, columns)) < 0.004
    values[enormous] *= 10.0 ** generator.uniform(3, 8, enormous.sum())
    return values, 3 + 0.6 * quality + 0.15 * generator.normal(size=videos)


def clipped(
    columns: Float[np.ndarray, "N C"], rows: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "N C"]:
    """Within five robust standard deviations of the median of ``rows``."""
    low, median, high = np.percentile(columns[rows], [25, 50, 75], axis=0)
    return np.clip((columns - median) / ((high - low) / 1.349), -5, 5)
