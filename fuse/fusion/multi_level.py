"""Fusion at three depths: shallow, middle and deep levels of both streams are joined apart, then
mixed per video.

Early, middle and late fusion at once (Snoek et al., "Early versus late fusion in semantic video
analysis", ACM MM 2005): the levels of each stream are divided by depth, a small network joins what
both have at a depth, the late one together with the encoded vectors, and a learned softmax says for
each video how much each of the three counts.
"""

import torch
from torch import nn

from vqa_twostage.fuse.streams import Channels, Fused, Stream, fused
from vqa_twostage.pipeline.errors import require

VERSION = 1

DEPTHS = 3


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> "MultiLevel":
    """``hidden``: length of the fused vector."""
    require(hidden >= 1, f"multi_level: hidden must be at least 1, not {hidden}")
    require(0 <= dropout < 1, f"multi_level: dropout must be at least 0 and below 1, not {dropout}")
    return MultiLevel(spatial, temporal, hidden, dropout)


def groups(levels: int) -> list[slice]:
    """Which of so many levels are shallow, middle and deep; a stream with fewer than three has some
    of them twice.

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
        self.groups = [groups(len(channels.levels)) for channels in (spatial, temporal)]
        sizes = [
            sum(spatial.levels[one]) + sum(temporal.levels[other])
            for one, other in zip(*self.groups, strict=True)
        ]
        # the late one also reads the encoded vectors: else nothing would reach the temporal
        # encoders
        sizes[-1] += spatial.tokens + temporal.tokens
        self.bodies = nn.ModuleList(
            nn.Sequential(nn.Linear(size, hidden), nn.GELU()) for size in sizes
        )
        self.gate = nn.Linear(DEPTHS * hidden, DEPTHS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        streams = spatial, temporal
        of_levels = [stream.level_vectors for stream in streams]
        parts = [
            [
                vector
                for vectors, apart in zip(of_levels, self.groups, strict=True)
                for vector in vectors[apart[depth]]
            ]
            for depth in range(DEPTHS)
        ]
        parts[-1] += [stream.vector for stream in streams]
        joined = [
            body(torch.cat(part, dim=1)) for body, part in zip(self.bodies, parts, strict=True)
        ]
        weights = self.gate(torch.cat(joined, dim=1)).softmax(dim=1)
        mixed = torch.einsum("bl,blf->bf", weights, torch.stack(joined, dim=1))
        return fused(self.dropout(mixed), {"levels": weights})
