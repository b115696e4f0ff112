"""What follows every pooling, and its options, which all poolings share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import Product
from vqa_twostage.pipeline.errors import require_dropout, require_positive


def shared(
    *, width: int = 64, level_dropout: float = 0.5
) -> Callable[[tuple[int, ...], tuple[int, ...]], LevelProjection]:
    """Options of every pooling, those of the `LevelProjection` that follows it, which is made of
    the channels of each level and the number of the track that each is of.
    """
    require_positive("pooling", width=width)
    require_dropout("pooling", level_dropout=level_dropout)
    return partial(LevelProjection, width=width, level_dropout=level_dropout)


class LevelProjection(nn.Module):
    """Each level projected on its own to ``width`` channels, so that all levels of the backbone
    count equally.

    The deep levels have up to eighty times as many columns as the shallow ones, which carry more
    information about distortions. An equal width, and whole levels dropped in training, keep the
    deep ones from dominating. Of each track at least one level is kept.

    Dimensions: B videos, T frames, C channels of one level, W the width.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        tracks: tuple[int, ...],
        width: int,
        level_dropout: float,
    ) -> None:
        super().__init__()
        self._of_track = np.equal(tracks, np.arange(max(tracks) + 1)[:, None])
        self.level_dropout, self.sizes = level_dropout, channels
        self.level_channels = (width,) * len(channels)
        # of all levels side by side
        self.weight = nn.Parameter(torch.empty(width, sum(channels)).uniform_(-(3**0.5), 3**0.5))
        self._level = np.repeat(np.arange(len(channels)), channels)  # of each column
        # inputs are divided by the root of their number, so that a level's size does not decide how
        # fast it is learned
        self._scale = np.repeat(np.array(channels, np.float32) ** -0.5, channels)

    def forward(self, levels: list[Float[Tensor, "B T _"]]) -> list[Product]:
        device = self.weight.device
        scale = torch.from_numpy(self._scale).to(device)
        if self.training and self.level_dropout and len(levels) > len(self._of_track):
            drawn = torch.rand(len(levels), device=device)
            of_track = torch.from_numpy(self._of_track).to(device)
            in_track = drawn.where(of_track, -1.0)
            kept_one = (in_track == in_track.amax(dim=1, keepdim=True)) & of_track
            # those that are kept are scaled up, so that the sum keeps its size
            kept = ((drawn >= self.level_dropout) | kept_one.any(dim=0)).float()
            scale = scale * (kept / kept.mean())[torch.from_numpy(self._level).to(device)]
        # the weights are scaled and not the tokens, which are many times larger
        weights = (self.weight * scale).split(self.sizes, dim=1)
        return [Product(*pair) for pair in zip(levels, weights, strict=True)]
