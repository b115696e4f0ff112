"""`vqa-extract` where every video is in the cache, against importing what it needs.

    python -m benchmarks.nothing_to_do --videos 8 --videos 1200 --videos 38793

Makes a dataset of tiny files and the two tracks of the preset `offline` for it, and prints the
seconds of the whole command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from vqa_twostage.extract.extraction.known_tracks import REQUESTS, request_of, with_request
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline import presets, spec
from vqa_twostage.pipeline.cache.layout import TrackPath, extraction_path
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.files import write_json
from vqa_twostage.pipeline.identity import TrackIdentity

REPEATS = 5
IMPORTS = "import click, h5py, jaxtyping, numpy, pandas"
OPTIONS = ExtractOptions.from_mapping(presets.load("offline", "extract"), where="offline")


def make(root: Path, cache: Path, videos: int) -> None:
    names = [f"{number}.mp4" for number in range(videos)]
    for name in names:
        (root / name).write_bytes(name.encode())
    lines = "".join(f"{name},{1 + row % 400 / 100}\n" for row, name in enumerate(names))
    (root / "mos.csv").write_text("path,mos\n" + lines)
    manifest = load_manifest(root / "mos.csv", root)
    save_manifest(cache, manifest)
    sampler = spec.parse(OPTIONS.sampler)
    places = []
    for name in ("efficientnet_lite0", "tsm"):
        identity = TrackIdentity("spatial", spec.parse(name), sampler)
        places.append(TrackPath.of(cache, manifest.name, name, identity))
        arrays = {ArrayName("c5/mean"): np.zeros((8, 16), np.float32)}
        with write_track(places[-1], identity, {}) as track:
            for video_id, path in zip(manifest.rows["id"], manifest.rows["path"], strict=True):
                status = (root / path).stat()
                attributes = VideoAttributes(
                    "digest", source_size=status.st_size, source_mtime_ns=status.st_mtime_ns
                )
                track.write(
                    video_id, VideoFeatures(arrays, np.arange(8), np.arange(8.0), attributes)
                )
    request = with_request({}, request_of(OPTIONS, manifest.raw), places)
    write_json(extraction_path(cache, manifest.name), {REQUESTS: request})


def seconds_of(*words: str) -> float:
    """The least of several runs."""
    runs = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ)
        runs.append(time.perf_counter() - start)
    assert "-c" in words or " 0 done, " in done.stdout, done.stdout
    return min(runs)


@click.command()
@click.option("--videos", type=int, multiple=True, default=(8, 1200, 38793), show_default=True)
def main(videos: tuple[int, ...]) -> None:
    least = seconds_of(sys.executable, "-c", IMPORTS)
    click.echo(f"imports alone: {least:.2f} s")
    for count in videos:
        with tempfile.TemporaryDirectory() as folder:
            root, cache = Path(folder) / "videos", Path(folder) / "cache"
            root.mkdir()
            make(root, cache, count)
            words = ["--dataset", str(root / "mos.csv"), "--cache", str(cache)]
            module = [sys.executable, "-m", "vqa_twostage.extract"]
            whole = seconds_of(*module, *words, "--preset", "offline")
        click.echo(f"{count} videos: {whole:.2f} s, ratio {whole / least:.2f}")


if __name__ == "__main__":
    main()
