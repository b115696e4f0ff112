"""The splits of VIDEVAL (Tu et al., IEEE TIP 2021), number by number: of videos, not of groups."""

import math

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from vqa_twostage.fuse.splits import Protocol, Split
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1
CONTENT_DISJOINT = False


def build(*, n: int = 100) -> Protocol:
    """The first ``n`` of VIDEVAL's 100 splits.

    They are those of scikit-learn's ``train_test_split(test_size=0.2)`` of the row numbers with
    ``random_state`` ``ceil(8.8 i)``, and of that training part with ``ceil(6.6 i)``, i = 1 to
    ``n``. They depend on the order of the rows and on their number: one video less is another
    division.
    """
    if n < 1:
        raise UsageError(f"videval: n={n}: n must be at least 1; VIDEVAL has 100")

    def divide(rows: pd.DataFrame) -> list[Split]:
        if len(rows) < 3:
            raise UsageError(
                f"videval: {len(rows)} videos cannot be divided into train, validation and test; "
                "take more"
            )
        splits = []
        for number in range(1, n + 1):
            rest, test = train_test_split(
                np.arange(len(rows)), test_size=0.2, random_state=math.ceil(8.8 * number)
            )
            train, val = train_test_split(rest, test_size=0.2, random_state=math.ceil(6.6 * number))
            splits.append(Split(number, np.sort(train), np.sort(val), np.sort(test)))
        return splits

    return divide
