"""Streams weighed by their reliability for a video, learned from vectors and variation over frames.

After fusion that weighs experts by the quality of their signals (Poh and Kittler, "A unified
framework for biometric expert fusion incorporating quality measures", TPAMI 2012); here the measure
of quality is learned with the rest.

Dimensions: B videos, D channels of a token.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import (
    Channels,
    Fused,
    Fusion,
    Part,
    Product,
    Stream,
    Streams,
    fused,
    value,
)
from vqa_twostage.pipeline.errors import require_dropout, require_positive

VERSION = 3

# units of the network that estimates the reliability of a stream
JUDGE = 16


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> Fusion:
    """``hidden``: length of the fused vector."""
    require_positive("quality_aware", hidden=hidden)
    require_dropout("quality_aware", dropout=dropout)
    return QualityAware(Streams(spatial.tokens, temporal.tokens), hidden, dropout)


class QualityAware(nn.Module):
    def __init__(self, channels: Streams[int], hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.judges = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * size, JUDGE), nn.Tanh(), nn.Linear(JUDGE, 1))
            for size in channels
        )
        self.body = nn.Sequential(nn.Linear(sum(channels), hidden), nn.GELU(), Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        judged = Streams(spatial, temporal).map(
            lambda stream, judge: judge(torch.cat([stream.vector, variability(stream)], dim=1)),
            Streams(*self.judges),
        )
        reliability = torch.cat([*judged], dim=1).softmax(dim=1)
        # times two: where both are equally reliable, features keep their size and this is concat
        weighed = [
            2 * reliability[:, [0]] * spatial.vector,
            2 * reliability[:, [1]] * temporal.vector,
        ]
        return fused(self.body(torch.cat(weighed, dim=1)), {"reliability": reliability})


def variability(stream: Stream) -> Float[Tensor, "B D"]:
    """Deviation of the tokens over the frames, by the encoder's weights."""
    parts = zip(stream.token_parts, stream.vector_parts, strict=True)
    variance = torch.cat([_variance(part, mean, stream.weights) for part, mean in parts], dim=1)
    # the root has no gradient at 0, where a video of one frame is
    return (variance + 1e-6).sqrt()


def _variance(part: Part, mean: Part, weights: Float[Tensor, "B T"]) -> Float[Tensor, "B _"]:
    if not isinstance(part, Product) or not isinstance(mean, Product):
        deviation = value(part) - value(mean)[:, None]
        # weighed before it is squared: padding becomes 0, and cannot overflow
        return (deviation * weights[..., None] * deviation).sum(dim=1)
    # of the inputs, which are the same for all members of an ensemble, before they are multiplied:
    # of every frame, members hold nothing but the product
    deviation = part.inputs - mean.inputs[:, None]
    weighed = (deviation * weights.sqrt()[..., None]).flatten(0, 1)
    products = (part.weights @ weighed.T).unflatten(1, weights.shape)
    return torch.linalg.vector_norm(products, dim=2).square().T
