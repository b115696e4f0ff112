"""How the sampled frames of a video become units, frames that go through a network together.

Dimensions: T rows of features, N frames of a unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from vqa_twostage.extract.decoding.workers import VideoHeader
from vqa_twostage.extract.preprocess import Preprocessing


@dataclass(frozen=True)
class UnitLayout:
    """How the sampled frames of a video become the units of an extractor.

    ``preprocessings``: of each of the ``draws`` of patches equally many, one a resolution.
    """

    unit_frames: int
    of_clips: bool
    preprocessings: tuple[Preprocessing, ...]
    draws: int = 1

    def units(self, header: VideoHeader) -> Int64[np.ndarray, "units N"]:
        """Which frames make each unit; the last unit is filled up with the last frame."""
        if self.of_clips:
            return header.index
        frames = header.index[:, 0]  # of a clip, its first frame
        missing = -len(frames) % self.unit_frames
        filled = np.concatenate([frames, np.repeat(frames[-1:], missing)])
        return filled.reshape(-1, self.unit_frames)

    def rows(self, header: VideoHeader, rows_per_unit: int) -> Int64[np.ndarray, " T"]:
        """The frame that each row of features is of; where it is of several, the first. Each has a
        row of every draw.
        """
        rows_per_unit //= self.draws
        if self.unit_frames % rows_per_unit:
            raise ValueError(
                f"an extractor gave {rows_per_unit} rows for {self.unit_frames} frames of a unit; "
                "each row must be of equally many frames"
            )
        share = self.unit_frames // rows_per_unit
        rows = self.units(header)[:, ::share].reshape(-1)
        # without the rows of frames that only fill up the last unit
        rows = rows if self.of_clips else rows[: -(-len(header.index) // share)]
        return rows.repeat(self.draws)
