"""What an extraction costs as a whole: wall time, CPU time, peak memory of all its processes, size
of the cache.

    python -m benchmarks.extraction --dataset videos/mos.csv --root videos
    python -m benchmarks.extraction --minutes 10

The first runs every backbone and temporal model over a dataset, each in a process of its own; those
without weights on this machine run with random ones, which cost the same. The second makes a 1080p
video of that length and runs the preset `offline` over it and over its first minute: memory must
not grow with the length.

Linux only.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks.command_cost import Cost, cost_of, program

SPATIAL = [
    "efficientnet",
    "convnext",
    "vit",
    "resnet",
    "timm_model:model=mobilenetv3_large_100.ra_in1k",
]
TEMPORAL = ["tea", "tsm:network=resnet50.a1_in1k"]
OF_CLIPS = {"slowfast": 32, "video_transformer": 16}
SAMPLERS = ["fps:rate=1", "motion:frames=8", "content:frames=8"]


@click.command()
@click.option("--dataset", type=click.Path(path_type=Path, exists=True))
@click.option("--root", type=click.Path(path_type=Path, exists=True))
@click.option("--minutes", type=click.IntRange(min=1))
def main(dataset: Path | None, root: Path | None, minutes: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if dataset:
            click.echo(HEAD)
            for words in every_extractor():
                report(
                    words, ["--dataset", dataset, "--root", root or dataset.parent], Path(folder)
                )
        if minutes:
            click.echo(HEAD)
            for length in (1, minutes):
                videos = Path(folder, f"minutes{length}")
                make_video(videos, length)
                report(
                    ["--preset", "offline"],
                    ["--dataset", videos / "mos.csv"],
                    Path(folder),
                    f"{length} min, ",
                )


HEAD = f"{'':<66} {'videos':>6} {'wall s':>7} {'CPU s':>7} {'peak MB':>8} {'cache MB':>9}  phases"


def every_extractor() -> Iterator[list[str]]:
    yield ["--preset", "offline"]
    light = ["--spatial", "efficientnet_lite0"]
    for text in SPATIAL:
        yield ["--spatial", random(text), "--temporal", "tsm"]
    for text in TEMPORAL:
        yield [*light, "--temporal", random(text)]
    for text, frames in OF_CLIPS.items():
        yield [*light, "--temporal", random(text), "--sampler", f"clips:frames={frames}"]
    for text in SAMPLERS:
        yield [*light, "--temporal", "tsm", "--sampler", text]


def random(text: str) -> str:
    return f"{text}{',' if ':' in text else ':'}weights=none"


def report(words: list[str], dataset: list[Any], folder: Path, note: str = "") -> None:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        cost, outcome = run([*words, *dataset, "--cache", cache])
        stored = sum(path.stat().st_size for path in Path(cache).rglob("*.h5"))
    counts = (
        f"{outcome['done']:>6} {cost.seconds:>7.1f} {cost.cpu:>7.1f} "
        f"{cost.memory / 1e6:>8.0f} {stored / 1e6:>9.2f}"
    )
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in outcome["phases"].items())
    click.echo(f"{note + ' '.join(words):<66} {counts}  {phases}")


def run(words: list[Any]) -> tuple[Cost, dict[str, Any]]:
    """Runs vqa-extract as a user would, and watches it; its cost and what it says of itself."""
    cost = cost_of([program("vqa-extract"), *words, "--json"])
    return cost, json.loads(cost.output)


def make_video(folder: Path, minutes: int) -> None:
    import imageio_ffmpeg

    folder.mkdir()
    source = f"testsrc2=size=1920x1080:rate=25:duration={60 * minutes}"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        source,
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([*command, "-preset", "ultrafast", folder / "long.mp4"], check=True)
    (folder / "mos.csv").write_text("path,mos\nlong.mp4,3\n")


if __name__ == "__main__":
    main()
