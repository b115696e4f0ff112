"""Kernel ridge regression, RBF kernel; every column counts alike.

Beyond ``landmarks`` videos by the Nyström approximation (Williams and Seeger, NIPS 2000), as in the
baseline of this name. The length scale is the median heuristic's times the root of ``scale``.

A video that is near another one gets a similar score, so where a content has several videos their
scores are remembered, and new contents suffer; there it is left out.

Dimensions: N rows, D columns, P penalties, M landmarks.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn

from vqa_twostage.fuse.averaging import ClosedForm, TrainingRows
from vqa_twostage.fuse.kernel_weights import kernel_weights
from vqa_twostage.fuse.rbf import evenly, rbf, squared_distances, usual_distance
from vqa_twostage.pipeline.errors import require, require_positive

VERSION = 2
# noise to signal; with less the weights of videos that are alike cancel one another
PENALTIES = 10.0 ** np.arange(-3.0, 2.1, 0.5)


def build(*, scale: float = 4.0, landmarks: int = 1000) -> ClosedForm:
    """``scale``: squared length scale, in units of the median squared distance of two videos;
    ``landmarks``: the most videos that the solution is a combination of.
    """
    require(0 < scale < float("inf"), f"kernel_ridge: scale must be more than 0, not {scale}")
    require_positive("kernel_ridge", landmarks=landmarks)
    fit_scaled = partial(fit, scale=scale, most=landmarks)
    return ClosedForm(PENALTIES, (fit_scaled,), Rbf, remembers_contents=True)


def fit(
    training: TrainingRows,
    penalties: Float[np.ndarray, " P"],
    scale: float,
    most: int,
) -> Rbf:
    rows, labels = training.rows, training.labels
    mean = labels.mean()
    landmarks = rows[evenly(len(rows), most)].astype(np.float16)  # as a model keeps them
    unit = usual_distance(rows)

    def kernel(values: Float[np.ndarray, "_ D"]) -> Float[np.ndarray, "_ M"]:
        return rbf(squared_distances(values, landmarks.astype(np.float64)), unit, scale)

    weights = kernel_weights(
        kernel(landmarks.astype(np.float64)),
        None if len(landmarks) == len(rows) else kernel(rows),
        labels - mean,
        penalties,
    )
    return Rbf(
        torch.from_numpy(landmarks),
        torch.from_numpy(weights),
        torch.tensor([-0.5 / (scale * unit)], dtype=torch.float64),
        torch.tensor([mean], dtype=torch.float64),
    )


class Rbf(nn.Module):
    """In double precision: with a low penalty large weights of opposite signs meet, and single
    precision would leave .0002 of a score to the order in which they are added.
    """

    landmarks: Tensor
    weights: Tensor
    slope: Tensor
    bias: Tensor

    def __init__(
        self,
        landmarks: Float16[Tensor, "M D"],
        weights: Float[Tensor, "M P"],
        slope: Float[Tensor, 1],
        bias: Float[Tensor, 1],
    ) -> None:
        super().__init__()
        self.register_buffer("landmarks", landmarks)
        self.register_buffer("weights", weights.double())
        self.register_buffer("slope", slope.double())
        self.register_buffer("bias", bias.double())

    def forward(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "P N"]:
        rows, landmarks = rows.double(), self.landmarks.double()
        distances = (
            rows.square().sum(dim=1, keepdim=True)
            + landmarks.square().sum(dim=1)
            - 2 * (rows @ landmarks.T)
        )
        kernel = torch.exp(distances.clamp(min=0) * self.slope)
        return (kernel @ self.weights + self.bias).T.float()
