"""Mixture of experts (Jacobs et al., 1991): a learned gate weighs, for each video, what the experts make of it.

Letters: B videos, C channels of both vectors together, E experts, F channels of the fused vector.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fuse.streams import Channels, Fused, Stream, fused
from pipeline.errors import require

VERSION = 2


def build(
    spatial: Channels, temporal: Channels, *, experts: int = 4, hidden: int = 64, dropout: float = 0.3
) -> "Dynamic":
    require(experts >= 1, f"dynamic: experts must be at least 1, not {experts}")
    require(hidden >= 1, f"dynamic: hidden must be at least 1, not {hidden}")
    require(0 <= dropout < 1, f"dynamic: dropout must be at least 0 and below 1, not {dropout}")
    return Dynamic(spatial.tokens + temporal.tokens, experts, hidden, dropout)


class Dynamic(nn.Module):
    def __init__(self, channels: int, experts: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(channels, hidden), nn.GELU()) for _ in range(experts))
        self.gate = nn.Linear(channels, experts)
        self.dropout = nn.Dropout(dropout)

    def weights(self, vector: Float[Tensor, "B C"]) -> Float[Tensor, "B E"]:
        """How much each expert counts; sums to one over the experts."""
        return self.gate(vector).softmax(dim=1)

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        vector = torch.cat([spatial.vector, temporal.vector], dim=1)
        answers = torch.stack([expert(vector) for expert in self.experts], dim=1)
        weights = self.weights(vector)
        return fused(self.dropout(torch.einsum("be,bef->bf", weights, answers)), {"experts": weights})
