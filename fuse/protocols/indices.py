"""Permutations of a published index file, as VSFA (Li et al., ACM MM 2019) divides by them.

Dimensions: P permutations of M references.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from vqa_twostage.fuse.splits import Protocol, Split, split_of_masks
from vqa_twostage.pipeline.datasets.index_files import read_index_file
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1
CONTENT_DISJOINT = False


def build(*, file: Path, n: int = 10, train: float = 0.6, val: float = 0.2) -> Protocol:
    """The first ``n`` permutations of ``file``.

    Of each permutation's references the first ``train`` are for training, the next ``val`` for
    validation, the rest for the test, and a video goes where its reference goes; without
    ``ref_ids`` the i-th row is the i-th reference.
    """
    if not (n >= 1 and train > 0 and val > 0 and train + val < 1):
        raise UsageError(
            f"indices: n={n},train={train},val={val}: n must be at least 1, the parts above 0, "
            "train + val below 1"
        )

    def divide(rows: pd.DataFrame) -> list[Split]:
        permutations, references = read_index_file(file)
        count, m = permutations.shape
        if n > count:
            raise UsageError(
                f"indices: n={n}, and {file} holds {count} permutations; give n at most {count}"
            )
        references = np.arange(m) if references is None else references
        if len(references) != len(rows):
            raise UsageError(
                f"indices: {file} divides {len(references)} videos and there are {len(rows)}; "
                "give the index file of this dataset, and features of all of its videos"
            )
        # VSFA's own arithmetic, from the end: 0.6 of 1200 are 721 in it, since 1 - 0.2 - 0.2 is a
        # little more than 0.6
        rest = round(1 - train - val, 9)
        ends = [math.ceil((1 - rest - val) * m), math.ceil((1 - rest) * m)]
        splits = []
        for number, order in enumerate(permutations[:n]):
            masks = [np.isin(references, part) for part in np.split(order, ends)]
            if not all(mask.any() for mask in masks):
                raise UsageError(
                    f"indices: train={train},val={val} of {m} references leave a part of "
                    f"permutation {number + 1} without videos; give that part more"
                )
            splits.append(split_of_masks(number, *masks))
        return splits

    return divide
