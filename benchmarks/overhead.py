"""CPU time of an extraction against that of its bare parts: decoding the frames, and passing them
through the networks.

    python -m benchmarks.overhead --dataset videos/mos.csv --root videos --repeat 16

The rows of the dataset are taken several times over, so that starting processes and loading
networks, which do not grow with a dataset, do not decide. Both are of one run, in this order: bare,
whole, bare.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch

from benchmarks.command_cost import cpu_seconds
from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.extract.extraction.plan import plan_tracks
from vqa_twostage.extract.inference.runtime import Runtime, preprocessings
from vqa_twostage.extract.options import BATCH_FRAMES, RUNTIMES, ExtractOptions
from vqa_twostage.extract.results import Extraction
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline import presets, spec
from vqa_twostage.pipeline.datasets import Manifest, load_manifest


@dataclass(frozen=True)
class Overhead:
    """CPU seconds. ``before`` and ``after``: of decoding and of the forward passes."""

    before: tuple[float, float]
    whole: float
    after: tuple[float, float]
    extraction: Extraction

    @property
    def bare(self) -> float:
        return (sum(self.before) + sum(self.after)) / 2

    @property
    def ratio(self) -> float:
        return self.whole / self.bare


def measure(manifest: Manifest, options: ExtractOptions) -> Overhead:
    """UsageError as of `extract_dataset`."""
    before = bare(manifest, options)
    start = cpu_seconds()
    with tempfile.TemporaryDirectory() as cache:
        extraction = extract_dataset(manifest, cache, options)
    whole = cpu_seconds() - start
    assert extraction.done == len(manifest.rows), extraction.failed
    return Overhead(before, whole, bare(manifest, options), extraction)


def bare(manifest: Manifest, options: ExtractOptions) -> tuple[float, float]:
    """CPU seconds of decoding every video's frames, and of as many full batches as they fill."""
    choose = spec.resolve("extract.samplers", options.sampler).build()
    assert manifest.root is not None
    start, frames = cpu_seconds(), 0
    for path in manifest.rows["path"]:
        with open_video(manifest.root / str(path), options.decoder) as video:
            frames += sum(1 for _ in video.stream(np.unique(choose(video))))
    decode = cpu_seconds() - start
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(manifest))
    forward = 0.0
    for track in plan_tracks(manifest.name, Path("unused"), options, runtime).tracks:
        side, unit = track.extractor.preprocessing.size, track.extractor.unit_frames
        batch = max(1, BATCH_FRAMES[runtime.device.type] // unit)
        (preprocessing,) = preprocessings(track.extractor, track.view)
        _, network = runtime.load(track.extractor, preprocessing, track.view.grid, batch)
        units = torch.randint(0, 256, (batch, unit, 3, side, side), dtype=torch.uint8)
        network(units)  # the first pass prepares
        start = cpu_seconds()
        for _ in range(-(-frames // (batch * unit))):
            network(units)
        forward += cpu_seconds() - start
    return decode, forward


@click.command()
@click.option("--dataset", required=True)
@click.option("--root", type=click.Path(path_type=Path))
@click.option("--preset", default="offline", show_default=True)
@click.option("--runtime", type=click.Choice(RUNTIMES), default="auto", show_default=True)
@click.option("--decoder", default="pyav", show_default=True)
@click.option("--repeat", default=16, show_default=True)
def main(
    dataset: str, root: Path | None, preset: str, runtime: str, decoder: str, repeat: int
) -> None:
    manifest = load_manifest(dataset, root)
    rows = pd.concat(
        [manifest.rows.assign(id=manifest.rows["id"] + f"_{n}") for n in range(repeat)],
        ignore_index=True,
    )
    options = replace(
        ExtractOptions.from_mapping(presets.load(preset, "extract"), preset),
        runtime=runtime,
        decoder=decoder,
    )
    found = measure(replace(manifest, rows=rows), options)
    extraction = found.extraction
    click.echo(
        f"{len(rows)} videos, {extraction.frames} frames, {options.decoder}, preset {preset}, CPU "
        "seconds"
    )
    for name, (decode, forward) in (("before", found.before), ("after", found.after)):
        click.echo(
            f"  bare, {name:<8} decode {decode:7.2f}  forward {forward:7.2f}  together "
            f"{decode + forward:7.2f}"
        )
    click.echo(
        f"  {'whole':<14} {found.whole:7.2f}, wall {extraction.seconds:.1f}: {extraction.phases}"
    )
    loading = extraction.phases["load networks"]
    click.echo(
        f"  ratio {found.ratio:.3f}, without loading the networks "
        f"{(found.whole - loading) / found.bare:.3f}"
    )


if __name__ == "__main__":
    main()
