"""Cross-modal attention over time: each stream's frames attend to the other stream's frames, then
both are joined.

Multi-head attention (Vaswani et al., NeurIPS 2017) between modalities as in Tsai et al.,
"Multimodal transformer for unaligned multimodal language sequences", ACL 2019. It runs over frames,
never over one pooled token, for which softmax would always be 1; the streams may have different
numbers of frames, at different times.

Letters: B videos, T frames of the stream that asks, U of the other one, E channels of an embedding.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import Channels, Fused, Stream, fused
from vqa_twostage.pipeline.errors import require

VERSION = 1


def build(
    spatial: Channels, temporal: Channels, *, heads: int = 4, hidden: int = 64, dropout: float = 0.3
) -> "CrossModal":
    """``hidden``: length of the fused vector and of the tokens that attend, a multiple of
    ``heads``.
    """
    require(heads >= 1, f"cross_modal: heads must be at least 1, not {heads}")
    require(
        hidden >= heads and hidden % heads == 0,
        f"cross_modal: hidden must be a multiple of heads ({heads}), not {hidden}",
    )
    require(0 <= dropout < 1, f"cross_modal: dropout must be at least 0 and below 1, not {dropout}")
    return CrossModal((spatial.tokens, temporal.tokens), heads, hidden, dropout)


class CrossModal(nn.Module):
    def __init__(self, channels: tuple[int, int], heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.out_channels = hidden
        self.embed = nn.ModuleList(nn.Linear(size, hidden) for size in channels)
        self.attend = nn.ModuleList(Attend(heads, hidden) for _ in channels)
        self.body = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.GELU(), nn.Dropout(dropout))

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        streams = spatial, temporal
        own = [embed(stream.tokens) for embed, stream in zip(self.embed, streams, strict=True)]
        vectors, received = [], []
        for n, (stream, other) in enumerate((streams, streams[::-1])):
            found, attention = self.attend[n](own[n], own[1 - n], other.mask)
            # the frame weights of the stream itself, of its tokens as of its attention
            vectors.append(torch.einsum("bte,bt->be", own[n] + found, stream.weights))
            received.append(torch.einsum("btu,bt->bu", attention, stream.weights))
        gates = {"spatial_to_temporal": received[0], "temporal_to_spatial": received[1]}
        return fused(self.body(torch.cat(vectors, dim=1)), gates)


class Attend(nn.Module):
    """What each token finds in the tokens of the other stream, and how much it took from each of
    its frames.
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
            layer(given).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, given in ((self.query, tokens), (self.key, others), (self.value, others))
        )
        alike = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        attention = alike.masked_fill(~mask[:, None, None], -torch.inf).softmax(dim=-1)
        return self.out((attention @ value).transpose(1, 2).flatten(-2)), attention.mean(dim=1)
