"""What a command costs as its user meets it: seconds, CPU seconds and memory of all its processes.

Linux only: memory is the sum of proportional set sizes (shared pages count once).
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Cost:
    """``memory`` in bytes, at its peak; ``output`` is what the command printed."""

    seconds: float
    cpu: float
    memory: int
    output: str


def cost_of(words: Sequence[str | Path], folder: Path | None = None) -> Cost:
    """Of a command, run in ``folder``. ClickException with what it said where it fails."""
    start, before = time.perf_counter(), cpu_seconds()
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_size, _tree(process.pid))))
            time.sleep(LOOK_EVERY_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, errors = process.communicate()
    watcher.join()
    if process.returncode:
        said = " ".join(map(str, words))
        raise click.ClickException(f"{said}: exit code {process.returncode}\n{errors}")
    return Cost(time.perf_counter() - start, cpu_seconds() - before, peak, output)


def program(name: str) -> Path:
    """A command of this environment, such as ``vqa-fuse``."""
    return Path(sys.executable).with_name(name)


def cpu_seconds() -> float:
    """Seconds of this process and of those that it has ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _tree(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return  # it has just ended


def _proportional_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
