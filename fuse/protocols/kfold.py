"""The groups (contents), shuffled once, in k folds, each of which is the test part once."""

import numpy as np
import pandas as pd

from vqa_twostage.fuse.splits import Protocol, Split, group_names, split_by_group
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1
CONTENT_DISJOINT = True


def build(*, k: int = 5, val: float = 0.2, seed: int = 0) -> Protocol:
    """``k`` folds; ``val`` of the groups outside the test fold are the validation part."""
    if not (k >= 2 and seed >= 0 and 0 < val < 1):
        raise UsageError(
            f"kfold: k={k},val={val},seed={seed}: k must be at least 2, seed at least 0, val "
            "between 0 and 1"
        )

    def divide(rows: pd.DataFrame) -> list[Split]:
        groups = group_names("kfold", rows)
        if k > len(groups):
            raise UsageError(
                f"kfold: k={k} of {len(groups)} groups (contents); give k at most {len(groups)}"
            )
        order = groups[np.random.default_rng(seed).permutation(len(groups))]
        splits = []
        for number, fold in enumerate(np.array_split(np.arange(len(groups)), k)):
            # the groups after the fold, in a circle: validation moves on with the test
            others = np.concatenate([order[fold[-1] + 1 :], order[: fold[0]]])
            n_val = max(1, round(val * len(others)))
            if n_val >= len(others):
                raise UsageError(
                    f"kfold: k={k},val={val} of {len(groups)} groups (contents): a fold leaves "
                    f"{len(others)}, {n_val} of them for validation and none for training; give k "
                    "more or val less"
                )
            test, val_groups = order[fold], others[:n_val]
            splits.append(split_by_group(seed + number, rows, test=test, val=val_groups))
        return splits

    return divide
