"""What training costs at the size that people have: seconds and memory of whole commands.

    python -m benchmarks.stage_two --videos 1200
    python -m benchmarks.stage_two --videos 38793 --official

Makes a synthetic cache with the features that the presets store (EfficientNet-B4 and Res2Net-50,
eight frames a video), and runs `vqa-fuse train --fusion dynamic` and `vqa-fuse ablate --fusion all`
on it. Linux only.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.command_cost import cost_of, program
from benchmarks.synthetic_cache import make_cache

COMMANDS = {
    "train": ("train", "--fusion", "dynamic"),
    "ablate": ("ablate", "--fusion", "all"),
}


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
            more = ["--protocol", "official"] if official else []
            cost = cost_of(
                [program("vqa-fuse"), *COMMANDS[name], *more, "--cache", cache], Path(temporary)
            )
            click.echo(cost.output)
            click.echo(
                f"{name}, {videos} videos: {cost.seconds:.1f} s, CPU {cost.cpu:.1f} s, "
                f"{cost.memory / 1e9:.2f} GB"
            )


if __name__ == "__main__":
    main()
