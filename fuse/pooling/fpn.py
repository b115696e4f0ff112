"""Feature pyramid: each stored map adds the deeper maps at the same positions.

Lin et al., "Feature pyramid networks for object detection", CVPR 2017: lateral 1x1 convolutions to
a common width, nearest upsampling, addition, and optionally a 3x3 convolution that smooths; then
the mean over the positions. Unlike there, a GELU comes before that mean: without one it would all
be linear, and linear maps commute with a mean, so that the pyramid would carry no more information
than the averages. Levels without a map are pooled as in avg.

Dimensions: B videos, T frames, C channels of one level.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqa_twostage.fuse.streams import (
    AVERAGES,
    ArrayName,
    Arrays,
    Pooling,
    Shapes,
    grid_or_averages,
)
from vqa_twostage.pipeline.errors import require_positive

VERSION = 1
READS = (*AVERAGES, "grid")


def build(shapes: Shapes, *, channels: int = 32, smooth: bool = False) -> Pooling:
    """``channels`` of the pyramid; ``smooth``: 3x3 convolutions, which cost most of the time."""
    require_positive("fpn", channels=channels)
    return Pyramid(list(grid_or_averages(shapes, "fpn").values()), shapes, channels, smooth)


class Pyramid(nn.Module):
    def __init__(
        self,
        levels: list[list[ArrayName]],
        shapes: Shapes,
        channels: int,
        smooth: bool,
    ) -> None:
        super().__init__()
        self.levels = levels
        grids = [len(shapes[names[0]]) == 3 for names in levels]
        self.level_channels = tuple(
            channels if grid else sum(shapes[name][0] for name in names)
            for names, grid in zip(levels, grids, strict=True)
        )
        sizes = [shapes[names[0]][0] for names, grid in zip(levels, grids, strict=True) if grid]
        self.lateral = nn.ModuleList(nn.Conv2d(size, channels, 1) for size in sizes)
        self.smooth = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) if smooth else nn.Identity() for _ in sizes
        )

    def forward(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]:
        modules = reversed(list(zip(self.lateral, self.smooth, strict=True)))
        tokens: list[Tensor] = []
        above: Tensor | None = None
        for names in reversed(self.levels):
            values = arrays[names[0]]
            if values.ndim == 3:
                tokens.append(torch.cat([arrays[name] for name in names], dim=-1))
                continue
            lateral, smooth = next(modules)
            maps: Tensor = lateral(values.flatten(0, 1))
            if above is not None:
                maps = maps + F.interpolate(above, size=maps.shape[-2:], mode="nearest")
            above = maps
            tokens.append(F.gelu(smooth(maps)).mean(dim=(-2, -1)).unflatten(0, values.shape[:2]))
        return tokens[::-1]
