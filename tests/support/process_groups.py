"""Programs whose processes are to end with them."""

from __future__ import annotations

import os
import signal
import subprocess
import time


def check_all_end(program: subprocess.Popen[str], how: signal.Signals, within: float) -> None:
    """Stops a program, the leader of its group, and waits for the others for so many seconds."""
    program.send_signal(how)
    program.wait(timeout=60)
    assert program.stdout is not None
    program.stdout.close()
    deadline = time.monotonic() + within
    while _group_exists(program.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _group_exists(program.pid)


def _group_exists(leader: int) -> bool:
    """Whether any process of the process group is still running."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
