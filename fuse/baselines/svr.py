"""Support-vector regression, RBF kernel, cost and gamma by grid search; at most 6,000 videos.

With `grid=relative` gamma is relative to the median distance of two training videos, so that the
grid suits any number of columns; columns are prepared as for the other baselines, and labels are
standardised. `grid=published` is the protocol of VIDEVAL (Tu et al., IEEE TIP 2021), made for its
60 columns: C in 2^1..2^10 and gamma in 2^-8..2^1 on columns scaled to 0 to 1, labels as they are.

Dimensions: N rows, C columns, P costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Float
from sklearn.svm import SVR

from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.rbf import rbf, squared_distances, usual_distance
from vqa_twostage.pipeline.errors import UsageError

VERSION = 2
# squared length scales, in units of the median squared distance, and costs for standardised labels
SCALES = 2.0 ** np.arange(-1, 7)
COSTS = 2.0 ** np.arange(-2, 9)
# as published
PUBLISHED_COSTS = 2.0 ** np.arange(1, 11)
PUBLISHED_GAMMAS = 2.0 ** np.arange(-8, 2)
MOST_VIDEOS = 6000


def build(*, grid: str = "relative") -> Candidates:
    if grid == "relative":
        return Candidates(relative, most_videos=MOST_VIDEOS)
    if grid == "published":
        return Candidates(published, "min_max", MOST_VIDEOS)
    raise UsageError(f"svr: grid must be relative or published, not {grid!r}")


def relative(columns: int) -> Iterator[SupportVectorPath]:
    for scale in SCALES:
        yield SupportVectorPath(scale)


def published(columns: int) -> Iterator[SVR]:
    for cost, gamma in product(PUBLISHED_COSTS, PUBLISHED_GAMMAS):
        yield SVR(C=cost, gamma=gamma)


class SupportVectorPath:
    """Regressors of one length scale, one for each cost; they share the kernel matrix."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def fit(
        self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]
    ) -> SupportVectorPath:
        self.rows, self.usual = rows.copy(), usual_distance(rows)
        self.mean, self.std = labels.mean(), labels.std() or 1.0
        kernel, standard = self._kernel(rows), (labels - self.mean) / self.std
        self.machines = [SVR(kernel="precomputed", C=cost).fit(kernel, standard) for cost in COSTS]
        return self

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "P N"]:
        kernel = self._kernel(rows)
        standard = np.stack([machine.predict(kernel) for machine in self.machines])
        return self.mean + self.std * standard

    def _kernel(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N _"]:
        return rbf(squared_distances(rows, self.rows), self.usual, self.scale)
