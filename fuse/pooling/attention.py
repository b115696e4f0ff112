"""Attention over the positions of stored maps, by a learned query for each level.

Ilse et al., "Attention-based deep multiple instance learning", ICML 2018, in its shortest form, the
one seed of a set transformer's pooling (Lee et al., ICML 2019): softmax over the positions of query
· feature. Levels without a map are pooled as in avg.

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

VERSION = 1
READS = (*AVERAGES, "grid")


def build(shapes: Shapes) -> Pooling:
    return Attention(list(grid_or_averages(shapes, "attention").values()), shapes)


class Attention(nn.Module):
    def __init__(self, levels: list[list[ArrayName]], shapes: Shapes) -> None:
        super().__init__()
        self.levels = levels
        self.level_channels = tuple(sum(shapes[name][0] for name in names) for names in levels)
        # a map of one position has nothing to choose from
        self.has_query = [
            len(shapes[names[0]]) == 3 and shapes[names[0]][1:] != (1, 1) for names in levels
        ]
        # zeros: at first every position counts the same
        self.queries = nn.ParameterList(
            torch.zeros(shapes[names[0]][0])
            for names, has_query in zip(levels, self.has_query, strict=True)
            if has_query
        )

    def weights(
        self, grid: Float[Tensor, "B T C H W"], query: Float[Tensor, " C"]
    ) -> Float[Tensor, "B T P"]:
        """How much each position counts; sums to one over the positions."""
        # written as a product for each frame, which is three times as fast as one vector for all
        similarity = query.expand(*grid.shape[:2], 1, -1) @ grid.flatten(-2)
        return (similarity.squeeze(-2) / len(query) ** 0.5).softmax(dim=-1)

    def forward(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]:
        queries, tokens = iter(self.queries), []
        for names, has_query in zip(self.levels, self.has_query, strict=True):
            values = arrays[names[0]]
            if has_query:
                weights = self.weights(values, next(queries))
                # a product of matrices: the maps are large, and nothing of their size is made
                tokens.append((values.flatten(-2) @ weights[..., None]).squeeze(-1))
            elif values.ndim == 5:
                tokens.append(values.mean(dim=(-2, -1)))
            else:
                tokens.append(torch.cat([arrays[name] for name in names], dim=-1))
        return tokens
