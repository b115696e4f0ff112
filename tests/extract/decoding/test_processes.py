"""Decoding processes end with the program that started them, and their errors keep their kind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vqa_twostage.extract.decoding.processes import as_video_error
from vqa_twostage.pipeline.errors import VideoError

# every decoder blocks, because its buffer holds only two of five frames
PROGRAM = """
import sys, time
from pathlib import Path
from vqa_twostage.extract.decoding import workers
workers.RINGS_BYTES = 1
videos = [(path.stem, path) for path in sorted(Path(sys.argv[1]).glob("*.mp4"))]
for stream in workers.decode_videos(videos, workers.DecodeRequest("uniform:frames=5", "pyav"), 2):
    stream.open()
    print("open", flush=True)
    time.sleep(600)
"""


def group_exists(leader: int) -> bool:
    """Whether any process of the process group is still running."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_decoding_processes_end_with_the_program_that_started_them(
    how: signal.Signals, clips: Path, tmp_path: Path
) -> None:
    with (tmp_path / "messages.txt").open("w") as messages:  # not a pipe: children inherit it
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, clips],
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            start_new_session=True,
        )
    assert program.stdout is not None and program.stdout.readline() == "open\n"
    program.send_signal(how)
    program.wait(timeout=60)
    program.stdout.close()
    deadline = time.monotonic() + 60
    while group_exists(program.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not group_exists(program.pid)


def test_video_errors_are_kept_and_other_errors_become_decoder_errors() -> None:
    missing = VideoError("file is missing", "missing")
    assert as_video_error(missing, 1.0) is missing
    other = as_video_error(MemoryError("too large"), 1.0)
    assert str(other) == "the decoder failed (MemoryError: too large)" and other.kind == "decode"
