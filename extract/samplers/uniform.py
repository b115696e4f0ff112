"""Frames at the centres of equal windows over the whole video."""

import numpy as np
from jaxtyping import Int64

from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.extract.sampler import MAX_SAMPLES, Sampler, window_centres
from vqa_twostage.pipeline.errors import require

VERSION = 1


def build(*, frames: int = 8) -> Sampler:
    require(
        1 <= frames <= MAX_SAMPLES,
        f"uniform: frames must be at least 1 and at most {MAX_SAMPLES}, not {frames}",
    )
    return Uniform(frames)


class Uniform(Sampler):
    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self, video: Video) -> Int64[np.ndarray, " frames"]:
        """A video of fewer frames than asked for repeats some, always the same ones."""
        return window_centres(len(video), self.frames)
