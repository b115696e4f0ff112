"""Options of `vqa-extract`, each default once; the command line and the Python functions share
them. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from vqa_twostage.pipeline.addresses import require_local
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.limits import SCRATCH_GB, parse_limits
from vqa_twostage.pipeline.ray_cluster import ENGINES, check_address

DECODERS = ("auto", "decord", "pyav")
PRECISIONS = ("fp32", "bf16", "fp16")
RUNTIMES = ("auto", "torch", "openvino")
HDRS = ("tonemap", "clip", "refuse")
FITS = ("crop", "pad", "stretch", "native", "fragments")
SHOWN = ("frames", "residual")
DEVICE = re.compile(r"auto|(cpu|cuda)(:[0-9]+)?")
DEVICE_CHOICES = "auto, cpu, cuda or cuda:N"
SHARD = re.compile(r"([0-9]+)/([0-9]+)", re.ASCII)
BATCH_FRAMES = {"cpu": 8, "cuda": 64}  # of one forward pass
LARGEST_BATCH = 4096
# videos of a dataset from which converting networks for OpenVINO pays (docs/experiments.md)
CONVERTED_FROM = 32


@dataclass(frozen=True)
class ExtractOptions:
    """Which networks, on which frames, with what. Specs are ``name:key=value,…``, as on the command
    line.

    UsageError for a value that no run could use; whether a spec names a plug-in and whether the
    device exists is checked when a run begins.
    """

    spatial: Sequence[str] = ("efficientnet",)
    """Specs of spatial backbones; a single one may be a plain string. Always kept as a tuple."""
    temporal: Sequence[str] = ("tsm",)
    """Specs of temporal models; a single one may be a plain string. Always kept as a tuple."""
    sampler: str = "uniform:frames=8"
    """Spec of the sampler, which chooses the frames."""
    decoder: str = "auto"
    """``auto``, which is PyAV, ``pyav``, or ``decord`` for files that it decodes exactly."""
    hdr: str = "tonemap"
    """What becomes of HDR video: ``tonemap`` makes it SDR (`extract.decoding.hdr`), ``clip`` takes
    its values as if they were SDR, ``refuse`` uses no such video."""
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
    limits: str = ""
    """What a video may take, ``KEY=VALUE,…``; what is left out is as in `Limits`."""
    limit: int | None = None
    """Only so many videos, the first of the manifest or of the shard."""
    wait: bool = False
    """Whether to wait while another process writes to the same tracks, instead of refusing."""
    shard: str | None = None
    """``I/N``: only the I-th of N parts of the manifest, for N machines."""
    engine: str = "local"
    """``local``, this machine, or ``ray``, a Ray cluster."""
    ray_address: str | None = None
    """``auto`` or ``HOST:PORT``; None is the cluster that runs here, else one that is started."""
    scratch: str = ""
    """The folder that videos at addresses are copied to while they are decoded; "" is that of
    temporary files."""
    scratch_gb: float = SCRATCH_GB
    """GB (10^9 bytes) that these copies may take at once; a larger video is copied alone."""

    def __post_init__(self) -> None:
        for kind, one, other in (("spatial", "resnet", "vit"), ("temporal", "tsm", "tea")):
            object.__setattr__(self, kind, _specs(kind, getattr(self, kind), one, other))
        if not (self.spatial or self.temporal):
            raise UsageError("name a backbone at least, such as spatial='efficientnet'")
        _check_spec("sampler", self.sampler, "uniform:frames=8")
        check_choice("decoder", self.decoder, DECODERS)
        check_choice("hdr", self.hdr, HDRS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("runtime", self.runtime, RUNTIMES)
        check_device(self.device)
        if not isinstance(self.limits, str):
            raise UsageError(f"limits must be text as in 'memory=16', not {self.limits!r}")
        parse_limits(self.limits)
        _check_count("batch_size", self.batch_size, 0, LARGEST_BATCH)
        _check_count("workers", self.workers, 0)
        if self.limit is not None:
            _check_count("limit", self.limit, 1)
        if self.shard is not None:
            _shard(self.shard)
        check_choice("engine", self.engine, ENGINES)
        check_address(self.engine, self.ray_address)
        if self.engine == "ray" and ":" in self.device:
            raise UsageError(
                f"device {self.device!r} names a GPU of one machine, and Ray chooses; give 'cuda'"
            )
        if not isinstance(self.scratch, str):
            raise UsageError(f"scratch must be the path of a folder, not {self.scratch!r}")
        require_local(self.scratch, "scratch", "give a folder of this machine")
        if isinstance(self.scratch_gb, bool) or not self.scratch_gb > 0:
            raise UsageError(f"scratch_gb must be a number above 0, not {self.scratch_gb!r}")

    @staticmethod
    def from_mapping(options: Mapping[str, Any], where: str) -> ExtractOptions:
        """The options that a file or a table holds; UsageError begins with ``where`` they stand."""
        names = [field.name for field in fields(ExtractOptions)]
        if unknown := [str(name) for name in options if name not in names]:
            raise UsageError(
                f"{where}: unknown option {', '.join(unknown)}; choose from {', '.join(names)}"
                f"{close_to(unknown[0], names)}"
            )
        try:
            return ExtractOptions(**options)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    @property
    def rows(self) -> slice:
        """Which rows of a manifest: of a shard every N-th, so that all take about as long."""
        if self.shard is None:
            return slice(self.limit)
        part, parts = _shard(self.shard)
        stop = None if self.limit is None else part - 1 + self.limit * parts
        return slice(part - 1, stop, parts)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """UsageError unless ``value`` is one of ``choices``; ``name`` is that of the option."""
    if not isinstance(value, str) or value not in choices:
        raise UsageError(
            f"unknown {name} {value!r}; choose from {', '.join(choices)}{close_to(value, choices)}"
        )


def check_device(value: object) -> None:
    """UsageError unless ``value`` is written as a device; it need not exist on this machine."""
    if not isinstance(value, str) or not DEVICE.fullmatch(value):
        raise UsageError(f"unknown device {value!r}; choose {DEVICE_CHOICES}")


def _specs(name: str, value: object, one: str, other: str) -> tuple[str, ...]:
    """One spec or several, as a tuple."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence):
        raise UsageError(
            f"{name} must be a spec or several, as in {one!r} or {[one, other]}, not {value!r}"
        )
    for text in texts:
        _check_spec(name, text, one)
    return tuple(texts)


def _check_spec(name: str, value: object, example: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name} must be a spec, as in {example!r}, not {value!r}")


def _check_count(name: str, value: object, lowest: int, highest: int | None = None) -> None:
    if (
        isinstance(value, bool)  # which Python takes for an integer
        or not isinstance(value, int)
        or value < lowest
        or (highest is not None and value > highest)
    ):
        choices = f"of {lowest} or more" if highest is None else f"from {lowest} to {highest}"
        raise UsageError(f"{name} must be a whole number {choices}, not {value!r}")


def _shard(text: object) -> tuple[int, int]:
    """``"2/4"`` -> (2, 4); UsageError where no part of a manifest is written so."""
    match = SHARD.fullmatch(text) if isinstance(text, str) else None
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise UsageError(
            f"shard {text!r} is not understood; give I/N, as in 2/4, the second of four parts"
        )
    return part, parts
