"""ResNet 18 to 152 (He et al., CVPR 2016), default 50, torchvision's ImageNet weights from the timm
hub.
"""

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.networks.timm_stages import model_of, timm_stages

VERSION = 1

# torchvision's first weights, on which SimpleVQA and its kin are built; newer recipes are
# timm_model:model=…
MODELS = {layers: f"resnet{layers}.tv_in1k" for layers in (18, 34, 50, 101, 152)}


def build(*, variant: int = 50, weights: str = "auto") -> Extractor:
    """Levels c1 to c5; with 50 layers and more of 64, 256, 512, 1024 and 2048 channels. UsageError
    for another ``variant``.
    """
    return timm_stages(model_of("resnet", MODELS, variant), weights=weights)
