"""Losses, and sums of them: ``--loss smooth_l1+plcc``. All on labels standardised over the training
part.

Letters: N videos of the training part, which are one batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqa_twostage.pipeline.errors import UsageError

Scores = Float[Tensor, " N"]
Groups = Int[Tensor, " N"]
Loss = Callable[[Scores, Scores, Groups], Float[Tensor, ""]]


def l1(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """Mean absolute error."""
    return F.l1_loss(predicted, mos)


def smooth_l1(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """Huber's loss: squared below one standard deviation of the labels, absolute above."""
    return F.smooth_l1_loss(predicted, mos)


def plcc(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """(1 - Pearson's correlation) / 2, between 0 and 1."""
    return (
        1 - F.cosine_similarity(predicted - predicted.mean(), mos - mos.mean(), dim=0, eps=1e-6)
    ) / 2


def rank(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """Mean over pairs with different labels of ``max(0, |y_i - y_j| - sign(y_i - y_j) (x_i -
    x_j))``; 0 without any.

    The pairwise hinge of Wen & Wang (A strong baseline for image and video quality assessment,
    2021) and SimpleVQA: of two videos the better one is to be ahead by as much as their labels
    differ. (SimpleVQA's own code is called with labels and predictions in each other's place, which
    leaves the predictions no gradient.)

    With the residuals ``r = y - x`` a pair costs ``max(0, r_i - r_j)`` where y_i > y_j: r_i comes
    in once for each worse video with a smaller residual, less once for each better one with a
    greater. So it is enough to count those, and no N x N matrix is made: all pairs of 30,000 videos
    are exact, and take tens of milliseconds.
    """
    residual = mos - predicted
    _, ties = torch.unique(mos, return_counts=True)
    pairs = (len(mos) ** 2 - int((ties**2).sum())) // 2
    return (_times_ahead(residual.detach(), mos) * residual).sum() / max(pairs, 1)


def _times_ahead(residual: Scores, mos: Scores) -> Scores:
    """For each video, how many of the worse have a smaller residual, less how many of the better
    have a greater.

    Counted as a merge sort counts inversions, over blocks of 1, 2, 4, … videos in the order of
    their labels.
    """
    # among equal labels the greater residual first: then no pair of them is ever counted
    order = torch.argsort(residual, descending=True, stable=True)
    order = order[torch.argsort(mos[order], stable=True)]
    length = 1 << (len(mos) - 1).bit_length()
    values = F.pad(residual[order], (0, length - len(mos)), value=float("-inf"))
    counts = torch.zeros_like(values)
    for size in (1 << level for level in range(length.bit_length() - 1)):
        worse, better = (half.contiguous() for half in values.view(-1, 2, size).unbind(1))
        blocks = counts.view(-1, 2, size)
        blocks[:, 1] += torch.searchsorted(worse.sort().values, better)
        blocks[:, 0] -= size - torch.searchsorted(better.sort().values, worse, right=True)
    return torch.empty_like(residual).index_copy(0, order, counts[: len(mos)])


def group(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """Mean over groups of the squared mean error of a group: what the head owes to the content and
    not to its quality.

    Where every video is a group of its own this is the mean squared error.
    """
    groups = int(group.max()) + 1
    total = predicted.new_zeros(groups).index_add(0, group, predicted - mos)
    return ((total / torch.bincount(group, minlength=groups)) ** 2).mean()


LOSSES: dict[str, Loss] = {
    "l1": l1,
    "smooth_l1": smooth_l1,
    "plcc": plcc,
    "rank": rank,
    "group": group,
}


def parse_loss(text: str) -> Loss:
    """The sum of the losses that ``text`` names, joined by ``+``; UsageError lists the choices."""
    names = text.split("+")
    unknown = [name for name in names if name not in LOSSES]
    if unknown:
        raise UsageError(
            f"unknown loss {unknown[0]!r} in {text!r}; choose from {', '.join(LOSSES)}, or a sum "
            "such as smooth_l1+plcc"
        )
    return lambda predicted, mos, group: torch.stack(
        [LOSSES[name](predicted, mos, group) for name in names]
    ).sum()
