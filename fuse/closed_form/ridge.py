"""Ridge regression; every level counts alike, however many columns it has.

Dimensions: N rows, D columns, P penalties.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.averaging import ClosedForm, Columns
from vqa_twostage.fuse.ridge_path import ridge_weights

VERSION = 1
# in units of the mean squared length of a row: noise to signal
PENALTIES = 10.0 ** np.arange(-4.0, 4.1, 0.5)


def build() -> ClosedForm:
    return ClosedForm(PENALTIES, fit, Linear)


def fit(
    columns: Columns, labels: Float[np.ndarray, " N"], penalties: Float[np.ndarray, " P"]
) -> Linear:
    scale = np.bincount(columns.level)[columns.level] ** -0.5
    rows = columns.values * scale
    center, mean = rows.mean(axis=0), labels.mean()
    weights = ridge_weights(rows - center, labels - mean, penalties)
    return Linear(
        torch.from_numpy(scale[:, None] * weights).float(),
        torch.from_numpy(mean - center @ weights).float(),
    )


class Linear(nn.Module):
    weights: Tensor
    bias: Tensor

    def __init__(self, weights: Float[Tensor, "D P"], bias: Float[Tensor, " P"]) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("bias", bias)

    def forward(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "P N"]:
        return (rows @ self.weights + self.bias).T
