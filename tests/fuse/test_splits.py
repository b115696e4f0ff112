"""A part of the labels is a part of training and validation, content by content, and nothing of
the test part.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.splits import Split, labelled, splits


def rows_of(groups: list[int]) -> pd.DataFrame:
    names = [f"content {group}" for group in groups]
    return pd.DataFrame({"id": [f"video {row}" for row in range(len(names))], "group": names})


def split_of(groups: list[int]) -> tuple[Split, pd.DataFrame]:
    rows = rows_of([number for number, count in enumerate(groups) for _ in range(count)])
    (split,) = splits("random:n=1", rows)[1]
    return split, rows


sizes = st.lists(st.integers(1, 9), min_size=30, max_size=60)
percents = st.integers(30, 100)


@given(sizes, percents)
@settings(deadline=None)
def test_so_many_videos_as_the_percentage_says_are_labelled(
    groups: list[int], percent: int
) -> None:
    split, rows = split_of(groups)
    part = labelled(split, rows, percent)
    assert len(part.train) == math.ceil(len(split.train) * percent / 100)
    assert len(part.val) == math.ceil(len(split.val) * percent / 100)
    assert set(part.train) <= set(split.train) and set(part.val) <= set(split.val)
    assert np.array_equal(part.test, split.test)
    assert np.all(np.diff(part.train) > 0) and np.all(np.diff(part.val) > 0)


@given(sizes, percents, percents)
@settings(deadline=None)
def test_more_labels_hold_those_of_fewer(groups: list[int], first: int, second: int) -> None:
    split, rows = split_of(groups)
    few, many = (labelled(split, rows, percent) for percent in sorted((first, second)))
    assert set(few.train) <= set(many.train) and set(few.val) <= set(many.val)


@given(sizes, percents)
@settings(deadline=None)
def test_contents_are_taken_whole_but_for_the_last(groups: list[int], percent: int) -> None:
    split, rows = split_of(groups)
    part = labelled(split, rows, percent)
    for chosen, whole in ((part.train, split.train), (part.val, split.val)):
        counts = [rows["group"].iloc[some].value_counts() for some in (chosen, whole)]
        in_part = [name for name in counts[0].index if counts[0][name] < counts[1][name]]
        assert len(in_part) <= 1


def test_other_splits_label_other_videos() -> None:
    rows = rows_of(list(range(100)))
    first, second = splits("official:n=2", rows.assign(split=["train"] * 80 + ["test"] * 20))[1]
    same = Split(second.seed, first.train, first.val, first.test)
    assert not np.array_equal(labelled(first, rows, 20).train, labelled(same, rows, 20).train)


@pytest.mark.parametrize(("percent", "train", "val"), [(1, 2, 2), (3, 2, 2), (5, 3, 2), (6, 4, 2)])
def test_two_videos_of_each_part_are_labelled_at_least(percent: int, train: int, val: int) -> None:
    split, rows = split_of([1] * 100)
    part = labelled(split, rows, percent)
    assert (len(part.train), len(part.val)) == (train, val)
