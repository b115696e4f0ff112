"""Frames that together show most of what is in the video (facility location).

Greedy cover: each next frame is the one that adds most to how well all frames are stood for, F(S) =
the sum over frames v of the largest similarity(v, s in S). Greedy reaches at least 1 - 1/e of the
best F (Nemhauser et al., 1978; for summaries of videos: Gygli et al., CVPR 2015). The other usual
cover, k-centres, goes for outliers: a single black frame would always be chosen. With
``importance=RUN`` the gain of a frame is multiplied by the attention that a run of stage two has
learnt.

Dimensions: N frames in the video, M candidates, D numbers that describe a candidate.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from vqa_twostage.extract.decoding.scan import describe, scan
from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.extract.sampler import Sampler, window_centres
from vqa_twostage.pipeline.attention_table import FILE, Curve, importance_curves
from vqa_twostage.pipeline.errors import UsageError, VideoError, require, require_installed

VERSION = 1
CANDIDATES = 512  # of a longer video only every second, third, … frame is one
SIDE = 64  # pixels of a candidate's shorter side
# of similarity, lost from the video's start to its end: what looks alike is covered evenly in time
SPREAD = 0.05


def build(*, frames: int = 8, importance: str = "none") -> Sampler:
    """``importance``: ``none``, or the folder of a run that was trained with ``--temporal-encoder
    attention``.

    UsageError where that folder has no usable attention.csv.
    """
    most = CANDIDATES // 2  # that many candidates there are in any longer video
    require(1 <= frames <= most, f"content: frames must be 1 to {most}, not {frames}")
    require_installed("the sampler content", ["cv2"], "motion")
    return Content(frames, importance)


class Content(Sampler):
    """``digest``, with importance: of the file that it is read from, 16 hexadecimal digits of the
    SHA-256.
    """

    def __init__(self, frames: int, run: str) -> None:
        self.frames, self.run = frames, run
        self.curves: dict[str, Curve] | None = None
        if run != "none":
            data = _attention(run)
            self.digest = hashlib.sha256(data).hexdigest()[:16]
            self.curves = _curves(data, run)

    def __call__(self, video: Video) -> Int64[np.ndarray, " frames"]:
        """In temporal order. A video of no more frames than asked for gives those of ``uniform``,
        which are all.

        All frames are decoded once; at most `CANDIDATES` descriptions are kept. VideoError where
        the run does not know ``video.id``.
        """
        length = len(video)
        weight = self.importance(video)
        if length <= self.frames:
            return window_centres(length, self.frames)
        every = -(-length // CANDIDATES)
        descriptions = {number: describe(small) for number, small in scan(video, SIDE, every)}
        if not descriptions:
            raise VideoError("could not be decoded: none of its frames", "decode")
        numbers = np.array(list(descriptions))
        time = video.timestamps[numbers] / (video.timestamps[-1] or 1.0)
        chosen = cover(np.stack(list(descriptions.values())), time, weight[numbers], self.frames)
        return np.sort(np.resize(numbers[chosen], self.frames))

    def importance(self, video: Video) -> Float64[np.ndarray, " N"]:
        """At every frame, linear between the moments that the run has sampled; 1 without a run."""
        if self.curves is None:
            return np.ones(len(video))
        if video.id not in self.curves:
            how = "train it on features of this video too, or sample with importance=none"
            raise VideoError(
                f"the run {self.run} has learnt no importance for {video.id!r}; {how}", "sampling"
            )
        return np.interp(video.timestamps, *self.curves[video.id])


def cover(
    described: Float64[np.ndarray, "M D"],
    time: Float64[np.ndarray, " M"],
    weight: Float64[np.ndarray, " M"],
    most: int,
) -> Int64[np.ndarray, " _"]:
    """Positions of at most ``most`` candidates, the greatest gain first, the earliest of equal
    ones; ``time`` is 0 to 1.
    """
    similarity = described @ described.T - SPREAD * abs(time[:, None] - time)
    covered = np.zeros(len(time))
    chosen: list[int] = []
    for _ in range(min(most, len(time))):
        # rounded: sums may differ in their last digits between machines
        gain = (
            np.maximum(similarity - covered, 0).sum(axis=1) * weight / (weight.max() or 1.0)
        ).round(9)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        covered = np.maximum(covered, similarity[chosen[-1]])
    return np.array(chosen)


def _attention(run: str) -> bytes:
    try:
        return (Path(run) / FILE).read_bytes()
    except OSError:
        how = "give a run of vqa-fuse train --temporal-encoder attention"
        raise UsageError(
            f"content: importance={run}: {run} is no folder with an {FILE}; {how}"
        ) from None


@lru_cache(maxsize=1)
def _curves(data: bytes, run: str) -> dict[str, Curve]:
    try:
        return importance_curves(data)
    except ValueError as error:
        raise UsageError(
            f"content: importance={run}: its {FILE} is damaged ({error}); train the run again"
        ) from None
