"""How a dataset is divided into training, validation and test: seeded, and recorded by digest.

A protocol is a plug-in: a file in ``protocols/``, named by a spec such as ``random:n=10``. Its
``build(*, options)`` gives a `Protocol`, and ``CONTENT_DISJOINT`` says whether all rows of one
group (content) lie in one part of a split. The others reproduce published divisions, in some of
which groups straddle: `notes` reports it. The validation part makes all choices; the test part
is used once.

Dimensions: N rows (videos).
"""

from __future__ import annotations

import hashlib
import math
import typing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import sha256_of

# ids that a note lists before it only counts
LISTED = 5
DIGEST_LENGTH = 16
# of the choice of labelled videos, so that it is another than the protocol's
LABELLED_SEED = 1
LEAST_LABELLED = 2


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts, ascending; ``seed`` names it and seeds the training on it.

    Some rows may be in no part, where a protocol leaves them out.
    """

    seed: int
    train: Int[np.ndarray, " train"]
    val: Int[np.ndarray, " val"]
    test: Int[np.ndarray, " test"]

    @property
    def parts(self) -> tuple[Int[np.ndarray, " _"], ...]:
        return self.train, self.val, self.test

    def digest(self, ids: pd.Series) -> str:
        """Of which ids lie in which part: two results are comparable where it is equal."""
        parts = ["\n".join(sorted(ids.iloc[part])) for part in self.parts]
        return hashlib.sha256("\n\n".join(parts).encode()).hexdigest()[:DIGEST_LENGTH]


@typing.runtime_checkable
class Protocol(typing.Protocol):
    """What ``build`` of a protocol gives: the splits of ``rows``, which have the columns ``id`` and
    ``group``, and perhaps ``split``. UsageError where these rows cannot be divided.
    """

    def __call__(self, rows: pd.DataFrame) -> list[Split]: ...


@dataclass(frozen=True)
class ChosenProtocol:
    """A protocol that a spec names, with its options."""

    plugin: spec.Plugin

    @staticmethod
    def of(text: str) -> ChosenProtocol:
        """UsageError where ``text`` names no protocol, or an option that it does not have."""
        return ChosenProtocol(spec.resolve("fuse.protocols", text))

    @property
    def full_spec(self) -> str:
        """The spec with every option."""
        return str(self.plugin.full_spec)

    @property
    def content_disjoint(self) -> bool:
        return bool(self.plugin.module.CONTENT_DISJOINT)

    @property
    def identity(self) -> str:
        """`full_spec` with the digest of each file in place of its path: the same study in another
        folder has the same identity. UsageError where a file cannot be read.
        """
        full = self.plugin.full_spec
        files = {
            name: _digest(path)
            for name, path in self.plugin.options.items()
            if isinstance(path, Path)
        }
        return str(spec.Spec(full.name, {**full.options, **files}))

    def splits(self, rows: pd.DataFrame, seed: int = 0) -> list[Split]:
        """The splits of ``rows``.

        ``seed`` shifts every seed of the protocol; where the divisions themselves are fixed, it
        shifts the seeds of the training on them.
        """
        options = self.plugin.options
        if "seed" in options:
            shifted = replace(self.plugin, options={**options, "seed": options["seed"] + seed})
            splits = shifted.build()(rows)
        else:
            splits = [replace(split, seed=split.seed + seed) for split in self.plugin.build()(rows)]
        for split in splits:
            self._check(split, rows)
        return splits

    def _check(self, split: Split, rows: pd.DataFrame) -> None:
        """ValueError where the plug-in breaks its contract."""
        name = f"the protocol {self.plugin.module.__name__}: split {split.seed}"
        if not all(len(part) for part in split.parts):
            raise ValueError(f"{name} has an empty part")
        if len(np.unique(np.concatenate(split.parts))) != sum(map(len, split.parts)):
            raise ValueError(f"{name} has a video in two parts")
        if self.content_disjoint and straddling([split], rows) + _chosen_on([split], rows):
            raise ValueError(f"{name} has a group in two parts, and CONTENT_DISJOINT is True")


def splits(protocol: str, rows: pd.DataFrame, seed: int = 0) -> tuple[str, list[Split]]:
    """The full spec of ``protocol`` and its splits of ``rows``; UsageError where it names no
    protocol, or cannot divide these rows.
    """
    chosen = ChosenProtocol.of(protocol)
    return chosen.full_spec, chosen.splits(rows, seed)


def labelled(split: Split, rows: pd.DataFrame, percent: int) -> Split:
    """The split with ``percent`` of the videos of its training part and of its validation part; the
    test part is the same, and the videos of a lower percentage are among those of a higher one.

    Labels are collected content by content: whole groups are taken, in a random order of the
    split's seed, and the last one in part, so that the numbers are those that ``percent`` says,
    rounded up; but two of each part at least, since fewer have no correlation.
    """
    if percent == 100:
        return split
    generator = np.random.default_rng([split.seed, LABELLED_SEED])
    parts = []
    for part in (split.train, split.val):
        group = rows["group"].to_numpy()[part]
        shuffled = generator.permutation(sorted(set(group)))
        place = {each: number for number, each in enumerate(shuffled)}
        by_group = np.array([place[each] for each in group])
        order = np.lexsort((generator.permutation(len(part)), by_group))
        count = max(LEAST_LABELLED, math.ceil(len(part) * percent / 100))
        parts.append(np.sort(part[order[:count]]))
    return replace(split, train=parts[0], val=parts[1])


def straddling(splits: list[Split], rows: pd.DataFrame) -> int:
    """How many groups have videos both in the test part and in training or validation, in the split
    with most.
    """
    counts = (_shared(rows, np.union1d(split.train, split.val), split.test) for split in splits)
    return max(counts, default=0)


def notes(splits: list[Split], rows: pd.DataFrame) -> list[str]:
    """What must stand beside every result from these splits: groups that straddle, and videos that
    are in no part.
    """
    lines = []
    groups = rows["group"].nunique()
    if leaked := straddling(splits, rows):
        lines.append(
            f"{leaked} of {groups} groups (contents) have videos both in the test part and in "
            "training or validation of one split: this protocol divides videos, not contents, and "
            "its results are optimistic"
        )
    elif chosen_on := _chosen_on(splits, rows):
        lines.append(
            f"{chosen_on} of {groups} groups (contents) have videos both in training and in "
            "validation of one split: choices are made on contents that were trained on"
        )
    if splits:
        used = np.concatenate([part for split in splits for part in split.parts])
        unused = rows["id"].iloc[np.setdiff1d(np.arange(len(rows)), used)]
        if len(unused):
            listed = ", ".join(unused.head(LISTED)) + (", …" if len(unused) > LISTED else "")
            lines.append(
                f"{len(unused)} of {len(rows)} videos are in no part of any split: {listed}"
            )
    return lines


def group_names(protocol: str, rows: pd.DataFrame) -> np.ndarray:
    """The groups of ``rows``, sorted; UsageError, in the name of ``protocol``, for fewer than
    three.
    """
    groups = np.array(sorted(rows["group"].unique()))
    if len(groups) < 3:
        raise UsageError(
            f"{protocol}: {len(groups)} groups (contents) cannot be divided into train, validation "
            "and test; at least three are needed, take more of the dataset"
        )
    return groups


def split_by_group(seed: int, rows: pd.DataFrame, test: np.ndarray, val: np.ndarray) -> Split:
    """The split whose test and validation parts are these groups; the others are for training."""
    in_test, in_val = (rows["group"].isin(groups).to_numpy() for groups in (test, val))
    return split_of_masks(seed, ~in_test & ~in_val, in_val, in_test)


def split_of_masks(
    seed: int,
    train: Bool[np.ndarray, " N"],
    val: Bool[np.ndarray, " N"],
    test: Bool[np.ndarray, " N"],
) -> Split:
    return Split(seed, np.flatnonzero(train), np.flatnonzero(val), np.flatnonzero(test))


def _chosen_on(splits: list[Split], rows: pd.DataFrame) -> int:
    """How many groups have videos both in training and in validation, in the split with most."""
    return max((_shared(rows, split.train, split.val) for split in splits), default=0)


def _shared(rows: pd.DataFrame, first: np.ndarray, second: np.ndarray) -> int:
    return len(set(rows["group"].iloc[first]) & set(rows["group"].iloc[second]))


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)[:DIGEST_LENGTH]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
