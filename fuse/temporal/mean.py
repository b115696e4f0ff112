"""Mean over the frames."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import TemporalEncoder

VERSION = 1
OF_MEANS = True


def build(channels: int) -> TemporalEncoder:
    """``channels`` of a token."""
    return Mean(channels)


class Mean(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T"]]:
        return tokens, mask / mask.sum(dim=1, keepdim=True)
