"""Commands in processes that can be killed, without the seconds that importing torch takes: a
server imports it once, and each command is a fork of the server.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

from full_disk import full_disk

# how long decoding processes may go on when what they decode for was killed
PATIENCE_S = 10.0
CHANGES = "changes of the disk: "
# which bring most of what a command imports
IMPORTED = ("extract.run", "extract.networks.timm_stages", "pipeline.datasets.loading")


@dataclass(frozen=True)
class Ended:
    """How a command ended: ``code`` is None where it was killed, ``said`` what it printed, ``left``
    how many of its processes did not end by themselves.
    """

    code: int | None
    seconds: float
    left: int
    said: str

    @property
    def changes(self) -> int:
        """How many changes of its disk a command tried, that was given one."""
        return int(self.said.rpartition(CHANGES)[2])


class ForkedCommands:
    """The server, as a test sees it."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self._log = server, folder / "log.txt"

    def run(
        self,
        *words: str | Path,
        kill_after: float | None = None,
        alone: bool = False,
        disk: tuple[Path, int, int] | None = None,
    ) -> Ended:
        """Runs a command, and kills it after so many seconds unless it has ended by then: with all
        of its processes, or ``alone``, after which those have to end by themselves. On ``disk``, a
        folder, so many changes succeed, and then each fails with that error.
        """
        request = {
            "words": [str(word) for word in words],
            "log": str(self._log),
            "kill_after": kill_after,
            "alone": alone,
            "disk": disk and [str(disk[0]), *disk[1:]],
        }
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()), said=self._log.read_text())


@contextmanager
def forked_commands(folder: Path) -> Iterator[ForkedCommands]:
    """Commands that run in ``folder``."""
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield ForkedCommands(server, folder)
    finally:
        server.communicate()


def serve() -> None:
    for name in IMPORTED:
        importlib.import_module(f"vqa_twostage.{name}")
    from vqa_twostage.pipeline.cache import track_writer

    # few videos are several commits of each track
    track_writer.COMMIT_VIDEOS = 2
    gc.freeze()  # a child that collects garbage would copy all of this memory
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        start = time.monotonic()
        process = os.fork()
        if not process:
            be_command(request["words"], request["log"], request["disk"])
        os.setpgid(process, process)  # in case that it is killed before it has done so
        code = ended(process, start, request["kill_after"])
        if code is None:
            (os.kill if request["alone"] else os.killpg)(process, signal.SIGKILL)
            os.waitpid(process, 0)
        seconds = time.monotonic() - start
        left = processes_left(process)
        if left:
            os.killpg(process, signal.SIGKILL)
        answer = {"code": code, "seconds": seconds, "left": left}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def be_command(words: list[str], log: str, disk: tuple[str, int, int] | None) -> NoReturn:
    os.setpgid(0, 0)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(handle, stream)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.argv = words
    (script,) = entry_points(group="console_scripts", name=words[0])
    code: object = 1
    changed = None
    try:
        with full_disk(Path(disk[0]), *disk[1:]) if disk else nullcontext() as changed:
            script.load()()
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001  the test finds it in what was printed
        traceback.print_exc()
    if changed is not None:
        sys.stdout.write(f"{CHANGES}{changed.changes}\n")
    # what an interpreter does at its end, but for giving back the memory of all modules
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def ended(process: int, start: float, kill_after: float | None) -> int | None:
    """The exit code; None where the process has not ended in time."""
    while kill_after is None or time.monotonic() < start + kill_after:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    return None


def processes_left(group: int) -> int:
    """How many processes of a group have not ended after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while (count := sum(map(group.__eq__, running_groups()))) and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


def running_groups() -> Iterator[int]:
    """The group of each process that has not ended."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group = (folder / "stat").read_text().rpartition(") ")[2].split()[:3]
        except OSError:
            continue
        if state not in "ZX":
            yield int(group)


if __name__ == "__main__":
    serve()
