"""Gaussian process, RBF kernel and white noise, both by marginal likelihood; at most 3,000 videos.

Nothing is chosen on validation, so where several videos share a content, which the likelihood does
not know, it trusts the features too much; kernel_ridge does not. The prediction has the form of
kernel ridge regression (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
chapters 2 and 5). The variance of the signal is that of the highest likelihood, in closed form; all
levels of noise share the decomposition of a length scale.

Dimensions: N rows, C columns, S levels of noise.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.rbf import rbf, squared_distances, usual_distance

VERSION = 1
# squared length scales, in units of the median squared distance
SCALES = 2.0 ** np.arange(-1, 7)
# variance of the noise, in units of that of the signal
NOISES = 10.0 ** np.arange(-4.0, 2.1, 0.25)
MOST_VIDEOS = 3000


def build() -> Candidates:
    return Candidates(candidates, most_videos=MOST_VIDEOS)


def candidates(columns: int) -> Iterator[GaussianProcess]:
    yield GaussianProcess()


class GaussianProcess:
    """Its prediction is the posterior mean."""

    def fit(
        self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]
    ) -> GaussianProcess:
        self.rows, self.usual, self.mean = rows.copy(), usual_distance(rows), labels.mean()
        distances, best = squared_distances(rows, rows), -np.inf
        for scale in SCALES:
            values, vectors = np.linalg.eigh(rbf(distances, self.usual, scale))
            projected = vectors.T @ (labels - self.mean)
            variances = np.maximum(values, 0)[:, None] + NOISES
            likelihoods = log_likelihood(projected, variances)
            if likelihoods.max() > best:
                best, self.scale = likelihoods.max(), scale
                self.weights = vectors @ (projected / variances[:, likelihoods.argmax()])
        return self

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
        kernel = rbf(squared_distances(rows, self.rows), self.usual, self.scale)
        predicted: Float[np.ndarray, " N"] = self.mean + kernel @ self.weights
        return predicted


def log_likelihood(
    projected: Float[np.ndarray, " N"], variances: Float[np.ndarray, "N S"]
) -> Float[np.ndarray, " S"]:
    """Of labels with these coordinates along the eigenvectors, up to a constant; ``variances`` are
    those along the eigenvectors, in units of the signal's.
    """
    signal = np.maximum((np.square(projected)[:, None] / variances).mean(axis=0), 1e-300)
    likelihood: Float[np.ndarray, " S"] = -0.5 * (
        len(projected) * np.log(signal) + np.log(variances).sum(axis=0)
    )
    return likelihood
