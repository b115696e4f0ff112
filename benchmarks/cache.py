"""What a track costs at the size that people have, beside what plain files cost.

    python -m benchmarks.cache --videos 1000 --videos 10000 --videos 100000

Makes tracks as of EfficientNet-B4 with eight frames a video (108 KB) in a temporary folder, and
prints for each size: writing, opening, `vqa-cache info`, reading all of two statistics, reading
videos at random, memory, and the file's size. "plain" is a plain file of as many bytes in the same
run: written and forced to the disk; read into new memory and checksummed with XXH3, for opening as
many as the table of videos has.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import click
import numpy as np

from vqa_twostage.fuse.data import read_features
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.info import track_info
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.checksum import checksum
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

FRAMES = 8
CHANNELS = {"c2": 32, "c3": 56, "c4": 160, "c5": 448, "last": 1792}
READ = ("mean", "std")
RANDOM_READS = 500
ROUNDS = 5
IDENTITY = TrackIdentity(
    "spatial", spec.parse("efficientnet:model=b4"), spec.parse(f"uniform:frames={FRAMES}")
)


def video(number: int, generator: np.random.Generator) -> VideoFeatures:
    names = [ArrayName.of(level, name) for level in CHANNELS for name in READ]
    names.append(ArrayName("last/max"))
    arrays = {
        name: generator.standard_normal((FRAMES, CHANNELS[name.level]), np.float32)
        for name in names
    }
    attributes = VideoAttributes(f"{number:064x}", 10**6, 1, 1920, 1080, 30.0, 300, 0, "pyav-18")
    return VideoFeatures(arrays, np.arange(FRAMES), np.arange(FRAMES) / 2, attributes)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start, used = time.perf_counter(), time.process_time()
    yield
    seconds[name] = time.perf_counter() - start
    seconds[f"{name}, CPU"] = time.process_time() - used


def measure(folder: Path, videos: int) -> None:
    path = folder / "bench" / "uniform-frames8" / "efficientnet-0000000000.h5"
    generator = np.random.default_rng(0)
    some = [video(number, generator) for number in range(16)]
    arrays = videos * sum(array.nbytes / 2 for array in some[0].arrays.values())
    spent: dict[str, float] = {}
    block = memoryview(generator.bytes(16 << 20))
    # before the track, which is to be what the system keeps in memory
    with timed(spent, "plain write"), (folder / "plain").open("wb", buffering=0) as file:
        for start in range(0, int(arrays), len(block)):
            file.write(block[: min(len(block), int(arrays) - start)])
        os.fsync(file.fileno())
    (folder / "plain").unlink()
    with timed(spent, "write"), write_track(path, IDENTITY, {}, videos=videos) as track:
        for number in range(videos):
            track.write(f"video {number:06d}", some[number % len(some)])
    size = path.stat().st_size
    with timed(spent, "open"), open_track(path) as track:
        table = track.bytes_an_entry * videos
    with timed(spent, "info"):
        track_info(path)
    with timed(spent, "plain open"):
        checksum(np.fromfile(path, np.uint8, table).data)
    places = np.random.default_rng(1).integers(0, videos, RANDOM_READS)
    with open_track(path) as track:
        ids = track.ids
        with timed(spent, "random"):
            for number in places:
                track.read(ids[number])
    each_video = int(arrays) // videos
    with timed(spent, "plain random"), path.open("rb", buffering=0) as file:
        for number in places:
            checksum(os.pread(file.fileno(), each_video, int(number) * each_video))
    program = f"import benchmarks.cache as b; b.read_all({str(path)!r})"
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    read, plain, read_bytes, memory = map(float, output.split())
    each = {name: seconds / videos * 1e3 for name, seconds in spent.items()}
    click.echo(
        f"{videos:>7} videos, {size / 1e6:.0f} MB:\n"
        f"  write       {each['write']:8.2f} ms a video, CPU {each['write, CPU']:.2f} ms (plain "
        f"{each['plain write']:.2f}, CPU {each['plain write, CPU']:.2f})\n"
        f"  open        {spent['open'] * 1e3:8.1f} ms (plain {spent['plain open'] * 1e3:.1f})\n"
        f"  info        {spent['info'] * 1e3:8.1f} ms\n"
        f"  random read {spent['random'] / RANDOM_READS * 1e3:8.2f} ms a video (plain "
        f"{spent['plain random'] / RANDOM_READS * 1e3:.2f})\n"
        f"  read all    {read:8.2f} s for {read_bytes / 1e6:.0f} MB (plain {plain:.2f}, ratio "
        f"{read / plain:.2f})\n"
        f"  memory      {memory / read_bytes:8.2f} times the arrays\n"
        f"  size        {size / arrays:8.3f} times the arrays"
    )


def read_all(track: str) -> None:
    """Prints the seconds of reading, those of plain reading, the arrays' bytes, and the memory that
    reading took; for a process of its own, whose memory only grows. Medians of several rounds: the
    first of either waits for the machine to find memory and to read the file.
    """
    path = Path(track)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds: dict[str, list[float]] = {"read": [], "plain": []}
    memory = 0
    for number in range(ROUNDS):
        start = time.perf_counter()
        with open_track(path) as opened:
            features = read_features(opened, opened.ids, READ)
        seconds["read"].append(time.perf_counter() - start)
        if number == 0:  # later ones find what plain reading left of the process's memory
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        read_bytes = sum(array.nbytes for array in features.arrays.values())
        del features
        start = time.perf_counter()
        plain = np.fromfile(path, np.uint8, read_bytes)
        checksum(plain.data)
        seconds["plain"].append(time.perf_counter() - start)
        del plain
    read, plain_read = (median(values) for values in seconds.values())
    click.echo(f"{read} {plain_read} {read_bytes} {memory}")


@click.command()
@click.option("--videos", type=int, multiple=True, default=(1000, 10000, 100000), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write [default: /tmp].")
def main(videos: tuple[int, ...], folder: Path | None) -> None:
    for count in videos:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            measure(Path(place), count)


if __name__ == "__main__":
    main()
