"""A recurrent network over the frames, as in VSFA; then the mean over its states.

Li, Jiang and Jiang, "Quality assessment of in-the-wild videos", ACM MM 2019: one layer of 32 gated
recurrent units. VSFA computes a score from each state and pools scores with a memory of the worst
recent ones (hysteresis); here the states themselves are averaged, because a fusion needs vectors,
not scores.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import TemporalEncoder
from vqa_twostage.pipeline.errors import require_positive

VERSION = 1


def build(channels: int, *, hidden: int = 32) -> TemporalEncoder:
    """``channels`` of a token; ``hidden`` units, which is how many the encoded tokens have."""
    require_positive("gru", hidden=hidden)
    return Gru(channels, hidden)


class Gru(nn.Module):
    """The equations of `torch.nn.GRU`, which `torch.func.vmap` refuses: so members of an ensemble
    are trained together.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.out_channels = hidden
        # reset, update and candidate, side by side
        self.of_token = nn.Linear(channels, 3 * hidden)
        self.of_state = nn.Linear(hidden, 3 * hidden)

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T"]]:
        tokens = self.of_tokens(tokens, mask)
        state, states = self.first_state(tokens), []
        for frame in range(tokens.shape[1]):
            state = self.step(state, tokens[:, frame])
            states.append(state)
        return torch.stack(states, dim=1), mask / mask.sum(dim=1, keepdim=True)

    def of_tokens(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T _"]:
        """What each token contributes to the three parts. Padding comes last and the network runs
        forward only, so that no state of a frame depends on padding.
        """
        contributions: Tensor = self.of_token(tokens.masked_fill(~mask[..., None], 0.0))
        return contributions

    def first_state(self, tokens: Float[Tensor, "B T _"]) -> Float[Tensor, "B D"]:
        return torch.zeros_like(tokens[:, 0, : self.out_channels])

    def step(
        self, state: Float[Tensor, "B D"], token: Float[Tensor, "B _"]
    ) -> Float[Tensor, "B D"]:
        """The next state; ``token`` is one frame of `of_tokens`."""
        reset, update, candidate = token.chunk(3, dim=-1)
        old_reset, old_update, old_candidate = self.of_state(state).chunk(3, dim=-1)
        update = (update + old_update).sigmoid()
        candidate = (candidate + (reset + old_reset).sigmoid() * old_candidate).tanh()
        return (1 - update) * candidate + update * state
