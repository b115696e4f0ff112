"""Kernel ridge regression, RBF kernel, length scale and penalty by validation; beyond 2,000 videos
by the Nyström approximation.

The length scale is that of the median heuristic (the median distance of two training videos) times
a grid. The approximation is fitted to all videos as well: what is limited to 2,000, evenly spaced,
is how many of them its solution is a combination of (Williams and Seeger, NIPS 2000).

Dimensions: N rows, C columns, P penalties, M landmarks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.kernel_weights import kernel_weights
from vqa_twostage.fuse.rbf import evenly, rbf, squared_distances, usual_distance

VERSION = 1
# squared length scales, in units of the median squared distance
SCALES = 2.0 ** np.arange(-1, 7)
# noise to signal
PENALTIES = 10.0 ** np.arange(-5.0, 2.1, 0.5)
LANDMARKS = 2000


def build() -> Candidates:
    return Candidates(candidates)


def candidates(columns: int) -> Iterator[KernelRidgePath]:
    for scale in SCALES:
        yield KernelRidgePath(scale)


class KernelRidgePath:
    """Regressors of one length scale, one for each penalty."""

    def __init__(self, scale: float, landmarks: int = LANDMARKS) -> None:
        self.scale, self.most = scale, landmarks

    def fit(
        self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]
    ) -> KernelRidgePath:
        self.landmarks = rows[evenly(len(rows), self.most)]
        self.usual, self.mean = usual_distance(rows), labels.mean()
        self.weights = kernel_weights(
            self._kernel(self.landmarks),
            None if len(self.landmarks) == len(rows) else self._kernel(rows),
            labels - self.mean,
            PENALTIES,
        )
        return self

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "P N"]:
        return self.mean + (self._kernel(rows) @ self.weights).T

    def _kernel(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N M"]:
        return rbf(squared_distances(rows, self.landmarks), self.usual, self.scale)
