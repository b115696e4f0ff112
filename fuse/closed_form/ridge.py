"""Ridge regression with the networks' group loss and level dropout, in closed form.

The mean squared error, and the squared mean error of each content (the loss ``group``), are
minimised in expectation over levels that are dropped at random: that adds a penalty on what each
level predicts by itself (Wager, Wang and Liang, "Dropout training as adaptive regularization", NIPS
2013), so that no level decides alone, unless validation says surely that it should. Every level
counts alike, however many columns it has.

Dimensions: N rows, D columns, G contents, P penalties.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqa_twostage.fuse.averaging import ClosedForm, TrainingRows
from vqa_twostage.pipeline.errors import require_dropout

VERSION = 2
# in units of the mean squared length of a row: noise to signal
PENALTIES = 10.0 ** np.arange(-4, 3)


def build(*, level_dropout: float = 0.7) -> ClosedForm:
    """``level_dropout``: the largest share of the levels that is dropped; validation chooses among
    none, .7 of it, and all of it. Where there is only one level, none.
    """
    require_dropout("ridge", level_dropout=level_dropout)
    shares = (0.0, 0.7 * level_dropout, level_dropout)
    return ClosedForm(
        PENALTIES, tuple(partial(fit, level_dropout=share) for share in shares), Linear
    )


def fit(training: TrainingRows, penalties: Float[np.ndarray, " P"], level_dropout: float) -> Linear:
    level, labels = training.level, training.labels
    scale = np.bincount(level)[level] ** -0.5
    rows = training.rows * scale
    center, mean = rows.mean(axis=0), labels.mean()
    rows, labels = rows - center, labels - mean
    # the mean error of each content is an equation more
    of_contents = _by_content(np.column_stack([rows, labels]), training.group)
    products = rows.T @ rows + of_contents[:, :-1].T @ of_contents[:, :-1]
    target = rows.T @ labels + of_contents[:, :-1].T @ of_contents[:, -1]
    unit = max(float(np.square(rows).sum() / len(rows)), 1e-12)
    if level.any():
        same_level = level[:, None] == level
        products = products + products * same_level * (level_dropout / (1 - level_dropout))
    stacked = np.stack(
        [_solve(products, float(penalty) * unit, target) for penalty in penalties], axis=1
    )
    return Linear(
        torch.from_numpy(scale[:, None] * stacked),
        torch.from_numpy(mean - center @ stacked),
    )


def _solve(
    products: Float[np.ndarray, "D D"], penalty: float, target: Float[np.ndarray, " D"]
) -> Float[np.ndarray, " D"]:
    """Faster than `scipy.linalg.solve`, which also estimates the condition."""
    matrix = products.copy()
    matrix[np.diag_indices_from(matrix)] += penalty
    factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
    solution: Float[np.ndarray, " D"] = scipy.linalg.cho_solve(factor, target, check_finite=False)
    return solution


def _by_content(
    values: Float[np.ndarray, "N _"], group: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "G _"]:
    """The mean row of each content, times the root of N / G: their squares then sum to as much as
    those of N videos would, so that both losses count alike.
    """
    _, number, counts = np.unique(group, return_inverse=True, return_counts=True)
    order = np.argsort(number, kind="stable")
    sums = np.add.reduceat(values[order], np.cumsum(counts) - counts, axis=0)
    return sums / counts[:, None] * (len(values) / len(counts)) ** 0.5


class Linear(nn.Module):
    """In double precision: with a low penalty large weights of opposite signs meet."""

    weights: Tensor
    bias: Tensor

    def __init__(self, weights: Float[Tensor, "D P"], bias: Float[Tensor, " P"]) -> None:
        super().__init__()
        self.register_buffer("weights", weights.double())
        self.register_buffer("bias", bias.double())

    def forward(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "P N"]:
        return (rows.double() @ self.weights + self.bias).T.float()
