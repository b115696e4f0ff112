"""SlowFast-R50 8x8 (Feichtenhofer et al., ICCV 2019) on clips of 32 frames, Kinetics-400 weights.

The weights are PyTorchVideo's ``SLOWFAST_8x8_R50.pyth``: from torch's hub folder, else fetched into
it, or ``weights=FILE``; ``none`` is random, seeded, for tests. A clip gives one row: the mean over
time and space of the slow pathway's last 2048 channels, then of the fast one's 256, as SimpleVQA
(2022) uses them; and their standard deviation.

At 224 pixels the mean is what PyTorchVideo's classifier sees. At other sizes that averages windows
of 7 x 7, this averages everything.
"""

import logging
from http.client import HTTPException
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqa_twostage.extract.extractor import Extractor, Maps, Units
from vqa_twostage.extract.networks.hub import fetch_url
from vqa_twostage.extract.networks.slowfast import SlowFast
from vqa_twostage.extract.networks.weights import (
    digest,
    load_state,
    read_state,
    warn_of_random_weights,
)
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1

logger = logging.getLogger(__name__)

FILE = "SLOWFAST_8x8_R50.pyth"
URL = f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{FILE}"
FRAMES = 32


def build(*, weights: str = "auto") -> Extractor:
    """``last/mean`` and ``last/std``, [B, 1, 2304]. UsageError when the weights cannot be had or do
    not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for weights=none: the same random network everywhere
        network = SlowFast()
    if weights == "none":
        warn_of_random_weights("slowfast")
    else:
        path = _hub_file() if weights in ("auto", "hub") else Path(weights)
        # counts of training steps, which files from before PyTorch 0.4.1 lack and nothing here
        # reads
        counts = {
            name: count
            for name, count in network.state_dict().items()
            if name.endswith("num_batches_tracked")
        }
        load_state(network, {**counts, **read_state(path)}, str(path))
    # channels last, as frames come: 1.2 times the clips a second of the default on CPU
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last_3d)
    preprocessing = Preprocessing(224, "bilinear", (0.45,) * 3, (0.225,) * 3)
    return Extractor(
        network,
        lambda units: pooled(network, units),
        preprocessing,
        digest(network.state_dict()),
        unit_frames=FRAMES,
        of_clips=True,
    )


def pooled(network: nn.Module, units: Units) -> Maps:
    """Mean and standard deviation of both pathways' last maps over time and space, slow before
    fast.
    """
    maps: tuple[Float[Tensor, "B C t h w"], ...] = network(units.transpose(1, 2))
    # statistics in float32 also where the network runs in half precision
    rows = [pathway.float().flatten(2) for pathway in maps]
    return {
        "last/mean": torch.cat([row.mean(dim=2) for row in rows], dim=1)[:, None],
        "last/std": torch.cat([row.std(dim=2, correction=0) for row in rows], dim=1)[:, None],
    }


def _hub_file() -> Path:
    path = Path(torch.hub.get_dir(), "checkpoints", FILE)
    if not path.is_file():
        logger.warning("fetching %s", URL)
        try:
            fetch_url(URL, path)
        except (OSError, HTTPException) as error:
            raise UsageError(
                f"the weights {FILE} cannot be fetched ({error or type(error).__name__}).\n"
                f"Where there is a network: curl -LO {URL}\n"
                f"then here: weights=FILE, as in --temporal slowfast:weights=/path/to/{FILE}"
            ) from None
    return path
