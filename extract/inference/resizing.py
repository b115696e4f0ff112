"""From decoded frames to those that networks take: each is resized once for all tracks that want it
alike.

Dimensions: k frames at once, H x W pixels of the video, S side in pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from vqa_twostage.extract.decoding.workers import VideoHeader
from vqa_twostage.extract.inference.residuals import Residuals
from vqa_twostage.extract.inference.units import UnitLayout
from vqa_twostage.extract.preprocess import Geometry

Frame = UInt8[Tensor, "3 S S"]


class ResizedFrames(NamedTuple):
    """Frames of a video in one geometry: their numbers and pixels."""

    geometry: Geometry
    numbers: list[int]
    pixels: UInt8[Tensor, "k 3 S S"]


class Resizer:
    """Resizes the frames of one video for all units of its layouts."""

    def __init__(self, header: VideoHeader, layouts: Iterable[UnitLayout]) -> None:
        layouts = list(layouts)
        self._digest = header.source.digest
        self._wanted = {
            geometry: set(uses) for geometry, uses in frame_uses(header, layouts).items()
        }
        self._preprocessings = {
            preprocessing.geometry: preprocessing
            for layout in layouts
            for preprocessing in layout.preprocessings
        }
        residuals = {
            number
            for geometry, numbers in self._wanted.items()
            if geometry.of == "residual"
            for number in numbers
        }
        self._residuals = Residuals(sorted(residuals), header.length) if residuals else None

    def resize(
        self, numbers: Int64[np.ndarray, " k"], pixels: UInt8[np.ndarray, "k H W 3"]
    ) -> list[ResizedFrames]:
        """These frames, and the residuals that they complete, as far as a unit wants them.

        The result shares no memory with ``pixels``, which may be written to afterwards.
        """
        shown = {"frames": (numbers, pixels)}
        if self._residuals is not None:
            shown["residual"] = self._residuals.receive(numbers, pixels)
        resized = []
        for geometry, preprocessing in self._preprocessings.items():
            of, images = shown[geometry.of]
            wanted = [place for place, number in enumerate(of) if number in self._wanted[geometry]]
            if wanted:
                chosen = torch.from_numpy(images if len(wanted) == len(of) else images[wanted])
                squares = preprocessing.resize(chosen, self._digest).clone()
                resized.append(
                    ResizedFrames(geometry, [int(of[place]) for place in wanted], squares)
                )
        return resized


def frame_uses(header: VideoHeader, layouts: Iterable[UnitLayout]) -> dict[Geometry, Counter[int]]:
    """In each geometry, the frames that units take, and how often."""
    uses: dict[Geometry, Counter[int]] = defaultdict(Counter)
    for layout in layouts:
        units = layout.units(header).tolist()
        for preprocessing in layout.preprocessings:
            for unit in units:
                uses[preprocessing.geometry].update(unit)
    return uses
