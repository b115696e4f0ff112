"""The contract of the extractors, and what most of them are: a frozen network whose stages are pooled per frame.

A plug-in in ``extract/spatial`` or ``extract/temporal`` has a docstring, ``VERSION``, and ``build(**options)`` that
returns an `Extractor`. Statistics of every stage, not only of the last map: on KoNViD-1k they are worth .09 SRCC with a
ResNet-50 (ReLaX-VQA, 2024).

Letters: T frames of one video, S side of the input in pixels, C channels, h and w of a stage's map.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from extract.preprocess import Preprocessing
from extract.weights import timm_network

Maps = dict[str, Float[Tensor, "T _ _ _"]]


@dataclass(frozen=True)
class Extractor:
    """A frozen network as a function from the frames of one video to named features per frame.

    ``maps`` takes preprocessed frames [T, 3, S, S] and gives named maps [T, C, h, w]. ``frames_mix`` is true where a
    frame's features depend on its neighbours (temporal models): such frames must not be split between forward passes.
    """

    network: nn.Module
    maps: Callable[[Float[Tensor, "T 3 S S"]], Maps]
    preprocessing: Preprocessing
    weights_digest: str
    frames_mix: bool = False

    @torch.inference_mode()
    def __call__(self, frames: Float[Tensor, "T 3 S S"]) -> dict[str, Float[Tensor, "T _"]]:
        """Mean and standard deviation over space of every map: ``{"c1/mean": [T, C], "c1/std": …, "last/std": …}``."""
        features: dict[str, Tensor] = {}
        for name, values in self.maps(frames.contiguous(memory_format=torch.channels_last)).items():
            # statistics in float32 also where the network runs in half precision
            std, mean = torch.std_mean(values.float(), dim=(2, 3), correction=0)
            features |= {f"{name}/mean": mean, f"{name}/std": std}
        return features


def timm_stages(model: str, *, weights: str) -> Extractor:
    """A timm network: its stages ``c1`` (stride 2) to ``c5`` (stride 32), and ``last``, which its classifier pools."""
    network, preprocessing, digest = timm_network(model, weights)
    return Extractor(network, lambda frames: stage_maps(network, frames), preprocessing, digest)


def stage_maps(network: nn.Module, frames: Float[Tensor, "T 3 S S"]) -> Maps:
    """Maps of every stage of a timm network, named by stride: ``c<k>`` has stride ``2**k``."""
    last, stages = network.forward_intermediates(frames)  # type: ignore[operator]
    strides = [frames.shape[-1] / stage.shape[-1] for stage in stages]
    named = {f"c{round(math.log2(stride))}": stage for stride, stage in zip(strides, stages, strict=True)}
    return {**named, "last": last}
