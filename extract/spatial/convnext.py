"""ConvNeXt tiny to large (Liu et al., CVPR 2022), default base, ImageNet weights from the hub."""

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.networks.timm_stages import model_of, timm_stages

VERSION = 1

# the authors' weights, trained on ImageNet-22k first: the best of theirs for each size; tested at
# 288 pixels
MODELS = {
    "tiny": "convnext_tiny.fb_in22k_ft_in1k",
    "small": "convnext_small.fb_in22k_ft_in1k",
    "base": "convnext_base.fb_in22k_ft_in1k",
    "large": "convnext_large.fb_in22k_ft_in1k",
}


def build(*, variant: str = "base", weights: str = "auto") -> Extractor:
    """Levels c2 to c5; with ``base`` of 128, 256, 512 and 1024 channels. UsageError for another
    ``variant``.
    """
    return timm_stages(model_of("convnext", MODELS, variant), weights=weights)
