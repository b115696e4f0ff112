"""How a dataset is divided into training, validation and test: content-disjoint, seeded, recorded by digest.

A protocol is a spec such as ``random:n=10``; its name is a function below. All rows of one group (content) lie in one
part of a split. The validation part chooses the epoch; the test part is looked at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

from pipeline import spec
from pipeline.errors import UsageError


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts, ascending; ``seed`` made it and seeds the training on it."""

    seed: int
    train: Int[np.ndarray, " train"]
    val: Int[np.ndarray, " val"]
    test: Int[np.ndarray, " test"]

    def digest(self, ids: pd.Series) -> str:
        """Of which ids lie in which part: two figures are comparable where it is equal."""
        parts = ["\n".join(sorted(ids.iloc[part])) for part in (self.train, self.val, self.test)]
        return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()[:16]


def splits(protocol: str, rows: pd.DataFrame, seed: int = 0) -> tuple[str, list[Split]]:
    """The full spec and the splits of ``rows`` (columns ``id, group``) that ``protocol`` names.

    ``seed`` shifts every seed of the protocol. UsageError where the groups are too few for it.
    """
    chosen = spec.parse(protocol)
    if chosen.name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {chosen.name!r}; choose from {', '.join(PROTOCOLS)}")
    build = PROTOCOLS[chosen.name]
    options = spec.options_of(chosen, build)
    full = spec.Spec(chosen.name, {key: str(value) for key, value in options.items()})
    made = build(rows, **{**options, "seed": options["seed"] + seed})
    for split in made:
        _check(split, rows)
    return str(full), made


def random(rows: pd.DataFrame, *, n: int = 10, train: float = 0.6, val: float = 0.2, seed: int = 0) -> list[Split]:
    """``n`` random divisions of the groups: ``train`` and ``val`` of them, and the rest for the test."""
    if not (n >= 1 and seed >= 0 and train > 0 and val > 0 and train + val < 1):
        raise UsageError(
            f"random: n={n},train={train},val={val},seed={seed}: n must be at least 1, seed at least 0, "
            "the parts above 0, train + val below 1"
        )
    groups = np.array(sorted(rows["group"].unique()))
    if len(groups) < 3:
        raise UsageError(f"random: {len(groups)} groups (contents) cannot be divided into train, validation and test")
    n_val = max(1, round(val * len(groups)))
    n_test = max(1, round((1 - train - val) * len(groups)))
    if n_val + n_test >= len(groups):
        raise UsageError(
            f"random: train={train},val={val} of {len(groups)} groups (contents): {n_val} for validation and "
            f"{n_test} for the test leave none for training; give train more"
        )
    made = []
    for number in range(seed, seed + n):
        order = np.random.default_rng(number).permutation(len(groups))
        test, validation = groups[order[:n_test]], groups[order[n_test : n_test + n_val]]
        in_test, in_val = rows["group"].isin(test).to_numpy(), rows["group"].isin(validation).to_numpy()
        made.append(Split(number, *(np.flatnonzero(part) for part in (~in_test & ~in_val, in_val, in_test))))
    return made


PROTOCOLS: dict[str, Callable[..., list[Split]]] = {"random": random}


def _check(split: Split, rows: pd.DataFrame) -> None:
    groups = [set(rows["group"].iloc[part]) for part in (split.train, split.val, split.test)]
    assert all(groups), f"a part of split {split.seed} is empty"
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2]), "a group straddles a split"
