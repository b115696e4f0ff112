"""From decoded frames to what a network was trained on: resize, crop, normalise. The values come
with the weights.

Dimensions: T frames, H and W of the video, S the side of the network's input, all in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vqa_twostage.extract.options import FITS, check_choice

Geometry = tuple[int, str, str, tuple[int, int, int]]


@dataclass(frozen=True)
class Preprocessing:
    """How pixels reach a network: resized (antialiased, to 8 bits), made square, normalised.

    ``fit`` says how a frame becomes ``size`` x ``size``: ``crop`` brings its shorter side to
    ``size`` and takes the centre, ``pad`` its longer side and fills up with the mean, ``stretch``
    both. ``mean`` and ``std`` are on the scale 0 to 1. ``str()`` of it is a part of the cache
    identity.
    """

    size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "crop"

    def __post_init__(self) -> None:
        check_choice("fit", self.fit, FITS)

    def __str__(self) -> str:
        mean, std = (
            ",".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std)
        )
        return (
            f"{self.fit} to {self.size}, {self.interpolation} antialiased 8 bit, mean {mean}, "
            f"std {std}"
        )

    @property
    def geometry(self) -> Geometry:
        """What decides `resize`; preprocessings that agree in it share its result."""
        red, green, blue = (round(255 * value) if self.fit == "pad" else 0 for value in self.mean)
        return self.size, self.interpolation, self.fit, (red, green, blue)

    def resize(self, pixels: UInt8[Tensor, "T H W 3"]) -> UInt8[Tensor, "T 3 S S"]:
        """Always on the CPU, whatever the device of the network: the same pixels everywhere, and
        fewer to copy.

        The result may share memory with ``pixels``.
        """
        height, width = pixels.shape[1:3]
        scales = {
            "crop": [self.size / min(height, width)] * 2,
            "pad": [self.size / max(height, width)] * 2,
            "stretch": [self.size / height, self.size / width],
        }[self.fit]
        target = [
            max(1, round(side * scale)) for side, scale in zip((height, width), scales, strict=True)
        ]
        # channels last, as decoded; in 8 bits this is what Pillow does, on whose output the
        # networks were trained
        frames = pixels.permute(0, 3, 1, 2)
        if target != [height, width]:
            frames = F.interpolate(
                frames, target, mode=self.interpolation, antialias=True, align_corners=False
            )
        top, left = (max(0, side - self.size) // 2 for side in target)
        frames = frames[..., top : top + self.size, left : left + self.size]
        height, width = frames.shape[-2:]
        if (height, width) == (self.size, self.size):
            return frames
        filled = torch.tensor(self.geometry[3], dtype=torch.uint8).expand(
            len(frames), self.size, self.size, 3
        )
        filled = filled.contiguous().permute(0, 3, 1, 2)
        top, left = (self.size - height) // 2, (self.size - width) // 2
        filled[..., top : top + height, left : left + width] = frames
        return filled

    def normalise(self, frames: UInt8[Tensor, "T 3 S S"]) -> Float[Tensor, "T 3 S S"]:
        mean, std = (
            torch.tensor(values, device=frames.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return (frames / 255 - mean) / std

    def __call__(self, pixels: UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "T 3 S S"]:
        return self.normalise(self.resize(pixels))
