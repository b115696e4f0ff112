"""Mixture of experts (Jacobs et al., 1991): a learned gate weighs the experts for each video.

With ``top_k`` only the k experts with the largest weights are used, and their weights are scaled to
sum to one (Shazeer et al., "Outrageously large neural networks: the sparsely-gated
mixture-of-experts layer", ICLR 2017). ``balance`` is from there too: it weighs a penalty on
experts that count more than others over the videos of a batch.

Dimensions: B videos, E experts, F channels of the fused vector.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import Channels, Fused, Fusion, Stream, fused, linear
from vqa_twostage.pipeline.errors import require, require_dropout, require_positive

VERSION = 5
OF_MEANS = True


def build(
    spatial: Channels,
    temporal: Channels,
    *,
    experts: int = 4,
    top_k: int = 0,
    balance: float = 0.01,
    hidden: int = 64,
    dropout: float = 0.3,
) -> Fusion:
    """``top_k``: how many experts are used for a video, 0 for all; ``balance``: weight of the
    penalty on their uneven use.
    """
    require_positive("dynamic", experts=experts)
    require(
        # the weight of a single expert is always 1: the gate would never learn
        top_k == 0 or 2 <= top_k <= experts,
        f"dynamic: top_k must be 0 (all experts) or 2 to experts ({experts}), not {top_k}",
    )
    require(0 <= balance < float("inf"), f"dynamic: balance must be 0 or more, not {balance}")
    require_positive("dynamic", hidden=hidden)
    require_dropout("dynamic", dropout=dropout)
    return Dynamic(
        spatial.tokens + temporal.tokens, experts, top_k or experts, balance, hidden, dropout
    )


class Dynamic(nn.Module):
    def __init__(
        self, channels: int, experts: int, top_k: int, balance: float, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.out_channels = hidden
        self.top_k, self.balance = top_k, balance
        # shared: experts that each saw all columns fitted the training part better and others worse
        self.first = nn.Linear(channels, hidden)
        self.stem = nn.Sequential(nn.GELU(), Dropout(dropout))
        # side by side: one product of matrices is faster than one for each expert
        self.experts = nn.Sequential(
            nn.Linear(hidden, experts * hidden), nn.Unflatten(1, (experts, hidden)), nn.GELU()
        )
        self.gate = nn.Linear(hidden, experts)
        self.dropout = Dropout(dropout)

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        vector = self.stem(linear(self.first, spatial.vector_parts + temporal.vector_parts))
        outputs = self.experts(vector)
        soft = self.gate(vector).softmax(dim=1)
        weights = largest(soft, self.top_k)
        # of the weights before the choice: those of experts that nobody chose still get a gradient
        penalty = self.balance * imbalance(soft) if self.training else None
        return fused(
            self.dropout((weights[..., None] * outputs).sum(dim=1)),
            {"experts": weights},
            penalty,
        )


def largest(weights: Float[Tensor, "B E"], k: int) -> Float[Tensor, "B E"]:
    """The ``k`` largest of a video's weights, scaled to sum to one; the others 0."""
    if k == weights.shape[1]:
        return weights
    values, experts = weights.topk(k, dim=1)
    return torch.zeros_like(weights).scatter(1, experts, values / values.sum(dim=1, keepdim=True))


def imbalance(weights: Float[Tensor, "B E"]) -> Float[Tensor, ""]:
    """Squared coefficient of variation, over the experts, of the mean weight of each in a batch; 0
    where all are equal.
    """
    importance = weights.mean(dim=0)
    return importance.var(correction=0) / importance.mean().square()
