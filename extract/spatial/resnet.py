"""ResNet 18 to 152 (He et al., CVPR 2016), default 50, torchvision's ImageNet weights from the timm
hub.
"""

from vqa_twostage.extract.extractor import Extractor, timm_stages
from vqa_twostage.pipeline.errors import require

VERSION = 1

# torchvision's first weights, on which SimpleVQA and its kin are built; newer recipes are
# timm_model:model=…
MODELS = {layers: f"resnet{layers}.tv_in1k" for layers in (18, 34, 50, 101, 152)}


def build(*, variant: int = 50, weights: str = "auto") -> Extractor:
    """Levels c1 to c5; with 50 layers and more of 64, 256, 512, 1024 and 2048 channels. UsageError
    for another ``variant``.
    """
    require(
        variant in MODELS,
        f"resnet has no variant {variant}; choose from {', '.join(map(str, MODELS))}",
    )
    return timm_stages(MODELS[variant], weights=weights)
