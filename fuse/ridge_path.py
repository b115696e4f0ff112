"""Ridge regression for many penalties by one eigendecomposition.

Dimensions: N rows, C columns, P penalties.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def ridge_weights(
    rows: Float[np.ndarray, "N C"],
    labels: Float[np.ndarray, " N"],
    penalties: Float[np.ndarray, " P"],
) -> Float[np.ndarray, "C P"]:
    """The weights without an intercept, a column for each penalty.

    The matrix that is decomposed is the smaller of N x N and C x C. ``penalties`` are in units of
    the mean squared length of a row, so that they mean the same for any number of columns.
    """
    wide = len(rows) <= rows.shape[1]
    values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    values = np.maximum(values, 0)
    unit = values.sum() / len(rows)
    shrunk = values[:, None] + penalties * (unit if unit > 0 else 1.0)
    if wide:
        return rows.T @ (vectors @ ((vectors.T @ labels)[:, None] / shrunk))
    return vectors @ ((vectors.T @ (rows.T @ labels))[:, None] / shrunk)
