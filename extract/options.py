"""What `vqa-extract` can be told, each default once; the command line and the API share it. No
torch here.
"""

from __future__ import annotations

from dataclasses import dataclass

from vqa_twostage.pipeline.errors import require

DECODERS = ("auto", "decord", "pyav")
PRECISIONS = ("fp32", "bf16", "fp16")
RUNTIMES = ("auto", "torch", "openvino")
FITS = ("crop", "pad", "stretch")
BATCH_FRAMES = {"cpu": 8, "cuda": 64}  # of one forward pass
CONVERTED_FROM = (
    32  # videos of a dataset from which converting networks for OpenVINO pays (docs/experiments.md)
)


@dataclass(frozen=True)
class ExtractOptions:
    """Which networks, on which frames, with what. Specs are ``name:key=value,…``, as on the command
    line.
    """

    spatial: str = "efficientnet"
    """Spec of the spatial backbone."""
    temporal: tuple[str, ...] = ("tsm",)
    """Specs of temporal models."""
    sampler: str = "uniform:frames=8"
    """Spec of which frames are looked at."""
    decoder: str = "auto"
    """``auto``, ``decord`` or ``pyav``."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: str = "fp32"
    """``fp32``, ``bf16`` or ``fp16``."""
    runtime: str = "auto"
    """``auto``, ``torch`` or ``openvino``."""
    batch_size: int = 0
    """Frames in one pass; 0 is `BATCH_FRAMES`."""
    workers: int = 0
    """Decoding processes; 0 is one per two cores, 1 to 8."""
    limit: int | None = None
    """Only so many videos, the first of the manifest or of the shard."""
    shard: str | None = None
    """``I/N``: only the I-th of N parts of the manifest, for N machines."""

    @property
    def rows(self) -> slice:
        """Which rows of a manifest: of a shard every N-th, so that all take about as long;
        UsageError.
        """
        if self.shard is None:
            return slice(self.limit)
        part, _, parts = self.shard.partition("/")
        known = part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)
        require(
            known,
            f"shard {self.shard!r} is not understood; give I/N, as in 2/4, the second of four "
            "parts",
        )
        start, step = int(part) - 1, int(parts)
        return slice(start, None if self.limit is None else start + self.limit * step, step)


@dataclass(frozen=True)
class View:
    """How an extractor looks at frames and what it keeps: the options that all of them share, in
    their specs.

    ``resolutions``: sides of the input in pixels joined by ``+``, whose features are put side by
    side in that order; ``auto`` is the one that came with the weights. ``fit``: one of `FITS`.
    ``grid``: side of the stored maps of c5 (c4, c3 and c2 are twice, four and eight times as
    large), 0 for none.
    """

    fit: str
    grid: int
    resolutions: tuple[int, ...]


def view(*, fit: str = "crop", grid: int = 0, resolutions: str = "auto") -> View:
    """UsageError for a value that cannot be."""
    require(fit in FITS, f"unknown fit {fit!r}; choose from {', '.join(FITS)}")
    require(
        0 <= grid <= 64,
        f"grid must be 0 (none) or the side of the stored maps of c5, as in grid=4, not {grid}",
    )
    sides = [] if resolutions == "auto" else resolutions.split("+")
    require(
        all(side.isdecimal() and 32 <= int(side) <= 4096 for side in sides)
        and len(set(sides)) == len(sides),
        f"resolutions={resolutions} is not understood; give sides of 32 to 4096 pixels, as in "
        "resolutions=224+336+448",
    )
    return View(fit, grid, tuple(map(int, sides)))
