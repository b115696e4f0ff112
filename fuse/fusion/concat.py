"""Concatenation and one hidden layer: the baseline (SimpleVQA, Sun et al., ACM MM 2022)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import require

VERSION = 1


def build(spatial: int, temporal: int, *, hidden: int = 64, dropout: float = 0.3) -> "Concat":
    """``spatial`` and ``temporal``: channels of the two vectors; a fusion says with ``out_channels`` what it gives."""
    require(hidden >= 1, f"concat: hidden must be at least 1, not {hidden}")
    require(0 <= dropout < 1, f"concat: dropout must be at least 0 and below 1, not {dropout}")
    return Concat(spatial + temporal, hidden, dropout)


class Concat(nn.Module):
    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.body = nn.Sequential(
            nn.LayerNorm(channels), nn.Dropout(dropout), nn.Linear(channels, hidden), nn.GELU(), nn.Dropout(dropout)
        )

    def forward(self, spatial: Float[Tensor, "B S"], temporal: Float[Tensor, "B R"]) -> Float[Tensor, "B F"]:
        return self.body(torch.cat([spatial, temporal], dim=1))
