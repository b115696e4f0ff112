"""Random divisions of the groups (contents), by default 60/20/20."""

import numpy as np
import pandas as pd

from vqa_twostage.fuse.splits import Protocol, Split, group_names, split_by_group
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1
CONTENT_DISJOINT = True


def build(*, n: int = 10, train: float = 0.6, val: float = 0.2, seed: int = 0) -> Protocol:
    """``n`` divisions: ``train`` and ``val`` of the groups, and the rest for the test."""
    if not (n >= 1 and seed >= 0 and train > 0 and val > 0 and train + val < 1):
        raise UsageError(
            f"random: n={n},train={train},val={val},seed={seed}: n must be at least 1, seed at "
            "least 0, the parts above 0, train + val below 1"
        )

    def divide(rows: pd.DataFrame) -> list[Split]:
        groups = group_names("random", rows)
        n_val = max(1, round(val * len(groups)))
        n_test = max(1, round((1 - train - val) * len(groups)))
        if n_val + n_test >= len(groups):
            raise UsageError(
                f"random: train={train},val={val} of {len(groups)} groups (contents): {n_val} for "
                f"validation and {n_test} for the test leave none for training; give train more"
            )
        splits = []
        for number in range(seed, seed + n):
            order = groups[np.random.default_rng(number).permutation(len(groups))]
            test, others = order[:n_test], order[n_test:]
            splits.append(split_by_group(number, rows, test=test, val=others[:n_val]))
        return splits

    return divide
