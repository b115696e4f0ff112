"""TEA (Li et al., CVPR 2020): a Res2Net-50 with motion excitation and multiple temporal
aggregation.

Its authors published code and no checkpoint. So it starts as their training does: ImageNet weights
from the timm hub, temporal convolutions that are the identity or a shift, and motion excitation
drawn at random, here from seed 0 so that it is the same everywhere. An excitation that was never
trained scales each channel by up to a half either way, without meaning. ``weights=FILE`` takes a
checkpoint trained with the authors' code, or ImageNet weights under timm's names.

Same as the authors' code but for ``n_segment``, any number here, 8 or 16 there.
"""

from pathlib import Path

from vqa_twostage.extract.extractor import Extractor, each_frame
from vqa_twostage.extract.networks.tea import into_tea
from vqa_twostage.extract.networks.timm_stages import stage_maps
from vqa_twostage.extract.networks.weights import (
    SOURCES,
    digest,
    load_state,
    read_state,
    timm_network,
)
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1

NETWORK = "res2net50_26w_4s"


def build(*, n_segment: int = 8, weights: str = "auto") -> Extractor:
    """``n_segment``: frames of a unit. Levels c1 to c5, and ``last``, the c5 that the classifier
    pools.

    UsageError when the weights cannot be had or do not fit.
    """
    if n_segment < 1:
        raise UsageError(f"tea: n_segment must be at least 1, not {n_segment}")
    state = {} if weights in SOURCES else read_state(Path(weights))
    trained = any(".me." in name for name in state)
    # random weights are replaced below
    source = "none" if trained else weights
    loaded = timm_network(NETWORK, source, warn_random=not trained)
    model = loaded.network
    into_tea(model, n_segment)
    if trained:
        named = {name.removeprefix("base_model."): tensor for name, tensor in state.items()}
        load_state(model, named, weights)
    return Extractor(
        model,
        each_frame(lambda frames: stage_maps(model, frames)),
        loaded.preprocessing,
        digest(model.state_dict()),
        unit_frames=n_segment,
    )
