"""What executes a frozen network: torch on any device, or OpenVINO on a CPU. Not a choice of the
plug-ins.

Dimensions: B units of N frames, M rows of features a unit, S side of the input in pixels.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from vqa_twostage.extract.extractor import Arrays, Extractor, Pooled, View
from vqa_twostage.extract.inference import converted
from vqa_twostage.extract.inference.converted import Forward
from vqa_twostage.extract.options import (
    CONVERTED_FROM,
    DEVICE_CHOICES,
    PRECISIONS,
    RUNTIMES,
    check_choice,
    check_device,
)
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError, raise_interrupt, require, require_installed

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """``name`` is ``torch`` or ``openvino``, ``asked_for`` or found best; ``precision`` is one of
    `PRECISIONS`.
    """

    name: str
    device: torch.device
    precision: str
    asked_for: bool = False

    @staticmethod
    def of(choice: str, device: str, precision: str, videos: int) -> Runtime:
        """UsageError for what does not exist, is not installed or cannot go together.

        ``auto`` is OpenVINO where it is installed and the dataset has so many ``videos`` that
        converting networks pays. It does not ask how many are still to do: a run that goes on must
        go on with the same runtime.
        """
        check_choice("precision", precision, PRECISIONS)
        check_choice("runtime", choice, RUNTIMES)
        where = choose_device(device)
        fits = where.type == "cpu" and precision != "fp16"
        installed = importlib.util.find_spec("openvino") is not None
        if choice == "openvino":
            require_installed("the runtime openvino", ["openvino"], "openvino")
            require(
                fits,
                f"runtime 'openvino' is for --device cpu with fp32 or bf16, not {where} with "
                f"{precision}",
            )
        pays = choice == "openvino" or (choice == "auto" and videos >= CONVERTED_FROM)
        name = "openvino" if pays and fits and installed else "torch"
        return Runtime(name, where, precision, asked_for=choice != "auto")

    @property
    def identity(self) -> str:
        """What the cache's identity says: in float32 the runtimes agree, in less they round
        differently.
        """
        return self.precision if self.precision == "fp32" else f"{self.precision} {self.name}"

    def load(
        self, extractor: Extractor, preprocessing: Preprocessing, grid: int, batch: int
    ) -> tuple[str, Forward]:
        """What runs the network, this runtime or torch where this one cannot, and the network made
        ready for batches of this very shape; UsageError when it cannot take frames of that size.
        """
        network = Network(extractor, preprocessing, grid).eval()
        side = preprocessing.size
        example = torch.zeros(batch, extractor.unit_frames, 3, side, side, dtype=torch.uint8)
        if self.name == "openvino":
            try:
                return self.name, converted.load(network, example, self.precision)
            except Exception as error:  # noqa: BLE001  of many kinds, for networks that it cannot convert
                raise_interrupt(error)
                reason = (
                    str(error).strip().splitlines()[0][:200]
                    if str(error).strip()
                    else type(error).__name__
                )
                if self.asked_for or self.precision != "fp32":
                    raise UsageError(
                        f"OpenVINO cannot run this network ({reason}); choose --runtime torch"
                    ) from None
                warnings.warn(f"torch runs a network that OpenVINO cannot ({reason})", stacklevel=2)
        network.to(self.device)

        def forward(units: UInt8[Tensor, "B N 3 S S"]) -> dict[str, np.ndarray]:
            arrays = _torch(network, units, self.device, self.precision)
            return {name: values.cpu().numpy() for name, values in arrays.items()}

        return "torch", forward


@contextmanager
def full_float32() -> Iterator[None]:
    """Without TensorFloat-32, which cuDNN uses by default: "fp32" in an identity is to mean float32
    on a GPU as well. The settings of the calling program come back at the end.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings: list[tuple[Any, str, object]] = [
        (cudnn, "allow_tf32", False),
        (matmul, "allow_tf32", False),
    ]
    if hasattr(cudnn, "conv"):  # from torch 2.9 on; the names above cannot show all of its settings
        settings = [(item, "fp32_precision", "ieee") for item in (cudnn.conv, cudnn.rnn, matmul)]
    before = [getattr(item, name) for item, name, _ in settings]
    try:
        for item, name, value in settings:
            setattr(item, name, value)
        yield
    finally:
        for (item, name, _), value in zip(settings, before, strict=True):
            setattr(item, name, value)


@contextmanager
def few_threads(runtime: Runtime) -> Iterator[None]:
    """One thread for torch where it runs no network: what it does then, resizing and copying, is so
    little that its other threads would mostly wait, which they do busily, on the cores that
    decoders and networks need.
    """
    before = torch.get_num_threads()
    if runtime.name != "torch":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_view(extractor: Extractor, view: View) -> None:
    """UsageError when the network cannot take frames of the sizes asked for, or gives no such maps,
    or not alike.
    """
    found: dict[str, dict[str, int]] = {}
    for preprocessing in preprocessings(extractor, replace(view, crops=1)):
        side = preprocessing.size
        example = torch.zeros(1, extractor.unit_frames, 3, side, side, dtype=torch.uint8)
        try:
            arrays = _torch(
                Network(extractor, preprocessing, view.grid).eval(),
                example,
                torch.device("cpu"),
                "fp32",
            )
        except (AssertionError, RuntimeError, ValueError, LookupError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"resolutions: the network cannot take frames of {side} pixels ({reason}); "
                f"its own size is {extractor.preprocessing.size}"
            ) from None
        found[str(side)] = {name: values.shape[1] for name, values in arrays.items()}
    first, *others = found
    for other in others:
        require(
            found[other] == found[first],
            f"resolutions: the network gives other levels for frames of {other} pixels than for "
            f"{first}; "
            "choose multiples of 32",
        )


def preprocessings(extractor: Extractor, view: View) -> list[Preprocessing]:
    """One for each draw of patches and resolution of the view, all resolutions of a draw
    together.
    """
    viewed = view.applied_to(extractor.preprocessing)
    return [
        replace(viewed, size=size, draw=draw)
        for draw in range(view.crops)
        for size in view.resolutions or (viewed.size,)
    ]


class Network(nn.Module):
    """Pixels in, pooled features out: an extractor with its normalisation."""

    def __init__(self, extractor: Extractor, preprocessing: Preprocessing, grid: int) -> None:
        super().__init__()
        self._normalise = preprocessing.normalise
        self._pooled = Pooled(extractor, grid)

    def forward(self, units: UInt8[Tensor, "B N 3 S S"]) -> Arrays:
        return self._pooled(self._normalise(units.flatten(0, 1)).unflatten(0, units.shape[:2]))


def choose_device(choice: str) -> torch.device:
    """``auto`` is the first GPU where there is one; UsageError where ``choice`` is not a device of
    this machine.
    """
    check_device(choice)
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(1, device=choice).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"device {choice!r} cannot be used ({reason}); choose {DEVICE_CHOICES}"
        ) from None


@torch.inference_mode()
def _torch(
    network: Network, units: UInt8[Tensor, "B N 3 S S"], device: torch.device, precision: str
) -> Arrays:
    half = DTYPES[precision] if precision != "fp32" else None
    with torch.autocast(device.type, dtype=half, enabled=half is not None):
        return network(units.to(device))
