"""Gated multimodal unit: a gate mixes the two streams for each channel of the fused vector.

Arevalo et al., "Gated multimodal units for information fusion", ICLR workshop 2017: z · tanh(W
spatial) + (1 - z) · tanh(V temporal), with z a sigmoid of both.
"""

import torch
from torch import nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import Channels, Fused, Fusion, Stream, Streams, fused, linear
from vqa_twostage.pipeline.errors import require_dropout, require_positive

VERSION = 2
OF_MEANS = True


def build(
    spatial: Channels, temporal: Channels, *, hidden: int = 64, dropout: float = 0.3
) -> Fusion:
    """``hidden``: length of the fused vector."""
    require_positive("gated", hidden=hidden)
    require_dropout("gated", dropout=dropout)
    return Gated(spatial.tokens, temporal.tokens, hidden, dropout)


class Gated(nn.Module):
    def __init__(self, spatial: int, temporal: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.spatial = nn.Linear(spatial, hidden)
        self.temporal = nn.Linear(temporal, hidden)
        self.gate = nn.Linear(spatial + temporal, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        parts = Streams(spatial.vector_parts, temporal.vector_parts)
        z = linear(self.gate, parts.spatial + parts.temporal).sigmoid()
        mixed = torch.lerp(
            linear(self.temporal, parts.temporal).tanh(),
            linear(self.spatial, parts.spatial).tanh(),
            z,
        )
        of_spatial = z.mean(dim=1)
        return fused(
            self.dropout(mixed), {"modality": torch.stack([of_spatial, 1 - of_spatial], dim=1)}
        )
