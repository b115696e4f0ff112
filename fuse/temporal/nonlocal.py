"""Non-local block: each frame attends to all other frames; then the mean over frames.

Wang et al., "Non-local neural networks", CVPR 2018, the embedded Gaussian form over time: softmax
over the frames of theta(token) · phi(other token), which weighs g(other token); an output
projection, and the token itself added.

Dimensions: B videos, T frames, C channels of a token, E of an embedding.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import TemporalEncoder
from vqa_twostage.pipeline.errors import require_positive

VERSION = 1

# otherwise the embedding of a small network would be a channel or two
LEAST_EMBEDDING = 8


def build(channels: int, *, reduction: int = 16) -> TemporalEncoder:
    """``channels`` of a token; ``reduction``: by how much the embeddings are narrower (2 in the
    paper).
    """
    require_positive("nonlocal", reduction=reduction)
    return NonLocal(channels, max(LEAST_EMBEDDING, channels // reduction))


class NonLocal(nn.Module):
    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.theta = nn.Linear(channels, embedding)
        # no biases: softmax would not see phi's, and g's is the same as the output's
        self.phi = nn.Linear(channels, embedding, bias=False)
        self.g = nn.Linear(channels, embedding, bias=False)
        self.out = nn.Linear(embedding, channels)
        with torch.no_grad():
            # nearly the identity at first, as in the paper; not quite zero, or the other three
            # would get no gradient
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def weights(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T T"]:
        """How much each frame (second to last) takes from each other frame (last); sums to one over
        the last.
        """
        # divided by the root of the length, which the paper does not do: few videos, so no sharp
        # attention at first
        similarity = (
            self.theta(tokens) @ self.phi(tokens).transpose(1, 2) / self.theta.out_features**0.5
        )
        return similarity.masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1)

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T"]]:
        # zeros, because products of padding could overflow
        framed = tokens.masked_fill(~mask[..., None], 0.0)
        attended = self.out(self.weights(framed, mask) @ self.g(framed))
        return framed + attended, mask / mask.sum(dim=1, keepdim=True)
