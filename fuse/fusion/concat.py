"""Concatenation and one hidden layer: the baseline (SimpleVQA, Sun et al., ACM MM 2022)."""

from torch import nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import Channels, Fused, Fusion, Stream, fused, linear
from vqa_twostage.pipeline.errors import require_dropout, require_positive

VERSION = 3
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
        self.first = nn.Linear(channels, hidden)
        self.rest = nn.Sequential(nn.GELU(), Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        return fused(self.rest(linear(self.first, spatial.vector_parts + temporal.vector_parts)))
