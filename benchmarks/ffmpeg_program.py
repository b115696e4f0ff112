"""The ffmpeg program, which makes videos for measurements and tests, and says what is right."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8


def ffmpeg(*arguments: str | Path, standard_input: bytes | None = None) -> bytes:
    """What ffmpeg writes to its output; words are split at blanks, paths are not.

    subprocess.CalledProcessError where it fails.
    """
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


def frames_of_ffmpeg(
    path: Path, width: int, height: int, stream: int | None = None
) -> UInt8[np.ndarray, "N H W 3"]:
    """All frames of a video, of that stream or the one that ffmpeg takes, by one thread: what
    several make of damaged data differs from run to run.
    """
    chosen = f"{_map(stream)} -fps_mode passthrough"
    raw = ffmpeg("-threads 1 -i", path, f"{chosen} -pix_fmt rgb24 -f rawvideo -")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def _map(stream: int | None) -> str:
    return "-an -sn" if stream is None else f"-map 0:{stream}"


def times_of_ffmpeg(path: Path, stream: int | None = None) -> Float64[np.ndarray, " N"]:
    """When each of them is shown, in seconds, the first at 0."""
    chosen = f"{_map(stream)} -fps_mode passthrough -enc_time_base 1:90000"
    listed = ffmpeg("-threads 1 -i", path, f"{chosen} -f framecrc -").decode()
    ticks = [int(line.split(",")[2]) for line in listed.splitlines() if line[:1] not in ("#", "")]
    base = next(line for line in listed.splitlines() if line.startswith("#tb 0:"))
    seconds = np.array(ticks) * float(Fraction(base.removeprefix("#tb 0:").strip()))
    return seconds - seconds[0]
