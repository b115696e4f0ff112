"""Other forms of parts for a graph: same results as in training, from operators that a graph can
hold.

A loop over frames in Python is traced as often as its example has frames, so recurrent parts are
traced as torch's `scan`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.temporal.gru import Gru


def scanned_gru(
    self: Gru, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T"]]:
    """`Gru.forward` for any number of frames."""
    from torch._higher_order_ops import scan  # private in torch 2.15, and the only way to a loop

    def next_state(state: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        state = self.step(state, token)
        return state, state.clone()

    tokens = self.of_tokens(tokens, mask)
    states = scan(next_state, self.first_state(tokens), tokens, dim=1)[1]
    return states, mask / mask.sum(dim=1, keepdim=True)


# class of a part -> what is traced in place of its `forward`
FORWARDS: dict[type[nn.Module], Callable[..., Any]] = {Gru: scanned_gru}


@contextmanager
def forwards_for_graph(module: nn.Module) -> Iterator[None]:
    """Within it, the parts of ``module`` that have another form are called in that form."""
    parts = [part for part in module.modules() if type(part) in FORWARDS]
    for part in parts:
        part.forward = MethodType(FORWARDS[type(part)], part)
    try:
        yield
    finally:
        for part in parts:
            del part.forward
