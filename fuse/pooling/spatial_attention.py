"""A small convolution weighs the positions of each stored map; then mean and deviation over them.

The spatial half of CBAM (Woo et al., ECCV 2018): average and maximum over the channels, a
convolution, a sigmoid. Its kernel of 7 is for maps of 56 positions to a side; stored ones have 1 to
16, so that 3 is the default. Levels without a map are pooled as in avg.

Dimensions: B videos, T frames, C channels of one level, H and W of its map, P = H · W positions.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import (
    AVERAGES,
    ArrayName,
    Arrays,
    Pooling,
    Shapes,
    grid_or_averages,
)
from vqa_twostage.pipeline.errors import require

VERSION = 1
READS = (*AVERAGES, "grid")


def build(shapes: Shapes, *, kernel: int = 3) -> Pooling:
    """``kernel``: side of the convolution, in positions."""
    require(
        kernel >= 1 and kernel % 2 == 1,
        f"spatial_attention: kernel must be odd, 1 or more, not {kernel}",
    )
    return SpatialAttention(
        list(grid_or_averages(shapes, "spatial_attention").values()), shapes, kernel
    )


class SpatialAttention(nn.Module):
    def __init__(self, levels: list[list[ArrayName]], shapes: Shapes, kernel: int) -> None:
        super().__init__()
        self.levels = levels
        self.level_channels = tuple(_channels([shapes[name] for name in names]) for names in levels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(2, 1, kernel, padding=kernel // 2)
            for names in levels
            if len(shapes[names[0]]) == 3
        )

    def map(
        self, grid: Float[Tensor, "B T C H W"], convolution: nn.Module
    ) -> Float[Tensor, "B T P"]:
        """The factor of each position, 0 to 2: a convolution that gives 0 changes nothing."""
        # of magnitudes: CBAM sees maps after a ReLU, and the sign of a principal direction is
        # arbitrary
        size = grid.abs()
        over_channels = torch.stack([size.mean(dim=2), size.amax(dim=2)], dim=2)
        attention: Tensor = convolution(over_channels.flatten(0, 1))
        return 2 * attention.sigmoid().flatten(1).unflatten(0, grid.shape[:2])

    def forward(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]:
        convolutions, tokens = iter(self.convolutions), []
        for names in self.levels:
            values = arrays[names[0]]
            if values.ndim == 3:
                tokens.append(torch.cat([arrays[name] for name in names], dim=-1))
                continue
            attention = self.map(values, next(convolutions))[..., None]
            maps, positions = values.flatten(-2), values[0, 0, 0].numel()
            # moments as products of matrices, three times as fast as those of maps that are
            # multiplied first
            mean = (maps @ attention).squeeze(-1) / positions
            if positions == 1:
                tokens.append(mean)
                continue
            variance = (maps.square() @ attention.square()).squeeze(-1) / positions - mean.square()
            # the root has no gradient at 0, where a constant map and every padded frame are
            tokens.append(torch.cat([mean, (variance.clamp(min=0) + 1e-6).sqrt()], dim=-1))
        return tokens


def _channels(shapes: list[tuple[int, ...]]) -> int:
    """Of the token of a level whose arrays have these shapes: a map, or averages."""
    channels, *positions = shapes[0]
    if not positions:
        return sum(shape[0] for shape in shapes)
    # a map of one position has no deviation over positions
    return channels if positions == [1, 1] else 2 * channels
