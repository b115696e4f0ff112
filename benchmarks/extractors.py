"""Frames a second of each extractor by precision, and how far its features move from float32.

    python -m benchmarks.extractors --device auto

Random frames, no decoding: what the forward pass alone can do. Figures of one run, comparable with each other only.
"""

from __future__ import annotations

import time

import click
import torch

from extract.options import PRECISIONS
from extract.run import autocast, choose_device
from pipeline import spec

EXTRACTORS = [("spatial", "efficientnet_lite0"), ("spatial", "efficientnet:weights=none"), ("temporal", "tsm")]


@click.command()
@click.option("--device", default="auto", show_default=True)
@click.option("--frames", default=8, show_default=True, help="In one forward pass.")
@click.option("--repeats", default=10, show_default=True)
def main(device: str, frames: int, repeats: int) -> None:
    chosen = choose_device(device)
    click.echo(f"{chosen}, torch {torch.__version__}, {torch.get_num_threads()} threads, {frames} frames a pass")
    click.echo(
        f"{'extractor':<28} {'precision':<9} {'frames/s':>9} {'ratio':>6}  largest difference, of the feature's spread"
    )
    for kind, text in EXTRACTORS:
        extractor = spec.resolve(f"extract.{kind}", text).build()
        extractor.network.to(chosen)
        size = extractor.preprocessing.size
        batch = torch.randn(frames, 3, size, size, generator=torch.Generator().manual_seed(0)).to(chosen)
        exact: dict[str, torch.Tensor] = {}
        base = 0.0
        for precision in PRECISIONS:
            if chosen.type == "cpu" and precision == "fp16":
                continue  # no CPU kernels worth the name
            with autocast(chosen, precision):
                features = extractor(batch)
                _wait(chosen)
                start = time.perf_counter()
                for _ in range(repeats):
                    extractor(batch)
                _wait(chosen)
            rate = frames * repeats / (time.perf_counter() - start)
            exact, base = exact or features, base or rate
            worst = max(float((features[k] - exact[k]).abs().max() / exact[k].std()) for k in exact)
            click.echo(f"{text:<28} {precision:<9} {rate:>9.1f} {rate / base:>6.2f}  {worst:.1e}")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
