"""Kernel ridge regression for many penalties by one eigendecomposition, whole or by the Nyström
approximation.

Dimensions: N rows, M landmarks, P penalties.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vqa_twostage.fuse.ridge_path import ridge_weights

# eigenvalues of the landmarks' kernel below so much of the largest are rounding errors
SMALLEST = 1e-12


def kernel_weights(
    landmarks: Float[np.ndarray, "M M"],
    rows: Float[np.ndarray, "N M"] | None,
    labels: Float[np.ndarray, " N"],
    penalties: Float[np.ndarray, " P"],
) -> Float[np.ndarray, "M P"]:
    """The weights of the landmarks without an intercept, a column for each penalty.

    ``landmarks``: the kernel of the landmarks. ``rows``: that of all rows with them, or None where
    the landmarks are all rows. (Williams and Seeger, NIPS 2000.)
    """
    values, vectors = np.linalg.eigh(landmarks)
    if rows is None:
        projected = (vectors.T @ labels)[:, None]
        weights: Float[np.ndarray, "M P"] = vectors @ (
            projected / (np.maximum(values, 0)[:, None] + penalties)
        )
        return weights
    kept = values > SMALLEST * values[-1]
    basis = vectors[:, kept] / np.sqrt(values[kept])
    return basis @ ridge_weights(rows @ basis, labels, penalties)
