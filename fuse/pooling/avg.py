"""Stored averages and deviations (and class tokens) as they are.

Letters: B videos, T frames, C channels of one level.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import AVERAGES, by_level
from vqa_twostage.pipeline.errors import require

VERSION = 2
READS = AVERAGES


def build(shapes: dict[str, tuple[int, ...]]) -> "Average":
    names = by_level(shapes, READS)
    require(
        bool(names),
        f"avg needs pooled arrays ({', '.join(READS)}); the track has {', '.join(shapes)}",
    )
    return Average(
        list(names.values()),
        tuple(sum(shapes[name][0] for name in level) for level in names.values()),
    )


class Average(nn.Module):
    def __init__(self, names: list[list[str]], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.names, self.level_channels = names, channels

    def forward(self, arrays: dict[str, Float[Tensor, "B T ..."]]) -> list[Float[Tensor, "B T _"]]:
        return [torch.cat([arrays[name] for name in level], dim=-1) for level in self.names]
