"""Ridge regression, its penalty by validation.

Letters: V videos, C columns.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import Ridge

VERSION = 1
# in units of the number of columns, whose values lie in 0 to 1
PENALTIES = 10.0 ** np.arange(-6.0, 4.0, 0.5)


def build() -> Callable[..., Ridge]:
    return choose


def choose(
    train: Float[np.ndarray, "V C"],
    mos: Float[np.ndarray, " V"],
    val: Float[np.ndarray, "W C"],
    mos_val: Float[np.ndarray, " W"],
) -> Ridge:
    """The penalty with the lowest validation RMSE."""

    def error(penalty: float) -> float:
        fitted = Ridge(alpha=penalty * train.shape[1]).fit(train, mos)
        return float(np.mean((fitted.predict(val) - mos_val) ** 2))

    return Ridge(alpha=min(PENALTIES, key=error) * train.shape[1])
