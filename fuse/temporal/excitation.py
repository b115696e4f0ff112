"""Temporal excitation: a gate for each channel, computed from a frame and its neighbours; then the
mean over frames.

A light form of TEA (Li et al., "TEA: temporal excitation and aggregation for action recognition",
CVPR 2020): a depthwise convolution over three frames, a bottleneck, a sigmoid, and tokens + tokens
· (gate - 0.5) as there. The gate comes from pooled features alone and multiplies channels;
averaging over space commutes with a factor per channel, so that on pooled averages this is the same
as inside the network, where TEA pools for its gate as well.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import TemporalEncoder
from vqa_twostage.pipeline.errors import require_positive

VERSION = 1

# otherwise the bottleneck of a small network would be a unit or two
LEAST_HIDDEN = 8


def build(channels: int, *, reduction: int = 16) -> TemporalEncoder:
    """``channels`` of a token; ``reduction``: by how much the bottleneck is narrower."""
    require_positive("excitation", reduction=reduction)
    return Excitation(channels, max(LEAST_HIDDEN, channels // reduction))


class Excitation(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.over_time = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def factor(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T C"]:
        """The factor of each channel of each frame, between 0.5 and 1.5."""
        # the padding after the last frame counts as zeros, like that before the first
        framed = tokens.masked_fill(~mask[..., None], 0.0)
        gate: Tensor = self.gate(self.over_time(framed.transpose(1, 2)).transpose(1, 2))
        return gate + 0.5

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T"]]:
        return tokens * self.factor(tokens, mask), mask / mask.sum(dim=1, keepdim=True)
