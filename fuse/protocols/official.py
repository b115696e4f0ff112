"""The dataset's own division, its column ``split``."""

import numpy as np
import pandas as pd
from jaxtyping import Bool

from vqa_twostage.fuse.splits import Protocol, Split, split_of_masks
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1
CONTENT_DISJOINT = False


def build(*, test: str = "test", val: float = 0.2, n: int = 1, seed: int = 0) -> Protocol:
    """The column holds ``train``, ``val`` or ``validation``, and ``test`` names the test part. Rows
    with other values are in no part.

    Without rows for validation, ``val`` of the training groups are used for it, different ones in
    each of the ``n`` splits. A group that straddles the division stays as published.
    """
    if not (n >= 1 and seed >= 0 and 0 < val < 1):
        raise UsageError(
            f"official: n={n},val={val},seed={seed}: n must be at least 1, seed at least 0, val "
            "between 0 and 1"
        )

    def divide(rows: pd.DataFrame) -> list[Split]:
        seeds = range(seed, seed + n)
        in_train, in_val, in_test = _masks(rows, test)
        if in_val.any():
            return [split_of_masks(number, in_train, in_val, in_test) for number in seeds]
        groups = np.array(sorted(rows["group"][in_train].unique()))
        n_val = max(1, round(val * len(groups)))
        if n_val >= len(groups):
            raise UsageError(
                f"official: val={val} of {len(groups)} training groups (contents): {n_val} for "
                "validation leave none for training; give val less, or mark rows with val in the "
                "column split"
            )
        splits = []
        for number in seeds:
            chosen = groups[np.random.default_rng(number).permutation(len(groups))[:n_val]]
            in_val = in_train & rows["group"].isin(chosen).to_numpy()
            splits.append(split_of_masks(number, in_train & ~in_val, in_val, in_test))
        return splits

    return divide


def _masks(rows: pd.DataFrame, test: str) -> tuple[Bool[np.ndarray, " N"], ...]:
    """Whether each row is in the training, validation and test part, by the column ``split``."""
    column = rows["split"] if "split" in rows else pd.Series("", index=rows.index)
    parts = column.astype(str).str.strip().str.lower().replace("validation", "val").to_numpy()
    if not (parts != "").any():
        raise UsageError(
            "official: this dataset names no split; fill the column split of its .csv (or give "
            "split under [labels.columns] in its .toml) with train, val and test, or choose "
            "--protocol random"
        )
    values = ", ".join(sorted(set(parts) - {""}))
    if unknown := int((parts == "").sum()):
        values += (
            f". The split of {unknown} of {len(parts)} videos is unknown: a copy of their label "
            "file may lack the column, as of LSVQ's, is_test; use the file as published, or choose "
            "--protocol random"
        )
    in_train, in_val, in_test = (parts == value for value in ("train", "val", test.lower()))
    if test.lower() in ("train", "val", "validation") or not in_test.any():
        raise UsageError(
            f"official: test={test} is no test part of this dataset; its column split holds "
            f"{values}"
        )
    if not in_train.any():
        raise UsageError(
            f"official: no row has train, so mark some so in the column split, which holds {values}"
        )
    return in_train, in_val, in_test
