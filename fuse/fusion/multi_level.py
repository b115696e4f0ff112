"""Fusion at three depths: shallow, middle and deep levels are joined apart, then mixed per video.

Early, middle and late fusion at once (Snoek et al., "Early versus late fusion in semantic video
analysis", ACM MM 2005): the levels of each stream are divided by depth, a small network joins what
both have at a depth, the late one together with the encoded vectors, and a learned softmax says for
each video how much each of the three counts.
"""

import torch
from torch import nn
from torch.nn import functional as F

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import Channels, Fused, Fusion, Stream, Streams, fused, linear
from vqa_twostage.pipeline.errors import require_dropout, require_positive

VERSION = 2
OF_MEANS = True

DEPTHS = 3


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> Fusion:
    """``hidden``: length of the fused vector."""
    require_positive("multi_level", hidden=hidden)
    require_dropout("multi_level", dropout=dropout)
    return MultiLevel(spatial, temporal, hidden, dropout)


def groups(levels: int) -> list[slice]:
    """The shallow, middle and deep ones of so many levels; with fewer than three, some are in two
    groups.

    Six levels are two, two and two; four are one, one and two; of two, the first is also the middle
    one.
    """
    starts = [depth * levels // DEPTHS for depth in range(DEPTHS)]
    return [
        slice(start, max(start + 1, (depth + 1) * levels // DEPTHS))
        for depth, start in enumerate(starts)
    ]


class MultiLevel(nn.Module):
    def __init__(self, spatial: Channels, temporal: Channels, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.groups = Streams(spatial, temporal).map(lambda channels: groups(len(channels.levels)))
        sizes = [
            sum(spatial.levels[ours]) + sum(temporal.levels[theirs])
            for ours, theirs in zip(*self.groups, strict=True)
        ]
        # the late one also reads the encoded vectors: otherwise no gradient would reach the
        # temporal encoders
        sizes[-1] += spatial.tokens + temporal.tokens
        self.shallow, self.middle, self.deep = (nn.Linear(size, hidden) for size in sizes)
        self.gate = nn.Linear(DEPTHS * hidden, DEPTHS)
        self.dropout = Dropout(dropout)

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        levels = Streams(spatial.level_vector_parts, temporal.level_vector_parts)
        parts = [
            levels.spatial[ours] + levels.temporal[theirs]
            for ours, theirs in zip(*self.groups, strict=True)
        ]
        parts[-1] = parts[-1] + spatial.vector_parts + temporal.vector_parts
        bodies = self.shallow, self.middle, self.deep
        joined = [F.gelu(linear(body, part)) for body, part in zip(bodies, parts, strict=True)]
        weights = self.gate(torch.cat(joined, dim=1)).softmax(dim=1)
        mixed = torch.einsum("bl,blf->bf", weights, torch.stack(joined, dim=1))
        return fused(self.dropout(mixed), {"levels": weights})
