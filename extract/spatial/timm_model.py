"""Any network of timm by its name, as in model=regnety_032.ra_in1k, weights from the timm hub."""

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.networks.timm_stages import timm_stages

VERSION = 1


def build(*, model: str, weights: str = "auto") -> Extractor:
    """Levels and channels are the network's (`extract.networks.timm_stages.stage_maps`).

    UsageError when timm has no such model.
    """
    return timm_stages(model, weights=weights)
