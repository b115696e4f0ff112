"""Temporal Shift Module (Lin et al., ICCV 2019) inside a 2D network: neighbouring frames exchange channels.

In a network of inverted residuals the shift stands before the first convolution of each block that has a skip, as in
the published MobileNetV2. Without a video-trained checkpoint the 2D network's ImageNet weights are kept.

Letters: T frames of one video, C channels, h and w of a map.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from extract.stages import Extractor, stage_maps
from extract.weights import timm_network
from pipeline.errors import require

VERSION = 1


def build(*, network: str = "tf_efficientnet_lite0", n_div: int = 8, weights: str = "auto") -> Extractor:
    require(n_div >= 2, f"tsm: n_div must be at least 2, not {n_div}: two parts of 1/n_div of the channels move")
    model, preprocessing, digest = timm_network(network, weights)
    require(
        insert_shift(model, n_div) > 0,
        f"tsm: {network} has no inverted-residual block with a skip; choose tf_efficientnet_lite0 or alike",
    )
    return Extractor(model, lambda frames: stage_maps(model, frames), preprocessing, digest, frames_mix=True)


def insert_shift(network: nn.Module, n_div: int) -> int:
    """Puts the shift before the first convolution of every inverted-residual block with a skip; how many it found."""
    blocks = [
        module for module in network.modules() if hasattr(module, "conv_pwl") and getattr(module, "has_skip", False)
    ]
    for block in blocks:
        first = block.get_submodule("conv_pw")
        first.register_forward_pre_hook(lambda _, inputs: (shift(inputs[0], n_div),))
    return len(blocks)


def shift(maps: Float[Tensor, "T C h w"], n_div: int) -> Float[Tensor, "T C h w"]:
    """The first 1/n_div of the channels from the next frame, the second from the previous one, zeros at the ends."""
    fold = maps.shape[1] // n_div
    shifted = torch.zeros_like(maps)
    shifted[:-1, :fold] = maps[1:, :fold]
    shifted[1:, fold : 2 * fold] = maps[:-1, fold : 2 * fold]
    shifted[:, 2 * fold :] = maps[:, 2 * fold :]
    return shifted
