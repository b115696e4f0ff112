"""How a dataset is divided into training, validation and test: seeded, recorded by digest.

A protocol is a spec such as ``random:n=10``; its name is a function below. In `random` and `kfold`
all rows of one group (content) lie in one part of a split. The others reproduce published
divisions, some of which let groups straddle: `notes` says so. The validation part chooses the
epoch; the test part is looked at once.

Letters: N rows (videos), P permutations of M references.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.datasets.index_files import read_index_file
from vqa_twostage.pipeline.errors import UsageError, require

# ids that a note names before it only counts
NAMED = 5


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts, ascending; ``seed`` names it and seeds the training on it.

    Some rows may be in no part, where a protocol leaves them out.
    """

    seed: int
    train: Int[np.ndarray, " train"]
    val: Int[np.ndarray, " val"]
    test: Int[np.ndarray, " test"]

    def digest(self, ids: pd.Series) -> str:
        """Of which ids lie in which part: two figures are comparable where it is equal."""
        parts = ["\n".join(sorted(ids.iloc[part])) for part in (self.train, self.val, self.test)]
        return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()[:16]


def splits(protocol: str, rows: pd.DataFrame, seed: int = 0) -> tuple[str, list[Split]]:
    """The full spec and the splits of ``rows`` (columns ``id, group``, and ``split`` for
    `official`).

    ``seed`` shifts every seed of the protocol; where the divisions themselves are fixed, it shifts
    the seeds of the training on them. UsageError where ``protocol`` is none, or cannot divide these
    rows.
    """
    chosen = spec.parse(protocol)
    if chosen.name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {chosen.name!r}; choose from {', '.join(PROTOCOLS)}")
    build = PROTOCOLS[chosen.name]
    options = spec.options_of(chosen, build)
    full = spec.Spec(chosen.name, {key: str(value) for key, value in options.items()})
    if "seed" in options:
        made = build(rows, **{**options, "seed": options["seed"] + seed})
    else:
        made = [replace(split, seed=split.seed + seed) for split in build(rows, **options)]
    for split in made:
        _check(split, rows, content_disjoint=chosen.name in CONTENT_DISJOINT)
    return str(full), made


def straddling(made: list[Split], rows: pd.DataFrame) -> int:
    """How many groups have videos both in the test part and in training or validation, in the split
    with most.
    """
    return max(
        (_shared(rows, np.union1d(split.train, split.val), split.test) for split in made), default=0
    )


def notes(made: list[Split], rows: pd.DataFrame) -> list[str]:
    """What to say beside every figure from these splits: groups that straddle, and videos that no
    part takes.
    """
    said = []
    groups = rows["group"].nunique()
    if leaked := straddling(made, rows):
        said.append(
            f"{leaked} of {groups} groups (contents) have videos both in the test part and in "
            "training or validation "
            "of one split: this protocol divides videos, not contents, and its figures flatter"
        )
    elif chosen_on := max((_shared(rows, split.train, split.val) for split in made), default=0):
        said.append(
            f"{chosen_on} of {groups} groups (contents) have videos both in training and in "
            "validation of one split: "
            "the epoch is chosen on contents that were trained on"
        )
    if made:
        taken = np.concatenate(
            [part for split in made for part in (split.train, split.val, split.test)]
        )
        left = rows["id"].iloc[np.setdiff1d(np.arange(len(rows)), taken)]
        if len(left):
            named = ", ".join(left.head(NAMED)) + (", …" if len(left) > NAMED else "")
            said.append(f"{len(left)} of {len(rows)} videos are in no part of any split: {named}")
    return said


def random(
    rows: pd.DataFrame, *, n: int = 10, train: float = 0.6, val: float = 0.2, seed: int = 0
) -> list[Split]:
    """``n`` random divisions of the groups: ``train`` and ``val`` of them, and the rest for the
    test.
    """
    require(
        n >= 1 and seed >= 0 and train > 0 and val > 0 and train + val < 1,
        f"random: n={n},train={train},val={val},seed={seed}: n must be at least 1, seed at least "
        "0, "
        "the parts above 0, train + val below 1",
    )
    groups = np.array(sorted(rows["group"].unique()))
    require(
        len(groups) >= 3,
        f"random: {len(groups)} groups (contents) cannot be divided into train, validation and "
        "test; "
        "three are the least, take more of the dataset",
    )
    n_val = max(1, round(val * len(groups)))
    n_test = max(1, round((1 - train - val) * len(groups)))
    require(
        n_val + n_test < len(groups),
        f"random: train={train},val={val} of {len(groups)} groups (contents): {n_val} for "
        "validation and "
        f"{n_test} for the test leave none for training; give train more",
    )
    made = []
    for number in range(seed, seed + n):
        order = groups[np.random.default_rng(number).permutation(len(groups))]
        made.append(
            _by_group(number, rows, test=order[:n_test], val=order[n_test : n_test + n_val])
        )
    return made


