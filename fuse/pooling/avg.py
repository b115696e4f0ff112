"""Stored averages and deviations (and class tokens), unchanged.

Dimensions: B videos, T frames, C channels of one level.
"""

from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import AVERAGES, ArrayName, Arrays, Pooling, Shapes, by_level, joined
from vqa_twostage.pipeline.errors import UsageError

VERSION = 2
OF_MEANS = True
READS = AVERAGES


def build(shapes: Shapes) -> Pooling:
    levels = list(by_level(shapes, READS).values())
    if not levels:
        raise UsageError(
            f"avg needs pooled arrays ({', '.join(READS)}); the track has {', '.join(shapes)}"
        )
    return Average(levels, shapes)


class Average(nn.Module):
    def __init__(self, levels: list[list[ArrayName]], shapes: Shapes) -> None:
        super().__init__()
        self.levels = levels
        self.level_channels = tuple(sum(shapes[name][0] for name in names) for names in levels)

    def forward(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]:
        return [joined([arrays[name] for name in names]) for names in self.levels]
