"""How processes are started.

The processes are spawned and not forked: the calling program may have torch's threads and an open
HDF5 file. They import nothing of the calling program, whose main script therefore needs no
``if __name__ == "__main__":`` and may as well come from standard input, ``python -c`` or a
notebook. The standard library's spawned processes import that script; loky's do not, and joblib,
which scikit-learn brings along, contains loky.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Protocol, runtime_checkable

from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.backend.context import LokyContext
from joblib.externals.loky.backend.process import LokyProcess

PARENT_IS_ASKED_FOR_EVERY_S = 0.5
LOKYS_THREAD = "ExecutorManagerThread"


@runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


@contextmanager
def ctrl_c_stays_here() -> Iterator[None]:
    """Processes that this thread starts meanwhile never get Ctrl-C, which a terminal sends to all
    processes: the program that started them ends them. One that still imports its modules would
    print where it was.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    _start_trackers()  # later their start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def closed_quietly(results: Closable) -> Iterator[None]:
    """Closes at the end what joblib gives back as a generator. Stopped while its processes start,
    loky's own thread may fail, and would print a traceback; the processes end all the same
    (`end_with`).
    """
    try:
        yield
    finally:
        before = threading.excepthook

        def hook(failure: threading.ExceptHookArgs) -> None:
            if failure.thread is None or failure.thread.name != LOKYS_THREAD:
                before(failure)

        threading.excepthook = hook
        try:
            results.close()
        finally:
            threading.excepthook = before


def end_with(parent: int) -> None:
    """Called first in a process that the process ``parent`` started: it ends within a second of
    that one, however that one ended.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_IS_ASKED_FOR_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _start_trackers() -> None:
    """The processes that remove the locks which this program leaves behind when it is interrupted
    or killed. They do so without a warning: it would be what a user reads last.
    """
    sys.warnoptions.append("ignore:resource_tracker")  # new processes inherit it
    try:
        for tracker in (resource_tracker, loky_tracker):
            tracker.ensure_running()
    finally:
        sys.warnoptions.remove("ignore:resource_tracker")


class _Process(LokyProcess):
    """Finds no module in the current folder while it starts; then it searches where the calling
    program does.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, env={"PYTHONSAFEPATH": "1"})

    def start(self) -> None:
        with ctrl_c_stays_here():
            super().start()


class ProcessContext(LokyContext):
    """For pebble's pool."""

    Process = _Process
