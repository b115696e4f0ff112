"""timm networks as extractors: their stages named by stride.

Dimensions: F frames, L tokens, C channels, h and w of a map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.extract.extractor import GRID_LEVELS, Extractor, Frames, each_frame
from vqa_twostage.extract.networks.weights import timm_network
from vqa_twostage.pipeline.errors import UsageError, close_to

Variant = TypeVar("Variant", int, str)


def model_of(family: str, models: Mapping[Variant, str], variant: Variant) -> str:
    """The timm model of a variant; UsageError that lists the variants of ``family`` otherwise."""
    if variant not in models:
        raise UsageError(
            f"{family} has no variant {variant!r}; choose from {', '.join(map(str, models))}"
            f"{close_to(variant, models)}"
        )
    return models[variant]


def timm_stages(model: str, *, weights: str) -> Extractor:
    """A timm network: its stages ``c1`` (stride 2) to ``c5`` (stride 32), and ``last``, which its
    classifier pools.

    See `stage_maps` for networks without a pyramid. UsageError when timm has no such model, it
    gives no intermediate maps, or its weights cannot be had.
    """
    loaded = timm_network(model, weights)
    network = loaded.network
    if not hasattr(network, "forward_intermediates"):
        raise UsageError(f"timm_model: {model} has no intermediate maps; choose another")
    maps = each_frame(lambda frames: stage_maps(network, frames))
    return Extractor(network, maps, loaded.preprocessing, loaded.digest)


def stage_maps(network: nn.Module, frames: Frames) -> dict[str, Tensor]:
    """Maps [F, C, h, w] of every stage of a timm network, named by stride: ``c<k>`` has stride
    ``2**k``.

    Of stages with the same stride the deepest counts. Where all have the same, as in plain vision
    transformers, four evenly spaced blocks are called c2 to c5 (`block_levels`). ``last`` are the
    final features; tokens are laid out as a map, without the class token, which is ``last/cls``
    [F, C]. Where the final features are not a map, ``last`` is the deepest stage.
    """
    final, stages = network.forward_intermediates(frames)  # type: ignore[operator]
    # from timm: sizes do not give them where the input is not a multiple of 32
    strides = [stage.get("reduction", 0) for stage in getattr(network, "feature_info", None) or []]
    if len(strides) != len(stages) or not all(strides):
        strides = [frames.shape[-1] / stage.shape[-1] for stage in stages]
    if len(set(strides)) == 1:
        named = {name: stages[block - 1] for name, block in block_levels(len(stages)).items()}
    else:
        named = {
            f"c{round(math.log2(stride))}": stage
            for stride, stage in zip(strides, stages, strict=True)
        }
    return {**named, **_final_maps(network, final, stages[-1])}


def block_levels(blocks: int) -> dict[str, int]:
    """Which of ``blocks`` equal blocks, counted from 1, stand for c2 to c5: evenly spaced, c5 is
    the last.
    """
    return {
        name: math.ceil(blocks * quarter / 4) for quarter, name in enumerate(GRID_LEVELS, start=1)
    }


def token_maps(tokens: Float[Tensor, "F L C"], height: int, width: int) -> Float[Tensor, "F C h w"]:
    """Tokens in reading order as a map; what stands before the last ``height * width`` of them is
    left out.
    """
    return (
        tokens[:, tokens.shape[1] - height * width :].transpose(1, 2).unflatten(2, (height, width))
    )


def _final_maps(
    network: nn.Module, final: Any, deepest: Float[Tensor, "F C h w"]
) -> dict[str, Tensor]:
    """``final`` is a map with channels first or last, tokens, or, rarely, something else."""
    if not isinstance(final, Tensor) or final.ndim not in (3, 4):
        return {"last": deepest}
    if final.ndim == 4:
        channels_last = getattr(network, "output_fmt", "") == "NHWC"
        return {"last": final.permute(0, 3, 1, 2) if channels_last else final}
    height, width = map(int, deepest.shape[-2:])
    is_map = int(final.shape[1]) >= height * width
    maps = {"last": token_maps(final, height, width) if is_map else deepest}
    if getattr(network, "cls_token", None) is not None:
        maps["last/cls"] = final[:, 0]
    return maps
