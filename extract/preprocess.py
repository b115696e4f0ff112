"""From decoded frames to what a network was trained on: resize or cut, normalise. The values come
with the weights.

Dimensions: T frames, H and W of the video, S the side of the network's input, all in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vqa_twostage.extract.fragments import (
    busiest_places,
    drawn_places,
    least_frame,
    patches_to_a_side,
    stitched,
)
from vqa_twostage.extract.options import FITS, SHOWN, check_choice


class Geometry(NamedTuple):
    """What decides the pixels that `Preprocessing.resize` gives. ``border``: red, green, blue."""

    size: int
    interpolation: str
    fit: str
    border: tuple[int, int, int]
    of: str
    seed: int
    draw: int


@dataclass(frozen=True)
class Preprocessing:
    """How pixels reach a network: resized (antialiased, to 8 bits) or cut, made square, normalised.

    ``fit`` says how a frame becomes ``size`` x ``size``. ``crop`` brings its shorter side to
    ``size`` and takes the centre, ``pad`` its longer side and fills up with the mean, ``stretch``
    both. ``native`` takes the centre as it is, and fills up a frame that is smaller. ``fragments``
    stitches patches of it (`extract.fragments`); a frame that is smaller than they need is first
    brought to their size, in its own proportions.

    ``of`` says what the frames are: ``frames`` of the video, or ``residual``, their differences to
    a neighbour, which are filled up with 0, no difference, and whose fragments are the patches that
    change most. Fragments of frames lie where ``seed``, ``draw`` and the video's file say.
    ``mean`` and ``std`` are on the scale 0 to 1. ``str()`` of it is a part of the cache identity:
    a rule that changes must change that text.
    """

    size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "crop"
    of: str = "frames"
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        check_choice("fit", self.fit, FITS)
        check_choice("of", self.of, SHOWN)

    def __str__(self) -> str:
        mean, std = (
            ",".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std)
        )
        resized = f"{self.interpolation} antialiased 8 bit"
        count = patches_to_a_side(self.size)
        fitted = {
            "native": f"native centre of {self.size}",
            "fragments": f"{count}x{count} native fragments to {self.size}, if small {resized}",
        }.get(self.fit, f"{self.fit} to {self.size}, {resized}")
        residual = "residual, " if self.of == "residual" else ""
        return f"{residual}{fitted}, mean {mean}, std {std}"

    @property
    def geometry(self) -> Geometry:
        """Preprocessings that agree in it share the result of `resize`."""
        filled = self.fit in ("pad", "native") and self.of == "frames"
        red, green, blue = (round(255 * value) if filled else 0 for value in self.mean)
        border = red, green, blue
        return Geometry(
            self.size, self.interpolation, self.fit, border, self.of, self.seed, self.draw
        )

    def resize(
        self, pixels: UInt8[Tensor, "T H W 3"], digest: str = ""
    ) -> UInt8[Tensor, "T 3 S S"]:
        """Always on the CPU, whatever the device of the network: the same pixels everywhere, and
        fewer to copy.

        The result may share memory with ``pixels``. ``digest``: SHA-256 of the video's file, which
        fragments of frames need.
        """
        height, width = pixels.shape[1:3]
        scales = {
            "crop": [self.size / min(height, width)] * 2,
            "pad": [self.size / max(height, width)] * 2,
            "stretch": [self.size / height, self.size / width],
            "native": [1.0, 1.0],
            "fragments": [max(1.0, least_frame(self.size) / min(height, width))] * 2,
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
        if self.fit == "fragments":
            return self._fragments(frames, digest)
        top, left = (max(0, side - self.size) // 2 for side in target)
        frames = frames[..., top : top + self.size, left : left + self.size]
        height, width = frames.shape[-2:]
        if (height, width) == (self.size, self.size):
            return frames
        filled = torch.tensor(self.geometry.border, dtype=torch.uint8).expand(
            len(frames), self.size, self.size, 3
        )
        filled = filled.contiguous().permute(0, 3, 1, 2)
        top, left = (self.size - height) // 2, (self.size - width) // 2
        filled[..., top : top + height, left : left + width] = frames
        return filled

    def _fragments(self, frames: UInt8[Tensor, "T 3 H W"], digest: str) -> UInt8[Tensor, "T 3 S S"]:
        if self.of == "residual":
            squares = [
                stitched(frame[None], busiest_places(frame, self.size), self.size)
                for frame in frames
            ]
            return torch.cat(squares)
        assert digest, "without it, the patches of all videos would lie at the same places"
        height, width = frames.shape[2:]
        places = drawn_places(digest, self.seed, self.draw, self.size, (height, width))
        return stitched(frames, places, self.size)

    def normalise(self, frames: UInt8[Tensor, "T 3 S S"]) -> Float[Tensor, "T 3 S S"]:
        mean, std = (
            torch.tensor(values, device=frames.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return (frames / 255 - mean) / std

    def __call__(self, pixels: UInt8[Tensor, "T H W 3"]) -> Float[Tensor, "T 3 S S"]:
        return self.normalise(self.resize(pixels))
