"""A recurrent network over the frames, as in VSFA; then the mean over its states.

Li, Jiang and Jiang, "Quality assessment of in-the-wild videos", ACM MM 2019: one layer of 32 gated
recurrent units. VSFA makes a score of each state and pools scores with a memory of the worst recent
ones (hysteresis); here the states themselves are averaged, because a fusion wants vectors, not
scores.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.pipeline.errors import require

VERSION = 1


def build(channels: int, *, hidden: int = 32) -> "Gru":
    """``channels`` of a token; ``hidden`` units, which is how many the encoded tokens have."""
    require(hidden >= 1, f"gru: hidden must be at least 1, not {hidden}")
    return Gru(channels, hidden)


class Gru(nn.Module):
    """The equations of `torch.nn.GRU`, which vmap refuses, so several members cannot share it."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.out_channels = hidden
        # reset, update and candidate, side by side
        self.of_token, self.of_state = (
            nn.Linear(channels, 3 * hidden),
            nn.Linear(hidden, 3 * hidden),
        )

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T"]]:
        # it runs forward alone and padding comes last, so that no frame's state can know what is
        # beyond the end
        seen = self.of_token(tokens.masked_fill(~mask[..., None], 0.0))
        state, states = torch.zeros_like(seen[:, 0, : self.out_channels]), []
        share = mask / mask.sum(dim=1, keepdim=True)
        if (
            torch.compiler.is_compiling()
        ):  # as a graph (fuse/delivery/onnx_graph.py): a loop would run as often as in its example
            from torch._higher_order_ops import scan

            def kept(state: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
                state = self.step(state, seen)
                return state, state.clone()

            return scan(kept, state, seen, dim=1)[1], share
        for frame in range(tokens.shape[1]):
            state = self.step(state, seen[:, frame])
            states.append(state)
        return torch.stack(states, dim=1), share

    def step(self, state: Float[Tensor, "B D"], seen: Float[Tensor, "B _"]) -> Float[Tensor, "B D"]:
        """The next state; ``seen`` is what the token says to each of the three parts."""
        reset, update, candidate = seen.chunk(3, dim=-1)
        old_reset, old_update, old_candidate = self.of_state(state).chunk(3, dim=-1)
        update = (update + old_update).sigmoid()
        candidate = (candidate + (reset + old_reset).sigmoid() * old_candidate).tanh()
        return (1 - update) * candidate + update * state