def kfold(rows: pd.DataFrame, *, k: int = 5, val: float = 0.2, seed: int = 0) -> list[Split]:
    """The groups, shuffled once, in ``k`` folds: each is the test once, ``val`` of the other groups
    validation.
    """
    require(
        k >= 2 and seed >= 0 and 0 < val < 1,
        f"kfold: k={k},val={val},seed={seed}: k must be at least 2, seed at least 0, val between 0 "
        "and 1",
    )
    groups = np.array(sorted(rows["group"].unique()))
    require(
        len(groups) >= 3,
        f"kfold: {len(groups)} groups (contents) cannot be divided into train, validation and "
        "test; "
        "three are the least, take more of the dataset",
    )
    require(
        k <= len(groups),
        f"kfold: k={k} of {len(groups)} groups (contents); give k at most {len(groups)}",
    )
    order = groups[np.random.default_rng(seed).permutation(len(groups))]
    made = []
    for number, fold in enumerate(np.array_split(np.arange(len(groups)), k)):
        # the groups after the fold, in a circle: validation moves on with the test
        others = np.concatenate([order[fold[-1] + 1 :], order[: fold[0]]])
        n_val = max(1, round(val * len(others)))
        require(
            n_val < len(others),
            f"kfold: k={k},val={val} of {len(groups)} groups (contents): a fold leaves "
            f"{len(others)}, {n_val} of them "
            "for validation and none for training; give k more or val less",
        )
        made.append(_by_group(seed + number, rows, test=order[fold], val=others[:n_val]))
    return made


def official(
    rows: pd.DataFrame, *, test: str = "test", val: float = 0.2, n: int = 1, seed: int = 0
) -> list[Split]:
    """The dataset's own division, its column ``split``: ``train``, ``val`` or ``validation``, and
    ``test`` names the test part. Rows with other values are in no part.

    Without rows for validation, ``val`` of the training groups become it, others in each of the
    ``n`` splits. A group that straddles the division stays as published.
    """
    require(
        n >= 1 and seed >= 0 and 0 < val < 1,
        f"official: n={n},val={val},seed={seed}: n must be at least 1, seed at least 0, val "
        "between 0 and 1",
    )
    column = rows["split"] if "split" in rows else pd.Series("", index=rows.index)
    names = column.astype(str).str.strip().str.lower().replace("validation", "val").to_numpy()
    require(
        bool((names != "").any()),
        "official: this dataset names no split; fill the column split of its .csv (or give split "
        "under "
        "[labels.columns] in its .toml) with train, val and test, or choose --protocol random",
    )
    values = ", ".join(sorted(set(names) - {""}))
    require(
        test.lower() not in ("train", "val", "validation") and bool((names == test.lower()).any()),
        f"official: test={test} is no test part of this dataset; its column split holds {values}",
    )
    in_train, in_val, in_test = (names == value for value in ("train", "val", test.lower()))
    require(
        bool(in_train.any()),
        f"official: no row has train in the column split, which holds {values}; mark some so",
    )
    if in_val.any():
        return [_split(number, in_train, in_val, in_test) for number in range(seed, seed + n)]
    groups = np.array(sorted(rows["group"][in_train].unique()))
    n_val = max(1, round(val * len(groups)))
    require(
        n_val < len(groups),
        f"official: val={val} of {len(groups)} training groups (contents): {n_val} for validation "
        "leave none for "
        "training; give val less, or mark rows with val in the column split",
    )
    made = []
    for number in range(seed, seed + n):
        chosen = groups[np.random.default_rng(number).permutation(len(groups))[:n_val]]
        in_val = in_train & rows["group"].isin(chosen).to_numpy()
        made.append(_split(number, in_train & ~in_val, in_val, in_test))
    return made


