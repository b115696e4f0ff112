"""What threads gain where features are prepared for a head: each track averaged by one and by more.

    python -m benchmarks.preparing                        # 1,200 videos: in half a minute
    python -m benchmarks.preparing --videos 38793         # LSVQ's size: in five minutes, 12 GB

They take turns in one process, on features that stay in the cache.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks.synthetic_cache import make_cache
from vqa_twostage.fuse.data import Features, load_dataset
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.threads import one_thread


@click.command()
@click.option("--videos", default=1200, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--times", default=2, show_default=True)
def main(videos: int, threads: int, times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_cache(Path(folder), "bench", videos)
        data = load_dataset(Path(folder), "bench", None, None, max_ram=1)
        for track in (*data.features.spatial, *data.features.temporal):
            preparation = Preparation.fit(track, np.arange(videos))
            for _ in range(times):
                seconds = {count: _seconds(preparation, track, count) for count in (1, threads)}
                told = ", ".join(f"{count} threads {s:.2f} s" for count, s in seconds.items())
                click.echo(f"{track.path.name}: {told}: {seconds[1] / seconds[threads]:.2f} times")


def _seconds(preparation: Preparation, track: Features, threads: int) -> float:
    start = time.perf_counter()
    with one_thread():  # of torch's own, as in training
        preparation.means(track, threads)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
