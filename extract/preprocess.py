"""From decoded frames to what a network was trained on: resize, crop, normalise. The values come with the weights.

Letters: T frames, H and W of the video, S the side of the network's input, all in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Preprocessing:
    """How pixels reach a network: the shorter side resized to ``size`` (antialiased), the centre cropped, normalised.

    ``mean`` and ``std`` are on the scale 0 to 1. ``str()`` of it is a part of the cache identity.
    """

    size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __str__(self) -> str:
        mean, std = (",".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std))
        return f"shorter side {self.size} {self.interpolation} antialiased, centre crop, mean {mean}, std {std}"

    def __call__(self, pixels: UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "T 3 S S"]:
        frames = pixels.permute(0, 3, 1, 2).float() / 255
        height, width = frames.shape[-2:]
        scale = self.size / min(height, width)
        # the shorter side is exactly `size`; the longer is at least that, whatever the rounding
        target = [max(self.size, round(side * scale)) for side in (height, width)]
        if target != [height, width]:
            frames = F.interpolate(frames, target, mode=self.interpolation, antialias=True, align_corners=False)
            frames = frames.clamp(0, 1)  # bicubic overshoots at edges; the networks saw 8-bit images
        top, left = ((side - self.size) // 2 for side in target)
        frames = frames[..., top : top + self.size, left : left + self.size]
        mean, std = (torch.tensor(values, device=frames.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (frames - mean) / std
