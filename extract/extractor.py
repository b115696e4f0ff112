"""The contract of the extractors, and what most of them are: a frozen network whose stages are
pooled per frame.

A plug-in in ``extract/spatial`` or ``extract/temporal`` has a docstring, ``VERSION``, and
``build(**options)`` that returns an `Extractor`. Statistics of every stage, not only of the last
map: on KoNViD-1k they are worth .09 SRCC with a ResNet-50 (ReLaX-VQA, 2024).

Letters: B units of N frames, M rows of features a unit, S side of the input in pixels, C channels,
h and w of a map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqa_twostage.extract.networks.weights import timm_network
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import require

Frames = Float[Tensor, "F 3 S S"]
Units = Float[Tensor, "B N 3 S S"]
# "c2" … "c5", "last": maps [B, M, C, h, w]; "last/cls" and the like, with a statistic's name:
# vectors [B, M, C]
Maps = dict[str, Float[Tensor, "B M ..."]]
Arrays = dict[str, Float[Tensor, "B M ..."]]

GRID_LEVELS = ("c2", "c3", "c4", "c5")


@dataclass(frozen=True)
class Extractor:
    """A frozen network as a function from units of frames to named maps.

    A unit is what must go through the network together: one frame (``unit_frames`` 1), N successive
    sampled frames (temporal models inside 2D networks), or, where ``of_clips``, the N frames of one
    clip of the sampler ``clips``. ``maps`` takes preprocessed units [B, N, 3, S, S] and gives M
    rows for each, where M divides N; units of one batch must not influence each other. ``network``
    is in eval mode and needs no gradients.
    """

    network: nn.Module
    maps: Callable[[Units], Maps]
    preprocessing: Preprocessing
    weights_digest: str
    unit_frames: int = 1
    of_clips: bool = False


class Pooled(nn.Module):
    """An extractor's maps pooled over space, which is what the cache stores.

    Every level gives ``mean`` and ``std``, ``last`` also ``max``; with ``grid`` > 0 the levels c5,
    c4, c3, c2 also give average-pooled maps of ``grid``, 2, 4 and 8 times ``grid`` to a side.
    """

    def __init__(self, extractor: Extractor, grid: int = 0) -> None:
        super().__init__()
        self.network = (
            extractor.network
        )  # registered, so that it moves between devices with this module
        self._maps = extractor.maps
        self._grid = grid

    def forward(self, units: Units) -> Arrays:
        arrays: Arrays = {}
        for name, values in self._maps(units).items():
            values = (
                values.float()
            )  # statistics in float32 also where the network runs in half precision
            if "/" in name:
                arrays[name] = values
                continue
            mean = values.mean(dim=(-2, -1))
            # written out: not every runtime knows std_mean
            arrays[f"{name}/mean"] = mean
            arrays[f"{name}/std"] = (
                (values - mean[..., None, None]).square().mean(dim=(-2, -1)).sqrt()
            )
            if name == "last":
                arrays["last/max"] = values.amax(dim=(-2, -1))
            if self._grid and name in GRID_LEVELS:
                require(
                    name != "c5" or self._grid <= min(values.shape[-2:]),
                    f"grid={self._grid} is more than the network's c5 has, {values.shape[-2]} to a "
                    "side",
                )
                side = self._grid * 2 ** (5 - int(name[1]))
                grid = F.adaptive_avg_pool2d(values.flatten(0, 1), side)
                arrays[f"{name}/grid"] = grid.unflatten(0, values.shape[:2])
        require(
            not self._grid or any(name.endswith("/grid") for name in arrays),
            f"grid={self._grid}, but the network gives no maps, only vectors; leave grid out",
        )
        return arrays


def each_frame(maps: Callable[[Frames], dict[str, Tensor]]) -> Callable[[Units], Maps]:
    """``maps`` of frames [F, 3, S, S] as maps of units: all frames of all units are one batch, M is
    N.
    """

    def of_units(units: Units) -> Maps:
        return {
            name: values.unflatten(0, units.shape[:2])
            for name, values in maps(units.flatten(0, 1)).items()
        }

    return of_units


def timm_stages(model: str, *, weights: str) -> Extractor:
    """A timm network: its stages ``c1`` (stride 2) to ``c5`` (stride 32), and ``last``, which its
    classifier pools.

    See `stage_maps` for networks without a pyramid. UsageError when timm has no such model, it
    gives no intermediate maps, or its weights cannot be had.
    """
    network, preprocessing, digest = timm_network(model, weights)
    require(
        hasattr(network, "forward_intermediates"),
        f"timm_model: {model} has no intermediate maps; choose another",
    )
    return Extractor(
        network, each_frame(lambda frames: stage_maps(network, frames)), preprocessing, digest
    )


def stage_maps(network: nn.Module, frames: Frames) -> dict[str, Tensor]:
    """Maps [F, C, h, w] of every stage of a timm network, named by stride: ``c<k>`` has stride
    ``2**k``.

    Of stages with the same stride the deepest counts. Where all have the same, as in plain vision
    transformers, four evenly spaced blocks are called c2 to c5 (`block_levels`). ``last`` are the
    final features, tokens laid out as a map without the class token, which is ``last/cls`` [F, C];
    where they are no map at all, ``last`` is the deepest stage.
    """
    final, stages = network.forward_intermediates(frames)  # type: ignore[operator]
    # as timm tells them: from sizes they cannot be read where the input is no multiple of 32
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
    height, width = map(int, deepest.shape[-2:])
    if not isinstance(final, Tensor) or final.ndim not in (3, 4):
        return {"last": deepest}
    if final.ndim == 4:
        return {
            "last": final.permute(0, 3, 1, 2)
            if getattr(network, "output_fmt", "") == "NHWC"
            else final
        }
    found = {
        "last": token_maps(final, height, width)
        if int(final.shape[1]) >= height * width
        else deepest
    }
    if getattr(network, "cls_token", None) is not None:
        found["last/cls"] = final[:, 0]
    return found
