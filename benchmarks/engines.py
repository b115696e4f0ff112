"""What a Ray cluster of this machine costs against its own engine, on the same cores.

    python -m benchmarks.engines --root demo              # the demo, 391 videos: in some minutes
    python -m benchmarks.engines --root demo --times 3

Both extract the same videos into new caches, one after the other, and take turns. What Ray takes to
start is a part of its time. The arrays of both are compared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from vqa_twostage.pipeline.cache.layout import tracks
from vqa_twostage.pipeline.cache.track import open_track

ENGINES = ("local", "ray")


def extract(root: Path, cache: Path, engine: str) -> tuple[float, dict[str, float]]:
    """Wall seconds of the whole command, and the phases that it tells."""
    command = [sys.executable, "-m", "vqa_twostage.extract", "--dataset", "demo", "--root", root]
    options = ["--preset", "offline", "--cache", cache, "--engine", engine, "--json"]
    start = time.perf_counter()
    ended = subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - start, json.loads(ended.stdout)["phases"]


def differing(one: Path, other: Path) -> int:
    """How many arrays of the second cache are not those of the first, to the last bit."""
    count = 0
    for place in tracks(one, "demo"):
        with open_track(place) as ours, open_track(place.in_cache(other)) as theirs:
            for video in ours.ids:
                our, their = ours.read(video).arrays, theirs.read(video).arrays
                count += sum(not np.array_equal(our[name], their[name]) for name in our)
    return count


@click.command()
@click.option("--root", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--times", default=2, show_default=True)
def main(root: Path, times: int) -> None:
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for turn in range(times):
        with tempfile.TemporaryDirectory() as folder:
            for engine in ENGINES:
                wall, phases = extract(root, Path(folder) / engine, engine)
                seconds[engine].append(wall)
                click.echo(f"{turn + 1}: {engine}: {wall:.1f} s, {phases}")
            count = differing(Path(folder) / "local", Path(folder) / "ray")
            click.echo(f"{turn + 1}: {count} arrays differ")
    ratios = [ray / local for local, ray in zip(*seconds.values(), strict=True)]
    click.echo(f"ray takes {statistics.median(ratios):.2f} times the wall time of local")


if __name__ == "__main__":
    main()
