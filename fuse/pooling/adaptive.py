"""A learned mix of average and maximum, with a weight for each channel.

Lee et al., "Generalizing pooling functions in convolutional neural networks: mixed, gated, and
tree", AISTATS 2016: w · mean + (1 - w) · max, where w of each channel is the sigmoid of a
parameter, one half at first. A local distortion shows in the maximum, a global one in the average.
Deviations and class tokens are passed on, and levels without a maximum are pooled as in avg.

Dimensions: B videos, T frames, C channels of one level.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.fuse.streams import AVERAGES, ArrayName, Arrays, Pooling, Shapes, by_level
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1
OF_MEANS = True
READS = (*AVERAGES, "max")

# Adam moves a parameter by about the learning rate a step, whatever its gradient: in a few hundred
# steps of 0.002 a sigmoid of the bare parameter would hardly leave one half
GAIN = 10.0


def build(shapes: Shapes) -> Pooling:
    levels = [
        {name.statistic: name for name in names} for names in by_level(shapes, READS).values()
    ]
    if not any({"mean", "max"} <= level.keys() for level in levels):
        raise UsageError(
            "adaptive mixes the mean and the max of a level, and no level of the track has both: "
            f"{', '.join(shapes)}; choose another pooling, for example avg"
        )
    return Adaptive(levels, shapes)


class Adaptive(nn.Module):
    def __init__(self, levels: list[dict[str, ArrayName]], shapes: Shapes) -> None:
        """``levels``: of each level, statistic -> array."""
        super().__init__()
        self.levels = levels
        self.mixed = [{"mean", "max"} <= level.keys() for level in levels]
        # of a mixed level, mean and max together are as long as one of them
        self.level_channels = tuple(
            sum(
                shapes[name][0]
                for statistic, name in level.items()
                if not (mixed and statistic == "max")
            )
            for level, mixed in zip(levels, self.mixed, strict=True)
        )
        self.weights = nn.ParameterList(
            torch.zeros(shapes[level["mean"]])
            for level, mixed in zip(levels, self.mixed, strict=True)
            if mixed
        )

    def forward(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]:
        weights, tokens = iter(self.weights), []
        for level, mixed in zip(self.levels, self.mixed, strict=True):
            parts = {statistic: arrays[name] for statistic, name in level.items()}
            if mixed:
                parts["mean"] = torch.lerp(
                    parts.pop("max"), parts["mean"], torch.sigmoid(GAIN * next(weights))
                )
            tokens.append(torch.cat(list(parts.values()), dim=-1))
        return tokens
