"""How a head learns from other datasets beside its own (`fuse.joint`): their loss, and its weight.

Datasets differ in the range of quality that they show, in their scales and in who was asked. Labels
of two datasets that are standardised and joined say that the middling video of one is as good as
that of the other, which is false, and costs accuracy. So the loss of another dataset is of its
videos among themselves: its scores are standardised, as its labels are, in each batch. Whatever the
loss, neither the level nor the spread of the scores is learnt from it, only how its videos compare.

Half of the members of an ensemble learn in this way, and the others from the own dataset alone, so
that what other datasets spoil is halved.

Dimensions: N videos of a batch.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from vqa_twostage.fuse.learning.losses import Groups, Loss, Scores

# added to the variance of scores, which may be constant
LEAST_VARIANCE = 1e-12


def weight_of_other(own: int, other: int) -> float:
    """Of the loss of ``other`` videos beside that of ``own``: the root of how many times more they
    are. So a small dataset changes little of a large one, and is not forgotten beside it.
    """
    return math.sqrt(other / own)


def within(loss: Loss) -> Loss:
    """``loss`` of scores and labels that are standardised in the batch."""

    def of_standardised(predicted: Scores, mos: Scores, group: Groups) -> Float[Tensor, ""]:
        return loss(_standardised(predicted), _standardised(mos), group)

    return of_standardised


def _standardised(values: Scores) -> Scores:
    centred = values - values.mean()
    return centred / (centred.square().mean() + LEAST_VARIANCE).sqrt()
