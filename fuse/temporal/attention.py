"""Attention over the frames: a small network weighs each frame, and the weights sum to one.

Ilse et al., "Attention-based deep multiple instance learning", ICML 2018: softmax over t of v ·
tanh(U token_t). Not gated. Its weights are saved with a run (attention.csv), and the sampler
``content`` can use them.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import TemporalEncoder
from vqa_twostage.pipeline.errors import require_positive

VERSION = 1


def build(channels: int, *, hidden: int = 32) -> TemporalEncoder:
    """``channels`` of a token; ``hidden`` units of the network that weighs a frame."""
    require_positive("attention", hidden=hidden)
    return Attention(channels, hidden)


class Attention(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.out_channels = channels
        # no bias at the end: softmax would not see it
        self.score = nn.Sequential(
            nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False)
        )

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T"]]:
        return tokens, self.score(tokens).squeeze(-1).masked_fill(~mask, -torch.inf).softmax(dim=1)
