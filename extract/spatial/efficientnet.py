"""EfficientNet B0 to B7 (Tan and Le, ICML 2019), default B4, ImageNet weights from the timm hub."""

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.networks.timm_stages import model_of, timm_stages

VERSION = 1

# the best ImageNet weights that timm offers for each size without extra training data where it has
# them
MODELS = {
    "b0": "efficientnet_b0.ra_in1k",
    "b1": "efficientnet_b1.ft_in1k",
    "b2": "efficientnet_b2.ra_in1k",
    "b3": "efficientnet_b3.ra2_in1k",
    "b4": "efficientnet_b4.ra2_in1k",
    "b5": "tf_efficientnet_b5.aa_in1k",
    "b6": "tf_efficientnet_b6.aa_in1k",
    "b7": "tf_efficientnet_b7.aa_in1k",
}


def build(*, variant: str = "b4", weights: str = "auto") -> Extractor:
    """Levels c1 to c5. UsageError for another ``variant``."""
    return timm_stages(model_of("efficientnet", MODELS, variant), weights=weights)
