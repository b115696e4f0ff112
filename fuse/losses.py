"""Losses, and sums of them: ``--loss smooth_l1+plcc``. All on labels standardised over the training part.

Letters: N videos of the training part, which are one batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pipeline.errors import UsageError

Scores = Float[Tensor, " N"]
Groups = Int[Tensor, " N"]
Loss = Callable[[Scores, Scores, Groups], Float[Tensor, ""]]


def smooth_l1(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """Huber's loss: squared below one standard deviation of the labels, absolute above."""
    return F.smooth_l1_loss(predicted, mos)


def plcc(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """(1 - Pearson's correlation) / 2, between 0 and 1."""
    return (1 - F.cosine_similarity(predicted - predicted.mean(), mos - mos.mean(), dim=0, eps=1e-6)) / 2


def group(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
    """Mean over groups of the squared mean error of a group: what the head owes to the content and not to its quality.

    Where every video is a group of its own this is the mean squared error.
    """
    groups = int(group.max()) + 1
    total = predicted.new_zeros(groups).index_add(0, group, predicted - mos)
    return ((total / torch.bincount(group, minlength=groups)) ** 2).mean()


LOSSES: dict[str, Loss] = {"smooth_l1": smooth_l1, "plcc": plcc, "group": group}


def parse_loss(text: str) -> Loss:
    """The sum of the losses that ``text`` names, joined by ``+``; UsageError lists the choices."""
    names = text.split("+")
    unknown = [name for name in names if name not in LOSSES]
    if unknown:
        raise UsageError(
            f"unknown loss {unknown[0]!r} in {text!r}; choose from {', '.join(LOSSES)}, or a sum such as smooth_l1+plcc"
        )
    return lambda predicted, mos, group: torch.stack([LOSSES[name](predicted, mos, group) for name in names]).sum()
