"""Decoding in processes of their own: a file that hangs or crashes a decoder costs that file alone.

They are spawned and not forked: the calling program may have torch's threads and an open HDF5 file.
They import nothing of the calling program, whose main script therefore needs no
``if __name__ == "__main__":`` and may as well come from standard input, ``python -c`` or a
notebook. The standard library's spawned processes import that script; loky's do not, and joblib,
which scikit-learn brings along, contains loky.
"""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from joblib.externals.loky.backend.context import LokyContext
from joblib.externals.loky.backend.process import LokyProcess
from pebble import ProcessExpired, ProcessPool

from vqa_twostage.pipeline.errors import VideoError

# videos until a new process takes a process's place: decord's memory grows over many files
TASKS_PER_PROCESS = 500


class _DecodingProcess(LokyProcess):
    """Finds no module in the current folder while it starts; then it searches where the calling
    program does.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, env={"PYTHONSAFEPATH": "1"})


class _DecodingContext(LokyContext):
    Process = _DecodingProcess


def decoding_processes(workers: int) -> ProcessPool:
    """A pool of ``workers`` processes for functions that a module defines, with a time limit for
    each call where the caller sets one.

    A process whose call is cancelled or takes too long is killed, and another takes its place.
    """
    return ProcessPool(max_workers=workers, max_tasks=TASKS_PER_PROCESS, context=_DecodingContext())


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
    return VideoError(reason, "decode")
