"""`make bench`: the speeds that this project promises, measured at the size that its users have.

    python -m benchmarks.goals                      # everything: an hour and a half, 30 GB of disk
    python -m benchmarks.goals --only train         # one of them again
    python -m benchmarks.goals --show               # the table of what was measured last

Writes `benchmarks/goals.json`; the README shows the same table. Caches and videos are made first.
Linux only.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import click

from benchmarks import overhead, plain_loop
from benchmarks.command_cost import Cost, cost_of, program
from benchmarks.synthetic_cache import make_cache, make_columns
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline import presets
from vqa_twostage.pipeline.datasets import Manifest, load_manifest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).with_suffix(".json")
KONVID_VIDEOS, LSVQ_VIDEOS = 1200, 38793


@dataclass(frozen=True)
class Row:
    """``measured``, and the limit or peer that it is compared with, are both in ``unit``.

    The goal is about ``measured``, or ``of_ratio`` about the quotient of the two; it is not to be
    exceeded, or ``at_least`` to be reached.
    """

    what: str
    unit: str
    measured: float
    goal: float
    peer: str = ""
    peer_measured: float | None = None
    of_ratio: bool = False
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        return None if self.peer_measured is None else self.measured / self.peer_measured

    @property
    def met(self) -> bool:
        found = self.ratio if self.of_ratio else self.measured
        assert found is not None, f"{self.what}: a goal about a ratio needs a peer"
        return found >= self.goal if self.at_least else found <= self.goal


@dataclass(frozen=True)
class Place:
    """Where caches and videos are made; what is there already is used."""

    folder: Path

    @cached_property
    def konvid_size(self) -> Path:
        return self._cache("konvid", lambda cache: make_cache(cache, "bench", KONVID_VIDEOS))

    @cached_property
    def columns(self) -> Path:
        return self._cache("columns", lambda cache: make_columns(cache, "bench", KONVID_VIDEOS))

    @cached_property
    def lsvq_size(self) -> Path:
        return self._cache(
            "lsvq", lambda cache: make_cache(cache, "bench", LSVQ_VIDEOS, official=True)
        )

    def demo(self, videos: int) -> Manifest:
        """The first of the demo's videos."""
        root = self.folder / "demo"
        if not (root / "labels.csv").exists():
            cost_of([program("vqa-data"), "make", "demo", "--root", root])
        manifest = load_manifest("demo", root)
        return replace(manifest, rows=manifest.rows[:videos])

    def run(self, command: str, *words: str | Path) -> Cost:
        """Of a ``vqa-fuse`` command that finds no earlier run."""
        with tempfile.TemporaryDirectory(dir=self.folder) as runs:
            return cost_of([program("vqa-fuse"), command, *words], Path(runs))

    def _cache(self, name: str, make: Callable[[Path], None]) -> Path:
        cache = self.folder / name
        if not cache.exists():
            half = cache.with_suffix(".part")
            make(half)
            half.rename(cache)
        return cache


def train(place: Place) -> Iterator[Row]:
    cost = place.run("train", "--fusion", "dynamic", "--cache", place.konvid_size)
    what = "`train --fusion dynamic`, 10 splits, 1,200 videos x 8 frames"
    yield Row(what, "s", cost.seconds, 45)


def ablate(place: Place) -> Iterator[Row]:
    cost = place.run("ablate", "--fusion", "all", "--cache", place.konvid_size)
    what = "`ablate --fusion all`, six heads x 10 splits, the same cache"
    yield Row(what, "s", cost.seconds, 240)


def columns(place: Place) -> Iterator[Row]:
    cost = place.run("ablate", "--fusion", "all", "--cache", place.columns)
    what = "`ablate --fusion all`, six heads x 10 splits, 60 columns a video as VIDEVAL's"
    yield Row(what, "s", cost.seconds, 90)


def lsvq(place: Place) -> Iterator[Row]:
    words = "--fusion", "dynamic", "--protocol", "official"
    cost = place.run("train", *words, "--cache", place.lsvq_size)
    what = "`train --fusion dynamic`, official split, 38,793 videos x 8 frames"
    yield Row(what, "s", cost.seconds, 360)
    yield Row("its memory", "GB", cost.memory / 1e9, 8)


