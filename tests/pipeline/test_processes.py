"""Processes end with the program that started them, a crash in one is an error, and errors keep
their kind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from process_groups import check_all_end

from vqa_twostage.extract.decoding.decoding_errors import as_video_error
from vqa_twostage.pipeline.cache.feature_files import Wanted, read_features
from vqa_twostage.pipeline.datasets.index_files import read_index_file
from vqa_twostage.pipeline.datasets.label_files import read_table
from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.process_context import LOKYS_THREAD, closed_quietly
from vqa_twostage.pipeline.processes import CrashError, call_apart

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


@pytest.mark.long
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
    check_all_end(program, how, within=60)


CTRL_C_AT_THE_START = """
import os, signal, time
from vqa_twostage.pipeline.process_context import ProcessContext, ctrl_c_stays_here
process = ProcessContext().Process(target=time.sleep, args=(0.2,))
process.start()
os.kill(process.pid, signal.SIGINT)
process.join()
from joblib.externals.loky import get_reusable_executor
with ctrl_c_stays_here():
    results = [get_reusable_executor(max_workers=2).submit(abs, -number) for number in range(4)]
for child in os.listdir("/proc"):
    if child.isdecimal() and child != str(os.getpid()):
        try:
            with open(f"/proc/{child}/stat") as stat:
                parent = stat.read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if parent == str(os.getpid()):
            os.kill(int(child), signal.SIGINT)
print(process.exitcode, [result.result() for result in results])
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds children by /proc")
def test_processes_that_start_print_nothing_at_ctrl_c() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_AT_THE_START], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("0 [0, 1, 2, 3]\n", "")


LEAVES_A_LOCK = """
import os, sys
from vqa_twostage.pipeline.process_context import ctrl_c_stays_here
with ctrl_c_stays_here():
    pass
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.synchronize import Lock
lock = Lock()
resource_tracker.register("/there-is-no-such-lock", "semlock")
print(lock._semlock.name, sys.warnoptions, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="locks have no place in the file system")
def test_locks_of_a_program_that_was_stopped_are_removed_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_A_LOCK], capture_output=True, text=True, timeout=120
    )
    name, _, options = done.stdout.strip().partition(" ")
    assert (done.stderr, options) == ("", "[]")
    assert not Path(f"/dev/shm/sem.{name.lstrip('/')}").exists()


@pytest.mark.parametrize(("thread", "told"), [(LOKYS_THREAD, []), ("another", ["another"])])
def test_only_the_failure_of_the_thread_that_is_stopped_is_not_told(
    thread: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda failure: failures.append(failure.thread.name)
    )
    before = threading.excepthook

    class Results:
        def close(self) -> None:
            failing = threading.Thread(target=dict[int, int]().__getitem__, args=(1,), name=thread)
            failing.start()
            failing.join()

    with closed_quietly(Results()):
        assert threading.excepthook is before
    assert failures == told and threading.excepthook is before


def test_video_errors_are_kept_and_other_errors_become_decoder_errors() -> None:
    missing = VideoError("file is missing", "missing")
    assert as_video_error(missing, 1.0) is missing
    other = as_video_error(MemoryError("too large"), 1.0)
    assert str(other) == "the decoder failed (MemoryError: too large)" and other.kind == "decode"


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    """A MATLAB file with a damaged number, at which SciPy's parser crashes."""
    path = tmp_path / "feats.mat"
    scipy.io.savemat(path, {"index": np.arange(15.0).reshape(5, 3)})
    content = bytearray(path.read_bytes())
    content[184:186] = b"\xff\xff"  # a type of numbers that there is not
    path.write_bytes(content)
    return path


def test_crash_in_a_call_apart_is_an_error_and_the_next_call_works() -> None:
    for _ in range(2):
        with pytest.raises(CrashError, match="its parser crashed, exit code 9"):
            call_apart(os._exit, 9)
        assert call_apart(os.getcwd) == os.getcwd()


def test_calls_apart_know_the_folder_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        assert call_apart(os.getcwd) == str(folder)


def test_files_that_crash_their_parser_are_refused(crashing: Path) -> None:
    readers: list[Callable[[], object]] = [
        lambda: read_features(crashing, None, Wanted(list("abcde"), "five videos")),
        lambda: read_index_file(crashing),
        lambda: read_table(crashing, LabelFile(("feats.mat",), {}), ["index"]),
    ]
    for read in readers:
        with pytest.raises(UsageError, match=r"feats\.mat cannot be read as \.mat"):
            read()
