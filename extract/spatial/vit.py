"""Vision transformers of the library transformers, default ViT-B/16 (Dosovitskiy et al., ICLR
2021), also DINOv2.

``model`` is a repository of the Hugging Face hub or a folder made by ``save_pretrained``; its
family must be one of `FAMILIES`. Frames may have any size, the position embeddings are
interpolated.

Dimensions: F frames, L tokens, S side of the input in pixels, C channels, h and w of a map.
"""

import inspect
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vqa_twostage.extract.extractor import Extractor, Frames, each_frame
from vqa_twostage.extract.networks.timm_stages import block_levels, token_maps
from vqa_twostage.extract.networks.weights import Checkpoint, transformers_network
from vqa_twostage.extract.preprocess import Preprocessing

VERSION = 1

# model types whose tokens are: class token where there is one, others (distillation, registers),
# patches row by row
FAMILIES = {
    "vit": "ViTModel",
    "deit": "DeiTModel",  # Touvron et al., ICML 2021, with the distillation token
    "beit": "BeitModel",  # Bao et al., ICLR 2022
    "dinov2": "Dinov2Model",  # Oquab et al., 2023
    "dinov2_with_registers": "Dinov2WithRegistersModel",  # Darcet et al., ICLR 2024
}
DEFAULT = Checkpoint(
    "google/vit-base-patch16-224",
    "vit",
    Preprocessing(224, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)


def build(*, model: str = DEFAULT.model, weights: str = "auto") -> Extractor:
    """``last``: the patches after the final norm; ``last/cls``: the class token there; c2 to c5:
    four evenly spaced blocks (3, 6, 9, 12 of 12). All of C channels, 768 by default, at a patch's
    stride.

    UsageError when the model's family does not fit, or its configuration or its weights cannot be
    had.
    """
    loaded = transformers_network(model, weights, FAMILIES, DEFAULT)
    network: Any = loaded.network
    patch, levels = network.config.patch_size, block_levels(network.config.num_hidden_layers)
    # networks without this option interpolate by themselves
    optional = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    options = {"interpolate_pos_encoding": True} if optional else {}

    def maps(frames: Frames) -> dict[str, Tensor]:
        outputs = network(frames, output_hidden_states=True, **options)
        side = int(frames.shape[-1]) // patch

        def spread(tokens: Float[Tensor, "F L C"]) -> Float[Tensor, "F C h w"]:
            return token_maps(tokens, side, side)

        final = outputs.last_hidden_state
        blocks = {name: spread(outputs.hidden_states[block]) for name, block in levels.items()}
        return {**blocks, "last": spread(final), "last/cls": final[:, 0]}

    return Extractor(network, each_frame(maps), loaded.preprocessing, loaded.digest)
