"""Temporal Shift Module (Lin et al., ICCV 2019) inside a 2D network: neighbouring frames exchange
channels.

The shift stands in the residual branch, before its first convolution: in every block of a ResNet
(every second one from ResNet-101 on, as published), and in each inverted residual that has a skip,
as in the published MobileNetV2. Without a video-trained checkpoint the 2D network's ImageNet
weights are kept. ``weights=FILE`` also takes the authors' checkpoints
(MIT-HAN-Lab/temporal-shift-module) for ``network=resnet50.a1_in1k`` and ``mobilenetv2_100``, with
their preprocessing, 224 pixels bilinear; those with non-local blocks do not fit.

Dimensions: F frames, F = B units of N frames, C channels, h and w of a map.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.extract.extractor import Extractor, each_frame
from vqa_twostage.extract.networks.timm_stages import stage_maps
from vqa_twostage.extract.networks.weights import (
    SOURCES,
    StateDict,
    digest,
    load_state,
    read_state,
    timm_network,
)
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError

VERSION = 2


def build(
    *,
    network: str = "tf_efficientnet_lite0",
    n_segment: int = 8,
    n_div: int = 8,
    weights: str = "auto",
) -> Extractor:
    """``n_segment``: frames of a unit; 2/``n_div`` of the channels move. Levels as of the timm
    network.

    UsageError when the network has no block to shift in, or the weights cannot be had or do not
    fit.
    """
    if n_segment < 1:
        raise UsageError(f"tsm: n_segment must be at least 1, not {n_segment}")
    if n_div < 2:
        raise UsageError(
            f"tsm: n_div must be at least 2, not {n_div}: two parts of 1/n_div of the channels move"
        )
    state = {} if weights in SOURCES else read_state(Path(weights))
    official = any(name.startswith("base_model.") for name in state)
    # random weights are replaced below
    source = "none" if official else weights
    loaded = timm_network(network, source, warn_random=not official)
    model, preprocessing, weights_digest = loaded.network, loaded.preprocessing, loaded.digest
    shifted = insert_shift(model, n_segment, n_div)
    if not shifted:
        raise UsageError(
            f"tsm: {network} has neither residual blocks as in ResNets nor inverted residuals with "
            "a skip; choose tf_efficientnet_lite0, mobilenetv2_100, resnet50.a1_in1k or similar"
        )
    if official:
        named, marked = _timm_names(model, state)
        if marked != shifted:
            raise UsageError(
                f"weights: {weights} was trained with shifts before {len(marked)} layers, which "
                f"are not the {len(shifted)} residual branches of {network}: another network, or "
                "another place than 'blockres'"
            )
        load_state(model, named, weights)
        weights_digest = digest(model.state_dict())
        preprocessing = Preprocessing(224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    maps = each_frame(lambda frames: stage_maps(model, frames))
    return Extractor(model, maps, preprocessing, weights_digest, unit_frames=n_segment)


def insert_shift(network: nn.Module, n_segment: int, n_div: int) -> set[str]:
    """Puts the shift before the first convolution of every residual branch; the names of those
    convolutions.
    """
    stages = {
        name: list(getattr(network, name, [])) for name in ("layer1", "layer2", "layer3", "layer4")
    }
    branches = set()
    if all(
        blocks and all(hasattr(block, "conv1") for block in blocks) for blocks in stages.values()
    ):
        step = 2 if len(stages["layer3"]) >= 23 else 1
        branches |= {
            f"{name}.{k}.conv1"
            for name, blocks in stages.items()
            for k in range(0, len(blocks), step)
        }
    for name, block in network.named_modules():
        if hasattr(block, "conv_pwl") and getattr(block, "has_skip", False):
            branches.add(f"{name}.conv_pw" if hasattr(block, "conv_pw") else f"{name}.conv_exp")
    for name in branches:
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs: (shift(inputs[0], n_segment, n_div),)
        )
    return branches


def shift(maps: Float[Tensor, "F C h w"], n_segment: int, n_div: int) -> Float[Tensor, "F C h w"]:
    """The first 1/n_div of the channels from the next frame, the second from the previous one,
    zeros at the ends.
    """
    units = maps.unflatten(0, (-1, n_segment))
    fold = maps.shape[1] // n_div
    nothing = torch.zeros_like(units[:, :1])
    later = torch.cat([units[:, 1:, :fold], nothing[:, :, :fold]], dim=1)
    earlier = torch.cat([nothing[:, :, :fold], units[:, :-1, fold : 2 * fold]], dim=1)
    return torch.cat([later, earlier, units[:, :, 2 * fold :]], dim=2).flatten(0, 1)


def _timm_names(network: nn.Module, state: StateDict) -> tuple[StateDict, set[str]]:
    """The authors' state dict under timm's names, and the layers that it wraps in a shift
    (``<layer>.net``).

    ResNets have the same names in both; a MobileNetV2 is there one list of ``features`` and
    ``conv``s.
    """
    layers: dict[str, str] = {}
    blocks = [
        (f"blocks.{s}.{b}", block)
        for s, stage in enumerate(getattr(network, "blocks", []))
        for b, block in enumerate(stage)
    ]
    for number, (name, block) in enumerate(blocks, start=1):
        own = [child for child, module in block.named_children() if list(module.parameters())]
        # every third of theirs is an activation
        layers |= {
            f"features.{number}.conv.{k + k // 2}": f"{name}.{child}" for k, child in enumerate(own)
        }
    for number, (conv, norm) in (
        (0, ("conv_stem", "bn1")),
        (len(blocks) + 1, ("conv_head", "bn2")),
    ):
        layers |= {f"features.{number}.0": conv, f"features.{number}.1": norm}
    named: StateDict = {}
    shifted = set()
    for name, tensor in state.items():
        layer, _, leaf = name.removeprefix("base_model.").rpartition(".")
        inner = layer.removesuffix(".net")
        timm_layer = layers.get(inner, inner)
        named[f"{timm_layer}.{leaf}"] = tensor
        if inner != layer:
            shifted.add(timm_layer)
    return named, shifted
