"""Frames at the centres of equal windows over the whole video."""

from collections.abc import Sized

import numpy as np
from jaxtyping import Int

from vqa_twostage.extract.decoding.scan import MOST, window_centres
from vqa_twostage.pipeline.errors import require

VERSION = 1


def build(*, frames: int = 8) -> "Uniform":
    require(
        1 <= frames <= MOST, f"uniform: frames must be at least 1 and at most {MOST}, not {frames}"
    )
    return Uniform(frames)


class Uniform:
    """Called with an open video, gives the indices of the frames to read, in order."""

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self, video: Sized) -> Int[np.ndarray, " frames"]:
        """A video of fewer frames than asked for repeats some, always the same ones."""
        return window_centres(len(video), self.frames)
