"""Residuals: how a sampled frame differs from its neighbour in the video. Whichever of the two
comes first is kept until the other is here.

Dimensions: k frames at once, H x W pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from vqa_twostage.extract.decoding.workers import neighbours


class Residuals:
    """Takes the frames of a video of ``length`` frames in any order, and gives the residual of each
    of the frames ``wanted`` once, as soon as both frames of it were taken.

    A residual is the absolute difference of the two in each colour, from 0 to 255.
    """

    def __init__(self, wanted: Sequence[int], length: int) -> None:
        others = neighbours(np.array([wanted], np.int64), length)[0]
        self._neighbour = dict(zip(wanted, others.tolist(), strict=True))
        # of each frame the residuals that it is a part of and that are still to come
        self._missing: dict[int, set[int]] = defaultdict(set)
        for number, other in self._neighbour.items():
            self._missing[number].add(number)
            self._missing[other].add(number)
        self._held: dict[int, UInt8[np.ndarray, "H W 3"]] = {}

    def receive(
        self, numbers: Int64[np.ndarray, " k"], pixels: UInt8[np.ndarray, "k H W 3"]
    ) -> tuple[Int64[np.ndarray, " residuals"], UInt8[np.ndarray, "residuals H W 3"]]:
        """The residuals that these frames complete, with the numbers of the frames they are of."""
        here = self._held | dict(zip(numbers.tolist(), pixels, strict=True))
        complete = sorted(
            {
                number
                for frame in numbers.tolist()
                for number in self._missing[frame]
                if number in here and self._neighbour[number] in here
            }
        )
        residuals = np.empty((len(complete), *pixels.shape[1:]), np.uint8)
        for place, number in enumerate(complete):
            one, other = here[number], here[self._neighbour[number]]
            np.subtract(np.maximum(one, other), np.minimum(one, other), out=residuals[place])
            for frame in {number, self._neighbour[number]}:
                self._missing[frame].discard(number)
        self._held = {
            # copied: pixels are valid until the next are asked for
            number: image if number in self._held else image.copy()
            for number, image in here.items()
            if self._missing[number]
        }
        return np.array(complete, np.int64), residuals
