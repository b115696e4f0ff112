"""CPU time of an extraction against that of its bare parts: decoding the frames, and passing them
through the networks.

    python -m benchmarks.overhead --dataset videos/mos.csv --root videos --repeat 16

The rows of the dataset are taken several times over, so that starting processes and loading
networks, which do not grow with a dataset, do not decide. Both are of one run, in this order: bare,
whole, bare.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch

from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.extract.extraction.plan import plan_tracks
from vqa_twostage.extract.inference.runtime import Runtime, preprocessings
from vqa_twostage.extract.options import BATCH_FRAMES, RUNTIMES, ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline import presets, spec
from vqa_twostage.pipeline.datasets import Manifest, load_manifest


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
    many = Manifest(
        manifest.name, manifest.title, manifest.label, manifest.scale, rows, manifest.root
    )
    options = replace(
        ExtractOptions.from_mapping(presets.load(preset, "extract"), preset),
        runtime=runtime,
        decoder=decoder,
    )
    first = bare(many, options)
    start = cpu()
    with tempfile.TemporaryDirectory() as cache:
        extraction = extract_dataset(many, cache, options)
    whole = cpu() - start
    second = bare(many, options)
    assert extraction.done == len(rows), extraction.failed
    click.echo(
        f"{len(rows)} videos, {extraction.frames} frames, {options.decoder}, preset {preset}, CPU "
        "seconds"
    )
    for name, (decode, forward) in (("bare, before", first), ("bare, after", second)):
        click.echo(
            f"  {name:<14} decode {decode:7.2f}  forward {forward:7.2f}  together "
            f"{decode + forward:7.2f}"
        )
    click.echo(f"  {'whole':<14} {whole:7.2f}, wall {extraction.seconds:.1f}: {extraction.phases}")
    together = (sum(first) + sum(second)) / 2
    loading = extraction.phases["load networks"]
    click.echo(
        f"  ratio {whole / together:.3f}, without loading the networks "
        f"{(whole - loading) / together:.3f}"
    )


def bare(manifest: Manifest, options: ExtractOptions) -> tuple[float, float]:
    """CPU seconds of decoding every video's frames, and of as many full batches as they fill."""
    choose = spec.resolve("extract.samplers", options.sampler).build()
    assert manifest.root is not None
    start, frames = cpu(), 0
    for path in manifest.rows["path"]:
        with open_video(manifest.root / str(path), options.decoder) as video:
            frames += sum(1 for _ in video.stream(np.unique(choose(video))))
    decode = cpu() - start
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(manifest))
    forward = 0.0
    for track in plan_tracks(manifest.name, Path("unused"), options, runtime).tracks:
        side, unit = track.extractor.preprocessing.size, track.extractor.unit_frames
        batch = max(1, BATCH_FRAMES[runtime.device.type] // unit)
        (preprocessing,) = preprocessings(track.extractor, track.view)
        network = runtime.load(track.extractor, preprocessing, track.view.grid, batch)
        units = torch.randint(0, 256, (batch, unit, 3, side, side), dtype=torch.uint8)
        network(units)  # the first pass prepares
        start = cpu()
        for _ in range(-(-frames // (batch * unit))):
            network(units)
        forward += cpu() - start
    return decode, forward


def cpu() -> float:
    """Seconds of this process and of those that it has ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
