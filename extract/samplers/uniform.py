"""Frames at the centres of equal windows over the whole video."""

from collections.abc import Sized

import numpy as np
from jaxtyping import Int

from pipeline.errors import require

VERSION = 1


def build(*, frames: int = 8) -> "Uniform":
    require(frames >= 1, f"uniform: frames must be at least 1, not {frames}")
    return Uniform(frames)


class Uniform:
    """A sampler is called with an open video and gives the indices of the frames to read, in order."""

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self, video: Sized) -> Int[np.ndarray, " frames"]:
        """A video of fewer frames than asked for repeats some, always the same ones."""
        length = len(video)
        return (np.arange(self.frames) * 2 + 1) * length // (2 * self.frames)
