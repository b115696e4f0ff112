"""Losses: each public function is one, and ``--loss smooth_l1+plcc`` names two (``loss_spec.py``).

Labels are standardised over the training part. ``group`` is the number of each video's group
(content), from 0.

Dimensions: N videos of a batch, by default the whole training part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

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
    """Pairwise hinge: the better of two videos is to lead by as much as their labels differ.

    The mean over pairs with different labels of ``max(0, |y_i - y_j| - sign(y_i - y_j) (x_i -
    x_j))``, with labels y and predictions x; 0 without such pairs. From Wen & Wang (A strong
    baseline for image and video quality assessment, 2021) and SimpleVQA. (SimpleVQA's own code
    calls it with labels and predictions swapped, which leaves the predictions no gradient.)

    With the residuals ``r = y - x`` a pair costs ``max(0, r_i - r_j)`` where y_i > y_j: r_i is
    added once for each worse video with a smaller residual, and subtracted once for each better one
    with a greater. So it is enough to count those, and no N x N matrix is made: all pairs of 30,000
    videos are exact, and take tens of milliseconds.
    """
    residual = mos - predicted
    _, ties = torch.unique(mos, return_counts=True)
    pairs = (len(mos) ** 2 - int((ties**2).sum())) // 2
    return (_times_ahead(residual.detach(), mos) * residual).sum() / max(pairs, 1)


def _times_ahead(residual: Scores, mos: Scores) -> Scores:
    """For each video, the number of worse ones with a smaller residual, minus the number of better
    ones with a greater.

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
    """Mean over groups (contents) of the squared mean error of the group's videos.

    It penalises a bias that all videos of one content share. Where every video is a group of its
    own this is the mean squared error.
    """
    groups = int(group.max()) + 1
    total = predicted.new_zeros(groups).index_add(0, group, predicted - mos)
    return ((total / torch.bincount(group, minlength=groups)) ** 2).mean()
