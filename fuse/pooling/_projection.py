"""What follows every pooling, and its options, which all poolings share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.pipeline.errors import require_dropout, require_positive


def shared(
    *, width: int = 64, level_dropout: float = 0.5
) -> Callable[[tuple[int, ...]], LevelProjection]:
    """Options of every pooling, those of the `LevelProjection` that follows it."""
    require_positive("pooling", width=width)
    require_dropout("pooling", level_dropout=level_dropout)
    return partial(LevelProjection, width=width, level_dropout=level_dropout)


class LevelProjection(nn.Module):
    """Each level projected on its own to ``width`` channels, so that all levels of the backbone
    count equally.

    The deep levels have up to eighty times as many columns as the shallow ones, which carry more
    information about distortions. An equal width, and whole levels dropped in training, keep the
    deep ones from dominating.

    Dimensions: B videos, T frames, C channels of one level, W the width.
    """

    def __init__(self, channels: tuple[int, ...], width: int, level_dropout: float) -> None:
        super().__init__()
        self.level_dropout = level_dropout
        self.level_channels = (width,) * len(channels)
        # inputs are divided by the root of their number, so that a level's size does not decide how
        # fast it is learned
        self.weights = nn.ParameterList(
            torch.empty(width, size).uniform_(-(3**0.5), 3**0.5) for size in channels
        )

    def forward(self, levels: list[Float[Tensor, "B T _"]]) -> list[Float[Tensor, "B T W"]]:
        scales = torch.ones(len(levels), device=levels[0].device)
        if self.training and self.level_dropout and len(levels) > 1:
            drawn = torch.rand(len(levels))
            # at least one level is kept; the others are scaled up, so that the sum keeps its size
            kept = ((drawn >= self.level_dropout) | (drawn == drawn.amax())).float()
            scales = kept / kept.mean()
        # the weights are scaled and not the tokens, which are many times larger
        return [
            level @ (weight * (scale / level.shape[-1] ** 0.5)).T
            for level, weight, scale in zip(levels, self.weights, scales, strict=True)
        ]
