"""Networks converted for OpenVINO, and kept in the user's cache folder: converting takes seconds,
reading a tenth of one.

A kept network is used where weights, code, shapes, versions and processor are the same, and only
after it gave for a unit of noise what torch gives. So neither damage nor a change that the key does
not see reaches any feature.

Dimensions: B units of N frames, M rows of features a unit, S side of the input in pixels.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import io
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from jaxtyping import UInt8
from torch import Tensor, nn

from vqa_twostage.pipeline.checksum import content_of, with_checksum
from vqa_twostage.pipeline.files import replaced
from vqa_twostage.pipeline.user_cache import user_cache
from vqa_twostage.pipeline.versions import library_versions

FOLDER = "vqa-twostage-networks"
FORMAT = 1
# of the largest value of an array: how far a kept network may be from torch. In bfloat16 that says
# less: .16 were measured for noise
TOLERANCE = {"fp32": 2e-3, "bf16": 0.5}
# the least recently used beyond so many are removed
MOST_KEPT = 16
HINTS = {"fp32": "f32", "bf16": "bf16"}

# [B, N, 3, S, S] pixels -> name -> [B, M, C] or, for a grid, [B, M, C, h, w]
Forward = Callable[[UInt8[Tensor, "B N 3 S S"]], dict[str, np.ndarray]]
log = logging.getLogger(__name__)


def load(network: nn.Module, example: UInt8[Tensor, "B N 3 S S"], precision: str) -> Forward:
    """``network`` for batches of the shape of ``example``, from the user's cache folder or
    converted now and kept there.

    Raises whatever OpenVINO raises where it cannot convert the network, and ValueError where the
    converted network gives other features than torch in float32.
    """
    wanted = _OnNoise.of(network, example)
    try:
        file = user_cache(FOLDER) / f"{_key(network, example, precision)}.openvino"
    except RuntimeError:  # no home folder
        file = None
    if file is not None:
        kept = _read(file, precision)
        if kept is not None and wanted.difference(kept) <= TOLERANCE[precision]:
            _mark_as_used(file)
            return kept
    names, compiled = _convert(network, example, precision)
    converted = _forward(names, compiled)
    difference = wanted.difference(converted)
    if precision == "fp32" and not difference <= TOLERANCE[precision]:
        raise ValueError(f"its features differ from those of torch by {difference:.1%}")
    if file is not None:
        _keep(file, names, compiled)
    return converted


def _convert(
    network: nn.Module, example: UInt8[Tensor, "B N 3 S S"], precision: str
) -> tuple[list[str], Any]:
    """By OpenVINO's frontend and not by its `convert_model`, which sends telemetry about
    every conversion.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it lists what is new in torch and was not asked for
    try:
        with torch.no_grad():
            program = torch.export.export(network, (example,), strict=False)
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchFXPythonDecoder.from_exported_program(program)  # must outlive the conversion
        model = frontend.convert(frontend.load(decoder))
    finally:
        logging.disable(level)
    names = [str(name) for name in program.call_spec.out_spec.context]
    return names, openvino.compile_model(model, "CPU", _properties(precision))


def _properties(precision: str) -> dict[str, str]:
    # explicit, since OpenVINO uses bfloat16 by itself on a CPU that has it
    return {"INFERENCE_PRECISION_HINT": HINTS[precision]}


def _forward(names: list[str], compiled: Any) -> Forward:
    def forward(units: UInt8[Tensor, "B N 3 S S"]) -> dict[str, np.ndarray]:
        found = compiled([np.ascontiguousarray(units.numpy())])
        return {name: np.array(found[place]) for place, name in enumerate(names)}

    return forward


@dataclass(frozen=True, eq=False)
class _OnNoise:
    """What torch makes of the first of ``units``, which are noise."""

    units: UInt8[Tensor, "B N 3 S S"]
    wanted: dict[str, np.ndarray]

    @staticmethod
    def of(network: nn.Module, example: UInt8[Tensor, "B N 3 S S"]) -> _OnNoise:
        generator = torch.Generator().manual_seed(0)
        units = torch.randint(0, 256, example.shape, generator=generator, dtype=torch.uint8)
        with torch.inference_mode():
            arrays = network(units[:1])
        return _OnNoise(units, {name: array.numpy() for name, array in arrays.items()})

    def difference(self, converted: Forward) -> float:
        """The largest, as a share of the largest value of its array; infinite where the arrays are
        others.
        """
        found = {name: array[:1] for name, array in converted(self.units).items()}
        shapes = {name: array.shape for name, array in self.wanted.items()}
        if {name: array.shape for name, array in found.items()} != shapes:
            return float("inf")
        largest = {name: max(np.abs(array).max(), 1e-12) for name, array in self.wanted.items()}
        return max(
            float(np.abs(found[name] - array).max() / largest[name])
            for name, array in self.wanted.items()
        )


def _key(network: nn.Module, example: UInt8[Tensor, "B N 3 S S"], precision: str) -> str:
    """Of all that decides what the conversion gives, as far as it can be known without it."""
    import openvino

    weights = xxhash.xxh3_128()
    for name, tensor in network.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    options = [
        {key: repr(value) for key, value in vars(module).items() if _is_plain(value)}
        for module in network.modules()
    ]
    code = {_digest_of_code(module) for module in network.modules()}
    core = openvino.Core()
    content = {
        "format": FORMAT,
        "weights": weights.hexdigest(),
        "network": repr(network),
        "options": options,
        "code": sorted(code),
        "shape": list(example.shape),
        "precision": precision,
        "versions": library_versions(),
        "processor": [
            core.get_property("CPU", "FULL_DEVICE_NAME"),
            *core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
        ],
        "cores": os.cpu_count(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _digest_of_code(module: nn.Module) -> str:
    """Of the file that defines its class; empty where there is none, as in a notebook."""
    try:
        return _digest_of(inspect.getfile(type(module)))
    except (TypeError, OSError):
        return ""


@functools.cache
def _digest_of(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, float, str, tuple, type(None)))


def _read(file: Path, precision: str) -> Forward | None:
    """None where there is no such file, or none that is whole and that OpenVINO takes."""
    import openvino

    try:
        written = content_of(file.read_bytes())
    except OSError:
        return None
    if written is None:
        return None
    header, _, model = written.partition(b"\n")
    try:
        compiled = openvino.Core().import_model(io.BytesIO(model), "CPU", _properties(precision))
    except RuntimeError:  # such as that of another build of the same version
        return None
    return _forward(json.loads(header), compiled)


def _keep(file: Path, names: list[str], compiled: Any) -> None:
    """Where it can be written; without it, the next run converts again."""
    content = json.dumps(names).encode() + b"\n" + compiled.export_model().getvalue()
    try:
        with replaced(file) as aside:
            aside.write_bytes(with_checksum(content))
        for old in sorted(file.parent.glob("*.openvino"), key=_last_use)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.info("the converted network is not kept (%s)", error)


def _mark_as_used(file: Path) -> None:
    with suppress(OSError):
        os.utime(file)


def _last_use(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # removed meanwhile
        return 0.0
