"""The RBF kernel, its length scale in units that suit any number of columns.

Dimensions: N, M rows, C columns.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Rows = Float[np.ndarray, "N C"]

# rows whose distances the usual distance is taken from
SAMPLE = 1000


def rbf(
    distances: Float[np.ndarray, "N M"], usual: float, scale: float
) -> Float[np.ndarray, "N M"]:
    """exp(-d / (2 scale usual)): ``usual`` is the `usual_distance` of the training rows, ``scale``
    the squared length scale in units of it. Distances are squared.
    """
    return np.exp(distances * (-0.5 / (scale * usual)))


def squared_distances(rows: Rows, others: Float[np.ndarray, "M C"]) -> Float[np.ndarray, "N M"]:
    """Between every row and every other one."""
    lengths = np.square(rows).sum(axis=1)[:, None] + np.square(others).sum(axis=1)
    return np.maximum(lengths - 2 * (rows @ others.T), 0)


def usual_distance(rows: Rows) -> float:
    """The median squared distance of two different rows (the median heuristic); their mean where
    most rows are equal, 1 where all are.
    """
    rows = rows[evenly(len(rows), SAMPLE)]
    distances = squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    if not len(distances):
        return 1.0
    return float(np.median(distances)) or float(distances.mean()) or 1.0


def evenly(count: int, most: int) -> Int[np.ndarray, " _"]:
    """At most so many of ``count`` places, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