def videval(rows: pd.DataFrame, *, n: int = 100) -> list[Split]:
    """The splits of VIDEVAL (Tu et al., IEEE TIP 2021), number by number: of videos, not of groups.

    They are what scikit-learn's ``train_test_split(test_size=0.2)`` makes of the row numbers with
    ``random_state`` ``ceil(8.8 i)``, and of that training part with ``ceil(6.6 i)``, i = 1 to
    ``n``. The order of the rows decides them, and so does their number: one video less is another
    division.
    """
    require(n >= 1, f"videval: n={n}: n must be at least 1; VIDEVAL has 100")
    require(
        len(rows) >= 3,
        f"videval: {len(rows)} videos cannot be divided into train, validation and test; take more",
    )
    made = []
    for number in range(1, n + 1):
        rest, test = _train_test_split(np.arange(len(rows)), math.ceil(8.8 * number))
        train, val = _train_test_split(rest, math.ceil(6.6 * number))
        made.append(Split(number, np.sort(train), np.sort(val), np.sort(test)))
    return made


def indices(
    rows: pd.DataFrame, *, file: str, n: int = 10, train: float = 0.6, val: float = 0.2
) -> list[Split]:
    """The first ``n`` permutations of a published index file, as VSFA (Li et al., ACM MM 2019)
    divides by them.

    Of each permutation's references the first ``train`` are for training, the next ``val`` for
    validation, the rest for the test, and a video goes where its reference goes; without
    ``ref_ids`` the i-th row is the i-th reference.
    """
    require(
        n >= 1 and train > 0 and val > 0 and train + val < 1,
        f"indices: n={n},train={train},val={val}: n must be at least 1, the parts above 0, train + "
        "val below 1",
    )
    permutations, references = read_index_file(Path(file))
    count, m = permutations.shape
    require(
        n <= count, f"indices: n={n}, and {file} holds {count} permutations; give n at most {count}"
    )
    references = np.arange(m) if references is None else references
    require(
        len(references) == len(rows),
        f"indices: {file} divides {len(references)} videos and there are {len(rows)}; "
        "give the index file of this dataset, and features of all of its videos",
    )
    # VSFA's own arithmetic, from the end: 0.6 of 1200 are 721 to it, since 1 - 0.2 - 0.2 is a
    # little more than 0.6
    rest = round(1 - train - val, 9)
    ends = [math.ceil((1 - rest - val) * m), math.ceil((1 - rest) * m)]
    made = []
    for number, order in enumerate(permutations[:n]):
        in_train, in_val, in_test = (np.isin(references, part) for part in np.split(order, ends))
        require(
            bool(in_train.any() and in_val.any() and in_test.any()),
            f"indices: train={train},val={val} of {m} references leave a part of permutation "
            f"{number + 1} without "
            "videos; give that part more",
        )
        made.append(_split(number, in_train, in_val, in_test))
    return made


PROTOCOLS: dict[str, Callable[..., list[Split]]] = {
    "random": random,
    "kfold": kfold,
    "official": official,
    "videval": videval,
    "indices": indices,
}
CONTENT_DISJOINT = ("random", "kfold")


def _by_group(seed: int, rows: pd.DataFrame, test: np.ndarray, val: np.ndarray) -> Split:
    in_test, in_val = (rows["group"].isin(part).to_numpy() for part in (test, val))
    return _split(seed, ~in_test & ~in_val, in_val, in_test)


def _split(
    seed: int,
    train: Bool[np.ndarray, " N"],
    val: Bool[np.ndarray, " N"],
    test: Bool[np.ndarray, " N"],
) -> Split:
    return Split(seed, np.flatnonzero(train), np.flatnonzero(val), np.flatnonzero(test))


def _train_test_split(rows: np.ndarray, state: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's, with ``test_size=0.2``: the same numbers from the same generator, which NumPy
    keeps unchanged.
    """
    order = np.random.RandomState(state).permutation(len(rows))
    n_test = math.ceil(0.2 * len(rows))
    return rows[order[n_test:]], rows[order[:n_test]]


def _shared(rows: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> int:
    return len(set(rows["group"].iloc[first]) & set(rows["group"].iloc[second]))


def _check(split: Split, rows: pd.DataFrame, content_disjoint: bool) -> None:
    parts = (split.train, split.val, split.test)
    assert all(len(part) for part in parts), f"a part of split {split.seed} is empty"
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts)), "a video is in two parts"
    if content_disjoint:
        pairs = ((0, 1), (0, 2), (1, 2))
        assert not any(_shared(rows, parts[i], parts[j]) for i, j in pairs), (
            "a group straddles a split"
        )
