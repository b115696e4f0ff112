"""Video transformers of the library transformers, default VideoMAE-B (Tong et al., NeurIPS 2022),
on clips.

``model`` is a repository of the Hugging Face hub or a folder made by ``save_pretrained``; its
family must be one of `FAMILIES`. Their position embeddings are made for one size of frames and one
length of clips, so both are the model's.

Dimensions: B clips of N frames, M groups of successive frames that share tokens (N / M is the
tubelet's length, 2 as a rule; 1 in TimeSformer), S side of the input in pixels, L tokens, C
channels, h and w of a map.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from vqa_twostage.extract.extractor import Extractor, Maps, Units
from vqa_twostage.extract.networks.timm_stages import block_levels
from vqa_twostage.extract.networks.weights import Checkpoint, transformers_network
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1

FAMILIES = {
    "videomae": "VideoMAEModel",
    "timesformer": "TimesformerModel",  # Bertasius et al., ICML 2021
    "vivit": "VivitModel",  # Arnab et al., ICCV 2021
    "vjepa2": "VJEPA2Model",  # Assran et al., 2025; its encoder
}
IMAGENET = Preprocessing(224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# the family's own configuration, but that of the pre-trained models ends in a norm, and of the
# fine-tuned does not
DEFAULT = Checkpoint("MCG-NJU/videomae-base", "videomae", IMAGENET, {"use_mean_pooling": False})


def build(*, model: str = DEFAULT.model, weights: str = "auto") -> Extractor:
    """``last``: the model's last hidden state; c2 to c5: four evenly spaced blocks. All of C
    channels, 768 by default, at a patch's stride, M rows a clip.

    UsageError when the model's family does not fit, or its configuration or its weights cannot be
    had.
    """
    loaded = transformers_network(model, weights, FAMILIES, DEFAULT)
    network: Any = loaded.network
    config = network.config
    if getattr(config, "attention_type", "") == "space_only":
        raise UsageError(
            f"video_transformer: {model} looks at each frame alone (space_only); choose one with "
            "attention over time"
        )
    frames = int(getattr(config, "frames_per_clip", 0) or config.num_frames)
    size = int(getattr(config, "crop_size", 0) or config.image_size)
    tubelet = getattr(config, "tubelet_size", 1)
    # ViViT gives time, height and width of a tubelet in one
    time, patch = tubelet[:2] if isinstance(tubelet, list | tuple) else (tubelet, config.patch_size)
    rows, side = frames // time, size // patch
    levels = block_levels(config.num_hidden_layers)
    # V-JEPA 2 would go on and predict masked tokens
    options: dict[str, Any] = {"skip_predictor": True} if config.model_type == "vjepa2" else {}

    def spread(tokens: Float[Tensor, "B L C"]) -> Float[Tensor, "B M C h w"]:
        # a class token stands first where there is one
        patches = tokens[:, tokens.shape[1] - rows * side * side :]
        # the frames of a patch follow each other; elsewhere the patches of a frame do
        if config.model_type == "timesformer":
            return patches.unflatten(1, (side, side, rows)).permute(0, 3, 4, 1, 2)
        return patches.unflatten(1, (rows, side, side)).permute(0, 1, 4, 2, 3)

    def maps(units: Units) -> Maps:
        if int(units.shape[-1]) != size:
            raise UsageError(
                f"{model} cannot take frames of {units.shape[-1]} pixels; its own size is {size}; "
                "leave resolutions out"
            )
        outputs = network(units, output_hidden_states=True, **options)
        blocks = {name: spread(outputs.hidden_states[block]) for name, block in levels.items()}
        return {**blocks, "last": spread(outputs.last_hidden_state)}

    return Extractor(
        network,
        maps,
        loaded.preprocessing,
        loaded.digest,
        unit_frames=frames,
        of_clips=True,
    )
