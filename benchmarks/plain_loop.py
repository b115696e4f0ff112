"""Frames a second of an extraction against the loop that people write: for each video decord's
batch, a resize, and both networks in torch, in float32.

    python -m benchmarks.plain_loop --dataset videos/mos.csv --root videos --preset offline
    python -m benchmarks.plain_loop --dataset videos/mos.csv --root videos --preset optimized

The networks and what is kept of them are the same, so that the two differ in nothing but how they
come to it. Each runs once before, over a few videos, so that nothing is measured cold and converted
networks are kept already. Videos that decord cannot read are left out of both.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch

from vqa_twostage.extract.extraction.plan import plan_tracks
from vqa_twostage.extract.inference.runtime import Network, Runtime, preprocessings
from vqa_twostage.extract.options import PRECISIONS, ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline import presets
from vqa_twostage.pipeline.datasets import Manifest, load_manifest

WARM_UP = 4  # videos


@dataclass(frozen=True)
class Rates:
    """``loop`` and ``extraction``: seconds for the same videos, loading of networks included."""

    videos: int
    loop: float
    extraction: float

    @property
    def ratio(self) -> float:
        return self.loop / self.extraction


def measure(manifest: Manifest, options: ExtractOptions) -> Rates:
    """UsageError as of `extract_dataset`."""
    few = replace(manifest, rows=manifest.rows[:WARM_UP])
    runtime = Runtime.of(
        options.runtime, options.device, options.precision, len(manifest.rows)
    ).name
    with tempfile.TemporaryDirectory() as cache:
        extract_dataset(few, Path(cache, "few"), replace(options, runtime=runtime))
        plain_loop(few, options)
        loop = plain_loop(manifest, options)
        start = time.perf_counter()
        extraction = extract_dataset(manifest, Path(cache, "all"), options)
        seconds = time.perf_counter() - start
    assert extraction.done == len(manifest.rows), extraction.failed
    return Rates(len(manifest.rows), loop, seconds)


@torch.inference_mode()
def plain_loop(manifest: Manifest, options: ExtractOptions) -> float:
    """Seconds of the loop; float32, whatever ``options`` say."""
    start = time.perf_counter()
    runtime = Runtime.of("torch", options.device, "fp32", len(manifest.rows))
    tracks = plan_tracks(
        manifest.name, Path("unused"), replace(options, precision="fp32"), runtime
    ).tracks
    networks = [
        (track.extractor.unit_frames, preprocessing, Network(track.extractor, preprocessing, 0))
        for track in tracks
        for preprocessing in preprocessings(track.extractor, track.view)
    ]
    assert manifest.root is not None
    kept = []
    for path in manifest.rows["path"]:
        pixels = torch.from_numpy(frames_of(manifest.root / str(path)))
        for unit, preprocessing, network in networks:
            units = preprocessing.resize(pixels).unflatten(0, (-1, unit))
            arrays = network.eval().to(runtime.device)(units.to(runtime.device))
            kept.append({name: values.cpu().numpy() for name, values in arrays.items()})
    return time.perf_counter() - start


def frames_of(path: Path) -> np.ndarray:
    """Eight frames, evenly spaced as SimpleVQA and others sample; DECORDError where decord cannot
    read them.
    """
    import decord

    reader = decord.VideoReader(str(path))
    pixels: np.ndarray = reader.get_batch(
        np.linspace(0, len(reader) - 1, 8).round().astype(int)
    ).asnumpy()
    return pixels


def readable(manifest: Manifest, videos: int) -> Manifest:
    """The first so many that decord can read."""
    import decord

    assert manifest.root is not None
    chosen: list[int] = []
    for row, path in enumerate(manifest.rows["path"]):
        if len(chosen) == videos:
            break
        with suppress(decord.DECORDError):
            frames_of(manifest.root / str(path))
            chosen.append(row)
    return replace(manifest, rows=manifest.rows.iloc[chosen])


@click.command()
@click.option("--dataset", required=True)
@click.option("--root", type=click.Path(path_type=Path))
@click.option("--preset", default="offline", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True)
@click.option("--videos", default=48, show_default=True)
def main(dataset: str, root: Path | None, preset: str, precision: str, videos: int) -> None:
    manifest = load_manifest(dataset, root)
    manifest = readable(manifest, videos)
    options = replace(
        ExtractOptions.from_mapping(presets.load(preset, "extract"), preset), precision=precision
    )
    rates = measure(manifest, options)
    click.echo(
        f"{rates.videos} videos, preset {preset}, {precision}: loop {rates.loop:.1f} s, extraction "
        f"{rates.extraction:.1f} s, {rates.ratio:.2f} times as fast"
    )


if __name__ == "__main__":
    main()
