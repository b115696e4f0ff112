"""Frames, their order, times and pixels against the ffmpeg program, on files of every kind.

    python -m benchmarks.decoding                       # all: about two minutes
    python -m benchmarks.decoding --only 'paff*'        # those whose names match
    python -m benchmarks.decoding --keep videos         # and keep the files

Ends with 1 where a file differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import click
import numpy as np

from benchmarks.ffmpeg_program import frames_of_ffmpeg, times_of_ffmpeg
from benchmarks.odd_videos import Made, every_video
from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.pipeline.errors import VideoError

TIME_S = 2e-3  # Matroska and FLV round to milliseconds


def differences(made: Made, path: Path, decoder: str = "pyav") -> list[str]:
    """What is not as it should be, in words; empty where all is."""
    try:
        with open_video(path, decoder) as video:
            pixels = np.zeros((len(video), video.height, video.width, 3), np.uint8)
            for row, image in video.stream(np.arange(len(video))):
                pixels[row] = image
            seconds, damage = video.timestamps, video.damage
    except VideoError as error:
        return [f"refused: {error}"]
    expected = frames_of_ffmpeg(path, *pixels.shape[2:0:-1], made.stream)
    if len(expected) != len(pixels):
        return [f"{len(pixels)} frames, and {len(expected)} are right"]
    found = []
    if (wrong := np.flatnonzero((expected != pixels).any(axis=(1, 2, 3)))).size:
        found.append(f"other pixels in {wrong.size} of {len(pixels)} frames, first {wrong[0]}")
    right = np.asarray(times_of_ffmpeg(path, made.stream) if made.seconds is None else made.seconds)
    if len(right) != len(seconds):
        found.append(f"{len(seconds)} times, and {len(right)} are right")
    elif (off := np.abs(right - seconds)).max() > TIME_S:
        place = int(off.argmax())
        found.append(f"frame {place} at {seconds[place]:.3f} s, and {right[place]:.3f} is right")
    if bool(damage) != bool(made.damage):
        found.append(f"damage {damage!r}, and {made.damage!r} is right")
    return found


@click.command(help=__doc__, context_settings={"max_content_width": 100})
@click.option("--only", default="*", help="Names of files, with * and ?.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where to keep the files.")
@click.option("--decoder", default="pyav", type=click.Choice(["pyav", "decord"]))
def main(only: str, keep: Path | None, decoder: str) -> None:
    tried, differing = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for made in every_video():
            if not fnmatch(made.name, only):
                continue
            path = folder / made.name
            made.make(path)
            found = differences(made, path, decoder)
            tried[made.group] += 1
            differing[made.group] += bool(found)
            for difference in found:
                click.echo(f"{made.name}: {difference}")
            if keep is None:
                path.unlink()
    click.echo("| what is particular | files | differ |\n|---|---|---|")
    for group, files in tried.items():
        click.echo(f"| {group} | {files} | {differing[group]} |")
    click.echo(f"| all | {tried.total()} | {differing.total()} |")
    sys.exit(bool(differing.total()))


if __name__ == "__main__":
    main()
