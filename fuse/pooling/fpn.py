"""Feature pyramid: from the deepest stored map down, each level adds what the deeper ones know of a
place.

Lin et al., "Feature pyramid networks for object detection", CVPR 2017: lateral 1x1 convolutions to
a common width, nearest upsampling, addition, and where asked a 3x3 convolution that smooths; then
the mean over the positions. Unlike there, a GELU comes before that mean: without one it would all
be linear, and linear maps commute with a mean, so that the pyramid would know no more than the
averages do. Levels without a map are pooled as in avg.

Letters: B videos, T frames, C channels of one level.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqa_twostage.fuse.streams import AVERAGES, grid_or_averages
from vqa_twostage.pipeline.errors import require

VERSION = 1
READS = (*AVERAGES, "grid")


def build(
    shapes: dict[str, tuple[int, ...]], *, channels: int = 32, smooth: bool = False
) -> "Pyramid":
    """``channels`` of the pyramid; ``smooth``: 3x3 convolutions, which cost most of the time."""
    require(channels >= 1, f"fpn: channels must be at least 1, not {channels}")
    return Pyramid(list(grid_or_averages(shapes, "fpn").values()), shapes, channels, smooth)


class Pyramid(nn.Module):
    def __init__(
        self,
        levels: list[list[str]],
        shapes: dict[str, tuple[int, ...]],
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

    def forward(self, arrays: dict[str, Float[Tensor, "B T ..."]]) -> list[Float[Tensor, "B T _"]]:
        modules = reversed(list(zip(self.lateral, self.smooth, strict=True)))
        tokens: list[Tensor] = []
        above: Tensor | None = None
        for names in reversed(self.levels):
            values = arrays[names[0]]
            if values.ndim == 3:
                tokens.append(torch.cat([arrays[name] for name in names], dim=-1))
                continue
            lateral, smooth = next(modules)
            here: Tensor = lateral(values.flatten(0, 1))
            if above is not None:
                here = here + F.interpolate(above, size=here.shape[-2:], mode="nearest")
            above = here
            tokens.append(F.gelu(smooth(here)).mean(dim=(-2, -1)).unflatten(0, values.shape[:2]))
        return tokens[::-1]
