"""Frames of test videos: those that a video gives, and those of the ffmpeg program, the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from benchmarks.ffmpeg_program import ffmpeg, frames_of_ffmpeg
from vqa_twostage.extract.decoding.video import Video

__all__ = ["PLAYLIST", "Frames", "ffmpeg", "frames_of_ffmpeg", "read"]

# what a file named like a video must not make FFmpeg do: open other files
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n"


@dataclass(frozen=True)
class Frames:
    """Decoded frames: upright RGB, their numbers in the video, and when they are shown, in
    seconds.
    """

    pixels: UInt8[np.ndarray, "T H W 3"]
    index: Int64[np.ndarray, " T"]
    timestamp: Float64[np.ndarray, " T"]


def read(video: Video, index: Sequence[int] | np.ndarray) -> Frames:
    """Frames of those numbers, any order, repeats allowed; each is decoded once."""
    asked = np.asarray(index, dtype=np.int64).reshape(-1)
    distinct, place = np.unique(asked, return_inverse=True)
    pixels = np.empty((len(distinct), video.height, video.width, 3), np.uint8)
    for row, image in video.stream(distinct):
        pixels[row] = image
    return Frames(pixels[place], asked, video.timestamps[asked])
