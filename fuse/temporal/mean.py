"""Mean over the frames."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

VERSION = 1


def build(channels: int) -> "Mean":
    """``channels`` of a token; a temporal encoder says with ``out_channels`` how many its vector has."""
    return Mean(channels)


class Mean(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B C"]:
        weight = mask / mask.sum(dim=1, keepdim=True)
        return torch.einsum("btc,bt->bc", tokens, weight)
