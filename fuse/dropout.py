"""Dropout that does not cost more than the layer before it."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

# random bits a value, of the 64 that are drawn at a time
BITS, DRAWN = 16, 64


class Dropout(nn.Module):
    """As `torch.nn.Dropout`, which draws a number for each value and so takes several times as
    long.

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR
    2014. ``probability`` is rounded to a multiple of 2 ** -16.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped = round(probability * (1 << BITS))

    def forward(self, values: Float[Tensor, ...]) -> Float[Tensor, ...]:
        if not self.training or not self.dropped:
            return values
        drawn = torch.randint(
            -(1 << DRAWN - 1),
            (1 << DRAWN - 1) - 1,
            (math.ceil(values.numel() * BITS / DRAWN),),
            device=values.device,
        )
        bits = drawn.view(torch.int16)[: values.numel()].view(values.shape)
        kept = (bits >= self.dropped - (1 << BITS - 1)).to(values.dtype)
        return values * kept.mul_(1 / (1 - self.dropped / (1 << BITS)))
