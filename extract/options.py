"""What `vqa-extract` can be told, each default once; the command line and the API share it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

DECODERS = ("auto", "decord", "pyav")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class ExtractOptions:
    """``spatial``, ``temporal`` and ``sampler`` are specs; ``workers`` 0 means one decoder per two cores, 1 to 8."""

    spatial: str = "efficientnet"
    temporal: tuple[str, ...] = ("tsm",)
    sampler: str = "uniform:frames=8"
    decoder: str = "auto"
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = 32
    workers: int = 0
    limit: int | None = None
