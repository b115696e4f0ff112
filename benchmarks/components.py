"""What the networks cost: parameters, multiplications a frame, frames a second by runtime and
precision.

    python -m benchmarks.components
    python -m benchmarks.components --only tsm --only tea --precision bf16

Random weights and frames, no decoding: what the forward pass alone can do, at each network's own
size of frame and with the batch that `vqa-extract` would use. Rates are of one run, and comparable
with each other only.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.inference.runtime import Forward, Network, Runtime, choose_device
from vqa_twostage.extract.options import BATCH_FRAMES, CONVERTED_FROM, PRECISIONS, RUNTIMES
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

NETWORKS = {
    "spatial": ["resnet", "efficientnet", "efficientnet_lite0", "convnext", "vit"],
    "temporal": ["slowfast", "tea", "tsm", "tsm:network=resnet50.a1_in1k", "video_transformer"],
}


@click.command()
@click.option("--only", multiple=True, help="A spec; all that are compared by default.")
@click.option("--device", default="auto", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), multiple=True, help="Besides fp32.")
@click.option("--seconds", default=3.0, show_default=True, help="Measured for each rate.")
def main(only: tuple[str, ...], device: str, precision: tuple[str, ...], seconds: float) -> None:
    where = choose_device(device)
    click.echo(f"{where}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    click.echo(
        f"{'network':<30} {'frames':>6} {'side':>4} {'parameters':>10} {'GMACs/frame':>11}  "
        f"{'runtime':<8} {'':<4} {'frames/s':>8} {'ratio':>5}  largest difference, of the "
        "feature's spread"
    )
    for kind, names in NETWORKS.items():
        for name in names:
            if not only or name in only:
                measure(kind, name, where, ("fp32", *precision), seconds)


def measure(
    kind: str, name: str, device: torch.device, precisions: tuple[str, ...], seconds: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that random weights mean nothing
        extractor = spec.resolve(
            f"extract.{kind}", f"{name}{',' if ':' in name else ':'}weights=none"
        ).build()
    side, frames = extractor.preprocessing.size, extractor.unit_frames
    batch = max(1, BATCH_FRAMES[device.type] // frames)
    units = torch.randint(0, 256, (batch, frames, 3, side, side), dtype=torch.uint8)
    parameters = sum(parameter.numel() for parameter in extractor.network.parameters())
    line = (
        f"{name:<30} {frames:>6} {side:>4} {parameters / 1e6:>9.1f}M {macs(extractor) / 1e9:>11.2f}"
    )
    expected: dict[str, np.ndarray] = {}
    base = 0.0
    for runtime in runtimes(device, precisions):
        try:
            _, forward = runtime.load(extractor, extractor.preprocessing, 0, batch)
        except UsageError as error:
            click.echo(f"{line}  {runtime.name:<8} {runtime.precision:<4} {error}")
            continue
        found = forward(units)
        expected = expected or found
        rate = frames_a_second(forward, units, seconds)
        base = base or rate
        apart = max(
            float(np.abs(found[key] - expected[key]).max() / expected[key].std())
            for key in expected
        )
        click.echo(
            f"{line}  {runtime.name:<8} {runtime.precision:<4} {rate:>8.1f} {rate / base:>5.2f}  "
            f"{apart:.1e}"
        )
        line = " " * len(line)


def runtimes(device: torch.device, precisions: tuple[str, ...]) -> Iterator[Runtime]:
    for precision in precisions:
        for name in RUNTIMES[1:]:
            try:
                yield Runtime.of(name, str(device), precision, CONVERTED_FROM)
            except UsageError:
                continue  # not installed, or not for this device


def macs(extractor: Extractor) -> float:
    """Multiplications and additions of convolutions and matrix products, a frame."""
    side, frames = extractor.preprocessing.size, extractor.unit_frames
    network = Network(extractor, extractor.preprocessing, 0).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, frames, 3, side, side, dtype=torch.uint8))
    return counter.get_total_flops() / 2 / frames


def frames_a_second(forward: Forward, units: torch.Tensor, seconds: float) -> float:
    forward(units)
    start, passes = time.perf_counter(), 0
    while passes == 0 or time.perf_counter() - start < seconds:
        forward(units)  # ends with the features on the host, so nothing is still under way
        passes += 1
    return passes * units.shape[0] * units.shape[1] / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
