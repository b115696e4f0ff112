"""`vqa-cache merge` beside a plain copy of the same files, at the size that people have.

    python -m benchmarks.merging --videos 1200 --videos 38793

Makes parts of a dataset in a temporary folder, as machines of `vqa-extract --shard I/N` leave them:
one track as of EfficientNet-B4 with eight frames a video (108 KB). Prints for each size the seconds
of the merge and of a copy of the same bytes, both forced to the disk; videos a second; the memory
of the whole command at its peak; how long the same merge takes again, with nothing to do; and how
fast the parts were written video by video, as an extraction does, which is the most that the one
writer of a track takes. Linux only; needs disk for three times the features.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.command_cost import cost_of, program
from benchmarks.synthetic_cache import EFFICIENTNET_B4, FRAMES, make_part

BLOCK_BYTES = 16 << 20


def parts_of(folder: Path, videos: int, parts: int) -> tuple[list[Path], float]:
    """The caches of so many machines, and how many videos a second their writers took."""
    start = time.perf_counter()
    caches = [folder / f"part-{part}" for part in range(parts)]
    for part, cache in enumerate(caches):
        make_part(cache, "bench", videos, slice(part, None, parts))
    return caches, videos / (time.perf_counter() - start)


def copied(paths: Sequence[Path], target: Path) -> float:
    """Seconds to copy files into one, and to force it to the disk."""
    start = time.perf_counter()
    with target.open("wb", buffering=0) as out:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                while block := file.read(BLOCK_BYTES):
                    out.write(block)
        os.fsync(out.fileno())
    target.unlink()
    return time.perf_counter() - start


def measure(folder: Path, videos: int, parts: int) -> None:
    caches, written = parts_of(folder, videos, parts)
    tracks = [path for cache in caches for path in cache.rglob("*.h5")]
    size = sum(path.stat().st_size for path in tracks)
    copy = copied(tracks, folder / "copy")
    words = [program("vqa-cache"), "merge", *caches, "--cache", folder / "cache", "--json"]
    merge, again = cost_of(words), cost_of(words)
    click.echo(
        f"{videos:,} videos of {FRAMES} frames and {sum(EFFICIENTNET_B4.values()):,} channels in "
        f"{parts} parts, {size / 1e9:.2f} GB: merged in {merge.seconds:.1f} s (CPU "
        f"{merge.cpu:.1f} s), {videos / merge.seconds:,.0f} videos/s, {merge.memory / 1e6:.0f} MB "
        f"of memory; copied in {copy:.1f} s, ratio {merge.seconds / copy:.1f}; again "
        f"{again.seconds:.1f} s, {again.memory / 1e6:.0f} MB; written video by video "
        f"{written:,.0f} videos/s"
    )
    shutil.rmtree(folder)


@click.command()
@click.option("--videos", type=int, multiple=True, default=(1200,), show_default=True)
@click.option("--parts", type=int, default=4, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where [default: a new one].")
def main(videos: tuple[int, ...], parts: int, folder: Path | None) -> None:
    """Merging beside copying."""
    for count in videos:
        measure(Path(tempfile.mkdtemp(dir=folder)), count, parts)


if __name__ == "__main__":
    main()
