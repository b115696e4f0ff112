"""Concatenation and one hidden layer: the baseline (SimpleVQA, Sun et al., ACM MM 2022)."""

import torch
from torch import nn

from vqa_twostage.fuse.streams import Channels, Fused, Fusion, Stream, fused
from vqa_twostage.pipeline.errors import require_dropout, require_positive

VERSION = 2
OF_MEANS = True


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> Fusion:
    """``hidden``: length of the fused vector."""
    require_positive("concat", hidden=hidden)
    require_dropout("concat", dropout=dropout)
    return Concat(spatial.tokens + temporal.tokens, hidden, dropout)


class Concat(nn.Module):
    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.body = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        return fused(self.body(torch.cat([spatial.vector, temporal.vector], dim=1)))
