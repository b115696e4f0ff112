"""What training costs at the size that people have: seconds and memory of whole commands.

    python -m benchmarks.stage_two --videos 1200
    python -m benchmarks.stage_two --videos 38793 --official

Makes a synthetic cache with the features that the presets store (EfficientNet-B4 and Res2Net-50,
eight frames a video), and runs `vqa-fuse train --fusion dynamic` and `vqa-fuse ablate --fusion all`
on it. Linux only: memory is the sum of proportional set sizes of all processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.extraction import proportional_size, tree
from benchmarks.synthetic_cache import make_cache

COMMANDS = {
    "train": ("train", "--fusion", "dynamic"),
    "ablate": ("ablate", "--fusion", "all"),
}


@dataclass(frozen=True)
class Cost:
    """``memory`` in bytes, at its peak; ``output`` is what the command printed."""

    seconds: float
    cpu: float
    memory: int
    output: str


def cost_of(words: Sequence[str | Path], folder: Path) -> Cost:
    """Of a command, run in ``folder``."""
    start, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        [str(word) for word in words], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(map(proportional_size, tree(process.pid))))
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    seconds, after = time.perf_counter() - start, os.times()
    if process.returncode:
        raise click.ClickException(f"{words}: exit code {process.returncode}")
    cpu = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    return Cost(seconds, cpu, peak, output)


@click.command()
@click.option("--videos", default=1200, show_default=True)
@click.option("--official", is_flag=True, help="One official split, as LSVQ has it.")
@click.option("--command", "names", type=click.Choice(list(COMMANDS)), multiple=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Keeps the cache there.")
def main(videos: int, official: bool, names: tuple[str, ...], folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        cache = (folder or Path(temporary)).absolute() / "cache"
        if not (cache / "bench").exists():
            make_cache(cache, "bench", videos, official)
        for name in names or COMMANDS:
            program = Path(sys.executable).with_name("vqa-fuse")
            more = ["--protocol", "official"] if official else []
            cost = cost_of([program, *COMMANDS[name], *more, "--cache", cache], Path(temporary))
            click.echo(cost.output)
            click.echo(
                f"{name}, {videos} videos: {cost.seconds:.1f} s, CPU {cost.cpu:.1f} s, "
                f"{cost.memory / 1e9:.2f} GB"
            )


if __name__ == "__main__":
    main()
