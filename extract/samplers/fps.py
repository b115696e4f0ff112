"""The frame on the screen at every so many seconds, by the video's own clock.

The first moment is 0, as in SimpleVQA (Sun et al., ACM MM 2022), which takes the first frame of
every second. Longer videos give more frames.
"""

import math

import numpy as np
from jaxtyping import Int64

from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.extract.sampler import Sampler, shown_every
from vqa_twostage.pipeline.errors import require

VERSION = 1


def build(*, rate: float = 1.0) -> Sampler:
    """``rate``: moments a second, not bound to the video's own rate."""
    require(
        math.isfinite(rate) and 0 < rate <= 1000,
        f"fps: rate must be above 0 and at most 1000, not {rate:g}",
    )
    return Fps(rate)


class Fps(Sampler):
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, video: Video) -> Int64[np.ndarray, " frames"]:
        """T frames, at 0, 1/rate, 2/rate, … seconds; VideoError where a broken clock makes them too
        many.
        """
        return shown_every(video.timestamps, self.rate)
