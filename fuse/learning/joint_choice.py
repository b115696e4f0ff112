"""Whether a head is to learn from other datasets (`fuse.joint`), by the validation part.

That they help is taken to be right unless the validation part says otherwise: the head alone is
better there by more than chance makes, one standard error of the difference, or by .02, whichever
is less. A standard error alone would let few validation videos pass a dataset whose labels mean
something else; a fixed step alone would overlook, on many videos, what costs half of it.

Dimensions: N validation videos.
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from jaxtyping import Float

from vqa_twostage.fuse import metrics

LARGEST_STEP = 0.02

Scores = Float[np.ndarray, " N"]


def others_help(joint: Scores, alone: Scores, mos: Scores) -> bool:
    """Whether a head is kept whose members with other datasets give the scores ``joint``, and not
    one that was trained ``alone``. Scores without an SRCC are not, unless both have none.
    """
    gain = metrics.srcc(alone, mos) - metrics.srcc(joint, mos)
    if math.isnan(gain):
        return math.isnan(metrics.srcc(alone, mos))
    return gain <= min(LARGEST_STEP, error_of_difference(alone, joint, mos))


def error_of_difference(first: Scores, second: Scores, mos: Scores) -> float:
    """The standard error of the difference of two SRCC with the same labels, by the influence that
    each video has on them (the delta method, ranks taken as they are).
    """
    difference = _influences(first, mos) - _influences(second, mos)
    return float(difference.std() / math.sqrt(len(mos)))


def _influences(scores: Scores, mos: Scores) -> Scores:
    x, y = (_standardised_ranks(values) for values in (scores, mos))
    influences: Scores = x * y - np.mean(x * y) / 2 * (x**2 + y**2)
    return influences


def _standardised_ranks(values: Scores) -> Scores:
    ranks = scipy.stats.rankdata(values)
    standardised: Scores = (ranks - ranks.mean()) / ranks.std()
    return standardised
