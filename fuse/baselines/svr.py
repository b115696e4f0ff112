"""Support-vector regression, RBF kernel, C and gamma by grid search: VIDEVAL's (Tu et al., IEEE TIP
2021).
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from sklearn.svm import SVR

from vqa_twostage.fuse.streams import Baseline

VERSION = 1
# C in 2^1..2^10, gamma in 2^-8..2^1, as published
COSTS = 2.0 ** np.arange(1, 11)
GAMMAS = 2.0 ** np.arange(-8, 2)


def build() -> Baseline:
    return candidates


def candidates(columns: int) -> Iterator[SVR]:
    for cost, gamma in product(COSTS, GAMMAS):
        yield SVR(C=cost, gamma=gamma)
