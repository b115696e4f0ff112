"""Cross-modal attention over time: each stream's frames attend to the other stream's frames, then
both are joined.

Multi-head attention (Vaswani et al., NeurIPS 2017) between modalities as in Tsai et al.,
"Multimodal transformer for unaligned multimodal language sequences", ACL 2019. It runs over frames,
never over one pooled token, for which softmax would always be 1; the streams may have different
numbers of frames, at different times.

Dimensions: B videos, T frames of the stream that attends, U of the other one, E channels of an
embedding.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.streams import Channels, Fused, Fusion, Stream, Streams, fused, linear
from vqa_twostage.pipeline.errors import require, require_dropout, require_positive

VERSION = 2


def build(
    spatial: Channels, temporal: Channels, *, heads: int = 4, hidden: int = 64, dropout: float = 0.3
) -> Fusion:
    """``hidden``: length of the fused vector and of the tokens that attend, a multiple of
    ``heads``.
    """
    require_positive("cross_modal", heads=heads)
    require(
        hidden >= heads and hidden % heads == 0,
        f"cross_modal: hidden must be a multiple of heads ({heads}), not {hidden}",
    )
    require_dropout("cross_modal", dropout=dropout)
    return CrossModal(Streams(spatial.tokens, temporal.tokens), heads, hidden, dropout)


class CrossModal(nn.Module):
    def __init__(self, channels: Streams[int], heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.embed = nn.ModuleList(nn.Linear(size, hidden) for size in channels)
        self.attend = nn.ModuleList(Attend(heads, hidden) for _ in channels)
        self.body = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        embedded = Streams(spatial, temporal).map(
            lambda stream, embed: replace(stream, encoded=linear(embed, stream.token_parts)),
            Streams(*self.embed),
        )
        attend = Streams(*self.attend)
        ours, to_temporal = _joined(embedded.spatial, embedded.temporal, attend.spatial)
        theirs, to_spatial = _joined(embedded.temporal, embedded.spatial, attend.temporal)
        gates = {"spatial_to_temporal": to_temporal, "temporal_to_spatial": to_spatial}
        return fused(self.body(torch.cat([ours, theirs], dim=1)), gates)


def _joined(
    stream: Stream, other: Stream, attend: nn.Module
) -> tuple[Float[Tensor, "B E"], Float[Tensor, "B U"]]:
    """The vector of ``stream`` with what it attends to, and the weights of the other's frames.

    Both are means over the frames of ``stream``, by its own weights.
    """
    attended, attention = attend(stream.tokens, other.tokens, other.mask)
    vector = torch.einsum("bte,bt->be", stream.tokens + attended, stream.weights)
    return vector, torch.einsum("btu,bt->bu", attention, stream.weights)


class Attend(nn.Module):
    """Multi-head attention of each token to the tokens of the other stream, and its weights,
    averaged over the heads.
    """

    def __init__(self, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        # no biases: softmax would not see that of the keys, and that of the values is the same as
        # the output's
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(
        self,
        tokens: Float[Tensor, "B T E"],
        others: Float[Tensor, "B U E"],
        mask: Bool[Tensor, "B U"],
    ) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B T U"]]:
        query, key, value = (
            layer(sequence).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, sequence in ((self.query, tokens), (self.key, others), (self.value, others))
        )
        similarity = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        attention = similarity.masked_fill(~mask[:, None, None], -torch.inf).softmax(dim=-1)
        return self.out((attention @ value).transpose(1, 2).flatten(-2)), attention.mean(dim=1)
