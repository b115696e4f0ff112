"""Mixture of experts (Jacobs et al., 1991): a learned gate weighs, for each video, what the experts make of it.

Letters: B videos, S and R channels of the spatial and temporal vector, E experts, F channels of the fused vector.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import require

VERSION = 1


def build(spatial: int, temporal: int, *, experts: int = 4, hidden: int = 64, dropout: float = 0.3) -> "Dynamic":
    """``spatial`` and ``temporal``: channels of the two vectors; a fusion says with ``out_channels`` what it gives."""
    require(experts >= 1, f"dynamic: experts must be at least 1, not {experts}")
    require(hidden >= 1, f"dynamic: hidden must be at least 1, not {hidden}")
    require(0 <= dropout < 1, f"dynamic: dropout must be at least 0 and below 1, not {dropout}")
    return Dynamic(spatial + temporal, experts, hidden, dropout)


class Dynamic(nn.Module):
    def __init__(self, channels: int, experts: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.stem = nn.Sequential(nn.LayerNorm(channels), nn.Dropout(dropout))
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(channels, hidden), nn.GELU()) for _ in range(experts))
        self.gate = nn.Linear(channels, experts)
        self.dropout = nn.Dropout(dropout)

    def weights(self, stem: Float[Tensor, "B C"]) -> Float[Tensor, "B E"]:
        """How much each expert counts; sums to one over the experts."""
        return self.gate(stem).softmax(dim=1)

    def forward(self, spatial: Float[Tensor, "B S"], temporal: Float[Tensor, "B R"]) -> Float[Tensor, "B F"]:
        stem = self.stem(torch.cat([spatial, temporal], dim=1))
        answers = torch.stack([expert(stem) for expert in self.experts], dim=1)
        return self.dropout(torch.einsum("be,bef->bf", self.weights(stem), answers))
