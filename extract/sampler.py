"""The contract of the samplers, which choose the frames of a video that networks look at, and what
several of them share. No torch here.

Dimensions: N frames in the video, T samples (frames or clips), n frames of a clip. Times are in
seconds.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.pipeline.errors import VideoError

# samples of one video; more are asked for only because of a broken clock, or by mistake
MAX_SAMPLES = 100_000
# seconds: Matroska and FLV round times to milliseconds, and floats do not hold 1/30 exactly
TOLERANCE = 1e-3


@runtime_checkable
class Sampler(Protocol):
    """Chooses frames of a video.

    A plug-in in ``extract/samplers`` has a docstring, ``VERSION``, and ``build(**options)`` that
    returns a `Sampler` and raises UsageError for options that cannot be. A class that inherits from
    this one takes over the two attributes. What a sampler chooses depends on the video and its own
    options alone: not on the decoder, the machine, or other videos. It runs where nothing can be
    written, sent or started, and reads its files when it is built.
    """

    clip_frames: int = 1
    """n, the frames of each clip; 1 for a sampler of single frames."""
    digest: str = ""
    """Identifies the content of a file that decides which frames are chosen, where there is one."""

    def __call__(self, video: Video) -> Int64[np.ndarray, T * n]:
        """Numbers of the chosen frames, 0 to N - 1, ascending, T at least 1.

        [T] of single frames; [T, n] of clips, a row each. They may repeat, where the video is
        shorter than what was asked for. Raises VideoError where no frames of this video can be
        chosen.
        """
        ...


def window_centres(length: int, windows: int) -> Int64[np.ndarray, " T"]:
    """Numbers of the frames at the centres of equal windows; where there are fewer frames than
    windows some repeat.
    """
    return (np.arange(windows) * 2 + 1) * length // (2 * windows)


def shown_every(timestamps: Float64[np.ndarray, " N"], rate: float) -> Int64[np.ndarray, " T"]:
    """Numbers of the frames that are on the screen at 0, 1/rate, 2/rate, … seconds, up to the last
    frame's start.

    A frame stays until the next one starts; one that starts within a millisecond after the moment
    counts. Frames of a video slower than `rate` repeat. Raises VideoError where that would be more
    than `MAX_SAMPLES`.
    """
    last = float(timestamps[-1])
    samples = math.floor((last + TOLERANCE) * rate) + 1
    if samples > MAX_SAMPLES:
        raise VideoError(
            f"is {last:.0f} s long by its clock, which makes {samples} samples at {rate:g} a "
            f"second; {MAX_SAMPLES} is the limit: choose a lower rate",
            "sampling",
        )
    return np.searchsorted(timestamps, np.arange(samples) / rate + TOLERANCE, side="right") - 1