def demo(place: Place) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir=place.folder) as empty:
        Path(empty, ".venv").symlink_to(sys.prefix)
        installed = ("--old-file", ".venv/installed")
        cost = cost_of(["make", "--makefile", ROOT / "Makefile", *installed, "demo"], Path(empty))
        again = [program("vqa-fuse"), "reproduce", "runs/demo-dynamic", "--json"]
        reproduced = json.loads(cost_of(again, Path(empty)).output)
    yield Row("`make demo` after installing", "s", cost.seconds, 180)
    what, total = "what `reproduce` finds different in it", reproduced["n_predictions"]
    yield Row(what, "predictions", reproduced["predictions"], 0, "all", total)


def cpu(place: Place) -> Iterator[Row]:
    found = overhead.measure(place.demo(128), _options("offline"))
    what, peer = "CPU time of an extraction, 128 videos, `offline`", "bare decoding and forward"
    yield Row(what, "s", found.whole, 1.15, peer, found.bare, of_ratio=True)


def throughput(place: Place) -> Iterator[Row]:
    names = {"offline": "Lite0 + TSM", "optimized": "B4 + TEA"}
    for precision, goals in (("fp32", (5, 3)), ("bf16", (7, 5))):
        for (preset, name), goal in zip(names.items(), goals, strict=True):
            options = replace(_options(preset), precision=precision)
            rates = plain_loop.measure(plain_loop.readable(place.demo(96), 48), options)
            speed, peer = (rates.videos / taken for taken in (rates.extraction, rates.loop))
            yield Row(
                f"extraction of 48 videos, {name}, {precision}",
                "videos/s",
                speed,
                goal,
                "a plain loop over decord and torch, float32",
                peer,
                of_ratio=True,
                at_least=True,
            )


MEASUREMENTS: dict[str, Callable[[Place], Iterator[Row]]] = {
    measure.__name__: measure for measure in (train, ablate, columns, demo, lsvq, cpu, throughput)
}


def _options(preset: str) -> ExtractOptions:
    """Of a preset, with random weights where it takes those of a hub: they cost the same."""
    options = ExtractOptions.from_mapping(presets.load(preset, "extract"), preset)
    if preset == "offline":
        return options
    return replace(
        options,
        spatial=[f"{name}:weights=none" for name in options.spatial],
        temporal=[f"{name}:weights=none" for name in options.temporal],
    )


def table(results: dict[str, list[Row]]) -> str:
    lines = ["| what | measured | limit or peer | ratio | goal | met |"]
    lines.append("|---|---|---|---|---|---|")
    for rows in results.values():
        for row in rows:
            peer = f"{row.peer}: {row.peer_measured:.3g} {row.unit}" if row.peer else ""
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            unit = "times" if row.of_ratio else row.unit
            goal = f"{'at least' if row.at_least else 'at most'} {row.goal:g} {unit}"
            cells = row.what, f"{row.measured:.3g} {row.unit}", peer, ratio, goal
            lines.append(f"| {' | '.join(cells)} | {'yes' if row.met else 'no'} |")
    return "\n".join(lines)


def load(path: Path = RESULTS) -> dict[str, list[Row]]:
    """What was measured, in the order of `MEASUREMENTS`."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    return {
        name: [Row(**row) for row in kept[name]["rows"]] for name in MEASUREMENTS if name in kept
    }


def _keep(name: str, rows: list[Row]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[name] = {
        "rows": [asdict(row) for row in rows],
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
    }
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")


def _commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


@click.command()
@click.option("--only", type=click.Choice(list(MEASUREMENTS)), multiple=True)
@click.option("--show", is_flag=True, help="Measure nothing; the table of what was measured.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where caches and videos are made and kept [default: a temporary folder].",
)
def main(only: tuple[str, ...], show: bool, folder: Path | None) -> None:
    """Speeds against their goals."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Place((folder or Path(temporary)).absolute())
        place.folder.mkdir(parents=True, exist_ok=True)
        for name in () if show else only or MEASUREMENTS:
            rows = list(MEASUREMENTS[name](place))
            _keep(name, rows)
            click.echo(table({name: rows}), err=True)
    click.echo(table(load()))


if __name__ == "__main__":
    main()
