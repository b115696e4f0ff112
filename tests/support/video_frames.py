"""Frames of test videos: those that a video gives, and those of the ffmpeg program, the oracle."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from vqa_twostage.extract.decoding.video import Video

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


def ffmpeg(*arguments: str | Path, standard_input: bytes | None = None) -> bytes:
    """What ffmpeg writes to its output; words are split at blanks, paths are not."""
    from imageio_ffmpeg import get_ffmpeg_exe

    words = [
        word
        for part in arguments
        for word in (part.split() if isinstance(part, str) else [str(part)])
    ]
    quiet = ["-v", "error", "-y", *(["-nostdin"] if standard_input is None else [])]
    return subprocess.run(
        [get_ffmpeg_exe(), *quiet, *words], check=True, capture_output=True, input=standard_input
    ).stdout


def frames_of_ffmpeg(path: Path, width: int, height: int) -> UInt8[np.ndarray, "N H W 3"]:
    """All frames of a video."""
    raw = ffmpeg("-i", path, "-map 0:v:0 -fps_mode passthrough -pix_fmt rgb24 -f rawvideo -")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
