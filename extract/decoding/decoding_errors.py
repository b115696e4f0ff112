"""What ends the decoding of a video, as the reason that is reported for it."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired

from vqa_twostage.pipeline.confinement import UNCONFINED
from vqa_twostage.pipeline.errors import VideoError


def as_video_error(error: BaseException, patience: float) -> VideoError:
    """What a call in a process ended with, as the reason why its video cannot be used.

    ``patience``: the seconds it had to give a sign of life.
    """
    if isinstance(error, VideoError):
        return error
    if isinstance(error, FutureTimeout):
        reason = f"the decoder hung: stopped after {patience:.0f} s"
    elif isinstance(error, ProcessExpired):
        reason = f"the decoder crashed (exit code {error.exitcode})"
    else:
        reason = f"the decoder failed ({type(error).__name__}: {error})"
    if isinstance(error, ImportError):  # decision 0017
        reason += f"; where its libraries lie outside of Python's folders, set {UNCONFINED}=1"
    return VideoError(reason, "decode")
