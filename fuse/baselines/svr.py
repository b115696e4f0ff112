"""Support-vector regression, RBF kernel, C and gamma by grid search: VIDEVAL's (Tu et al., IEEE TIP 2021).

Letters: V videos, C columns.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from jaxtyping import Float
from sklearn.svm import SVR

VERSION = 1
# C in 2^1..2^10, gamma in 2^-8..2^1, as published
COSTS = 2.0 ** np.arange(1, 11)
GAMMAS = 2.0 ** np.arange(-8, 2)


def build() -> Callable[..., SVR]:
    return choose


def choose(
    train: Float[np.ndarray, "V C"],
    mos: Float[np.ndarray, " V"],
    val: Float[np.ndarray, "W C"],
    mos_val: Float[np.ndarray, " W"],
) -> SVR:
    """The pair of C and gamma with the lowest validation RMSE."""

    def error(pair: tuple[float, float]) -> float:
        fitted = SVR(C=pair[0], gamma=pair[1]).fit(train, mos)
        return float(np.mean((fitted.predict(val) - mos_val) ** 2))

    cost, gamma = min(product(COSTS, GAMMAS), key=error)
    return SVR(C=cost, gamma=gamma)
