"""Each stream weighs by how reliable it is for a video, told from its vector and from how much its
frames vary.

After fusion that weighs experts by the quality of their signals (Poh and Kittler, "A unified
framework for biometric expert fusion incorporating quality measures", TPAMI 2012); here the measure
of quality is learnt with the rest.

Letters: B videos, D channels of a token.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import Channels, Fused, Stream, fused
from vqa_twostage.pipeline.errors import require

VERSION = 1

# units of the network that judges a stream
JUDGE = 16


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> "QualityAware":
    """``hidden``: length of the fused vector."""
    require(hidden >= 1, f"quality_aware: hidden must be at least 1, not {hidden}")
    require(
        0 <= dropout < 1, f"quality_aware: dropout must be at least 0 and below 1, not {dropout}"
    )
    return QualityAware((spatial.tokens, temporal.tokens), hidden, dropout)


class QualityAware(nn.Module):
    def __init__(self, channels: tuple[int, int], hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.judges = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * size, JUDGE), nn.Tanh(), nn.Linear(JUDGE, 1))
            for size in channels
        )
        self.body = nn.Sequential(nn.Linear(sum(channels), hidden), nn.GELU(), nn.Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        streams = spatial, temporal
        judged = [
            judge(torch.cat([stream.vector, variability(stream)], dim=1))
            for judge, stream in zip(self.judges, streams, strict=True)
        ]
        reliability = torch.cat(judged, dim=1).softmax(dim=1)
        # times two: where both are equally reliable, features keep their size and this is concat
        weighed = [2 * reliability[:, [n]] * stream.vector for n, stream in enumerate(streams)]
        return fused(self.body(torch.cat(weighed, dim=1)), {"reliability": reliability})


def variability(stream: Stream) -> Float[Tensor, "B D"]:
    """Deviation of the tokens over the frames, by the encoder's weights."""
    away = stream.tokens - stream.vector[:, None]
    # weighed before it is squared: what is no frame becomes 0, and cannot overflow
    variance = (away * stream.weights[..., None] * away).sum(dim=1)
    # the root has no gradient at 0, where a video of one frame is
    return (variance + 1e-6).sqrt()
