"""A clip of successive frames from every second, for networks that look at clips.

SimpleVQA's protocol (Sun et al., ACM MM 2022): 32 frames from the start of each second that has
begun. A clip starts at the frame that ``fps`` of the same rate takes, by the video's own clock; the
frames after it are counted, since networks for clips were trained on counted frames.
"""

import math

import numpy as np
from jaxtyping import Int64

from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.extract.sampler import Sampler, shown_every
from vqa_twostage.pipeline.errors import require

VERSION = 1


def build(*, frames: int = 32, rate: float = 1.0, stride: int = 1) -> Sampler:
    """``frames`` in a clip, ``stride`` apart; ``rate``: clips a second."""
    require(frames >= 1, f"clips: frames must be at least 1, not {frames}")
    require(stride >= 1, f"clips: stride must be at least 1, not {stride}")
    require(
        math.isfinite(rate) and 0 < rate <= 1000,
        f"clips: rate must be above 0 and at most 1000, not {rate:g}",
    )
    return Clips(frames, rate, stride)


class Clips(Sampler):
    def __init__(self, frames: int, rate: float, stride: int) -> None:
        self.clip_frames, self.rate, self.stride = frames, rate, stride

    def __call__(self, video: Video) -> Int64[np.ndarray, "clips frames"]:
        """One row a clip; past the video's end the last frame repeats. VideoError as ``fps``."""
        starts = shown_every(video.timestamps, self.rate)
        steps = np.arange(self.clip_frames) * self.stride
        return np.minimum(starts[:, None] + steps, len(video) - 1)
