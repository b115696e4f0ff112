"""Streams weighed by their reliability for a video, learned from vectors and from how much each
level varies over the frames.

After fusion that weighs experts by the quality of their signals (Poh and Kittler, "A unified
framework for biometric expert fusion incorporating quality measures", TPAMI 2012); here the measure
of quality is learned with the rest.

Dimensions: B videos.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import (
    Channels,
    Fused,
    Fusion,
    Stream,
    Streams,
    fused,
    linear,
    product,
)
from vqa_twostage.pipeline.errors import require_dropout, require_positive

VERSION = 4

# units of the network that estimates the reliability of a stream
JUDGE = 16


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> Fusion:
    """``hidden``: length of the fused vector."""
    require_positive("quality_aware", hidden=hidden)
    require_dropout("quality_aware", dropout=dropout)
    return QualityAware(Streams(spatial, temporal), hidden, dropout)


class QualityAware(nn.Module):
    def __init__(self, channels: Streams[Channels], hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.tokens = [stream.tokens for stream in channels]
        self.judges = nn.ModuleList(Judge(stream) for stream in channels)
        self.first = nn.Linear(sum(self.tokens), hidden)
        self.body = nn.Sequential(nn.GELU(), Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        streams = Streams(spatial, temporal)
        judged = streams.map(lambda stream, judge: judge(stream), Streams(*self.judges))
        reliability = torch.cat([*judged], dim=1).softmax(dim=1)
        weights = Streams(*self.first.weight.split(self.tokens, dim=1))
        ours, theirs = streams.map(
            lambda stream, weight: product(weight, stream.vector_parts), weights
        )
        # times two: where both are equally reliable, features keep their size and this is concat
        weighed = 2 * (reliability[:, [0]] * ours + reliability[:, [1]] * theirs)
        return fused(self.body(weighed + self.first.bias), {"reliability": reliability})


class Judge(nn.Module):
    """How reliable a stream is, before the softmax over both."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.first = nn.Linear(channels.tokens + len(channels.levels), JUDGE)
        self.last = nn.Linear(JUDGE, 1)

    def forward(self, stream: Stream) -> Float[Tensor, "B 1"]:
        # the root has no gradient at 0, where a video of one frame is
        deviations = (stream.variances + 1e-6).sqrt()
        judged: Float[Tensor, "B 1"] = self.last(
            linear(self.first, [*stream.vector_parts, deviations]).tanh()
        )
        return judged
