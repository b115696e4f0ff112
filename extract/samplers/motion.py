"""From each of equal windows the frame with the strongest motion (optical flow).

Motion is the mean length of the dense flow from the frame before (DIS, Kroeger et al., ECCV 2016)
at low resolution. A cut counts as strong motion, and so does the jump at a keyframe of a coarsely
compressed video. One that stands still gives the frames of ``uniform``.

Dimensions: N frames in the video, T frames asked for, h x w pixels of a small frame.
"""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from vqa_twostage.extract.decoding.scan import scan
from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.extract.sampler import MAX_SAMPLES, Sampler, window_centres
from vqa_twostage.pipeline.errors import require, require_installed

VERSION = 1
SIDE = 96  # pixels of the shorter side: the flow of most videos stays within what DIS follows there
# pixels at that size; flow is rounded to them: less is noise of compression, and may differ between
# machines
STEP = 1 / 32


def build(*, frames: int = 8) -> Sampler:
    require(
        1 <= frames <= MAX_SAMPLES,
        f"motion: frames must be at least 1 and at most {MAX_SAMPLES}, not {frames}",
    )
    require_installed("the sampler motion", ["cv2"], "motion")
    return Motion(frames)


class Motion(Sampler):
    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self, video: Video) -> Int64[np.ndarray, " frames"]:
        """All frames are decoded once; one number and the last small frame are kept. Ties: nearest
        to the centre.
        """
        return strongest(motion(video), self.frames)


def motion(video: Video) -> Float64[np.ndarray, " N"]:
    """Mean length of the flow into each frame, in pixels of a small frame; 0 for the first, -1
    where none decodes.
    """
    import cv2

    cv2.setNumThreads(1)  # workers are processes, and threads would make them wait for each other
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    strength = np.full(len(video), -1.0)
    before: UInt8[np.ndarray, "h w"] | None = None
    for number, small in scan(video, SIDE):
        grey = cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2GRAY)
        # DIS needs patches of 8 pixels on its coarsest level; in less, no motion can be seen
        if before is None or min(grey.shape) < 16:
            strength[number] = 0.0
        else:
            vectors = flow.calc(before, grey, None)
            strength[number] = (
                round(float(np.hypot(vectors[..., 0], vectors[..., 1]).mean()) / STEP) * STEP
            )
        before = grey
    return strength


def strongest(strength: Float64[np.ndarray, " N"], frames: int) -> Int64[np.ndarray, " T"]:
    """Of each window the number of the largest value; of equal ones that nearest to the centre,
    then the first.

    A frame belongs to the window that its middle lies in. A window without one, as in a video of
    fewer frames than asked for, gives the frame at its centre.
    """
    length = len(strength)
    edges = -((frames - 2 * length * np.arange(frames + 1)) // (2 * frames))
    chosen = window_centres(length, frames)
    for window, centre in enumerate(chosen):
        numbers = np.arange(edges[window], edges[window + 1])
        if len(numbers):
            nearest = numbers[np.argsort(abs(numbers - centre), kind="stable")]
            chosen[window] = nearest[np.argmax(strength[nearest])]
    return chosen
