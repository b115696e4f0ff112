"""Stored averages and deviations, level by level: every level of the backbone gets an equal say.

Each level (``c1`` … ``c5``, ``last``) is projected on its own to ``width`` channels. The deep levels have up to eighty
times as many columns as the shallow ones, which know more about distortions; an equal width, and whole levels dropped
in training, keep the deep ones from drowning them.

Letters: B videos, T frames, C channels of one stored array, L levels.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import require

VERSION = 1


def build(levels: dict[str, int], *, width: int = 16, level_dropout: float = 0.5) -> "LevelProjection":
    """``levels``: level -> its number of columns; a pooling says with ``out_channels`` how long its tokens are."""
    require(width >= 1, f"avg: width must be at least 1, not {width}")
    require(0 <= level_dropout < 1, f"avg: level_dropout must be at least 0 and below 1, not {level_dropout}")
    return LevelProjection(levels, width, level_dropout)


class LevelProjection(nn.Module):
    def __init__(self, levels: dict[str, int], width: int, level_dropout: float) -> None:
        super().__init__()
        self.level_dropout = level_dropout
        self.out_channels = width * len(levels)
        self.projections = nn.ModuleDict({level: nn.Linear(columns, width) for level, columns in levels.items()})

    def forward(self, arrays: dict[str, Float[Tensor, "B T _"]]) -> Float[Tensor, "B T _"]:
        """``arrays``: level -> standardised columns [B, T, C]."""
        # divided by the root of its columns, so that a level's size does not decide how fast it is learnt
        tokens = [
            project(arrays[level]) / arrays[level].shape[-1] ** 0.5 for level, project in self.projections.items()
        ]
        if self.training and self.level_dropout and len(tokens) > 1:
            kept = (torch.rand(len(tokens)) >= self.level_dropout).float()
            # at least one level is kept; the others are scaled up, so that the sum keeps its size
            kept[torch.randint(len(tokens), ())] = 1.0
            tokens = [token * scale for token, scale in zip(tokens, kept / kept.mean(), strict=True)]
        return torch.cat(tokens, dim=-1)
