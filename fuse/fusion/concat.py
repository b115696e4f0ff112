"""Concatenation and one hidden layer: the baseline (SimpleVQA, Sun et al., ACM MM 2022)."""

import torch
from torch import nn

from vqa_twostage.fuse.streams import Channels, Fused, Stream, fused
from vqa_twostage.pipeline.errors import require

VERSION = 2


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> "Concat":
    """A fusion says with ``out_channels`` how long its vector is."""
    require(hidden >= 1, f"concat: hidden must be at least 1, not {hidden}")
    require(0 <= dropout < 1, f"concat: dropout must be at least 0 and below 1, not {dropout}")
    return Concat(spatial.tokens + temporal.tokens, hidden, dropout)


class Concat(nn.Module):
    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.body = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        return fused(self.body(torch.cat([spatial.vector, temporal.vector], dim=1)))
