"""Splits: content-disjoint, complete, seeded, and named by a digest that changes with them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse.protocols import Split, splits
from pipeline import spec
from pipeline.errors import UsageError


def table(groups: list[int]) -> pd.DataFrame:
    """A manifest's rows of which the group of each is given; ids are unlike groups, and not in their order."""
    ids = [f"video {(7 * number) % 1009:04d}" for number in range(len(groups))]
    return pd.DataFrame({"id": ids, "group": [f"content {group}" for group in groups]})


def parts(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return split.train, split.val, split.test


def same(first: Split, second: Split) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(parts(first), parts(second), strict=True))


# three groups or more, of any sizes, in any order
structures = st.integers(3, 15).flatmap(
    lambda count: st.lists(st.integers(0, count - 1), max_size=40).flatmap(
        lambda more: st.permutations([*range(count), *more])
    )
)
# parts of which none is rounded to nothing
divisions = st.sampled_from(["", "train=0.6,val=0.2", "train=0.8,val=0.1", "train=0.5,val=0.25", "train=0.34,val=0.33"])


@given(structures, divisions, st.integers(0, 1000))
@settings(deadline=None, max_examples=200)
def test_no_group_is_on_two_sides_and_every_row_on_exactly_one(groups: list[int], division: str, seed: int) -> None:
    rows = table(groups)
    _, made = splits(f"random:n=3{',' if division else ''}{division}", rows, seed)
    assert len(made) == 3
    for split in made:
        for first, second in combinations(parts(split), 2):
            assert not set(rows["group"].iloc[first]) & set(rows["group"].iloc[second])
        assert sorted(np.concatenate(parts(split)).tolist()) == list(range(len(rows)))
        assert all(len(part) for part in parts(split))
        assert all(np.all(np.diff(part) > 0) for part in parts(split))


@given(structures, st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_the_same_seed_gives_the_same_splits_and_digests(groups: list[int], seed: int) -> None:
    rows = table(groups)
    first, second = (splits("random:n=4", rows, seed)[1] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert same(one, other)
        assert one.digest(rows["id"]) == other.digest(rows["id"])


TWENTY = table([group for group in range(20) for _ in range(3)])


def test_every_split_of_a_protocol_and_every_seed_divides_differently() -> None:
    _, made = splits("random:n=40", TWENTY)
    _, elsewhere = splits("random:n=40", TWENTY, seed=40)
    digests = [split.digest(TWENTY["id"]) for split in made + elsewhere]
    assert len(set(digests)) == 80
    assert [split.seed for split in made + elsewhere] == list(range(80))


def test_the_seed_of_the_protocol_and_the_seed_beside_it_are_one() -> None:
    (within,) = splits("random:n=1,seed=7", TWENTY)[1]
    (beside,) = splits("random:n=1", TWENTY, seed=7)[1]
    (half,) = splits("random:n=1,seed=3", TWENTY, seed=4)[1]
    assert within.seed == beside.seed == half.seed == 7
    assert same(within, beside)
    assert same(within, half)


def test_the_parts_are_as_large_as_was_asked() -> None:
    for protocol, sizes in {
        "random": (12, 4, 4),
        "random:train=0.5,val=0.2": (10, 4, 6),
        "random:train=0.1,val=0.1": (2, 2, 16),
    }.items():
        for split in splits(protocol, TWENTY)[1]:
            assert tuple(TWENTY["group"].iloc[part].nunique() for part in parts(split)) == sizes


def test_every_content_is_tested_sooner_or_later() -> None:
    tested = [TWENTY["group"].iloc[split.test].unique() for split in splits("random:n=60", TWENTY)[1]]
    counts = pd.Series(np.concatenate(tested)).value_counts()
    assert len(counts) == 20
    # 60 splits with 4 of 20 contents each: 12 on average, with a standard deviation of 3.1
    assert counts.between(2, 24).all()


def test_the_order_of_the_rows_does_not_move_a_video() -> None:
    shuffled = TWENTY.sample(frac=1, random_state=0).reset_index(drop=True)
    for here, there in zip(splits("random:n=5", TWENTY)[1], splits("random:n=5", shuffled)[1], strict=True):
        for first, second in zip(parts(here), parts(there), strict=True):
            assert set(TWENTY["id"].iloc[first]) == set(shuffled["id"].iloc[second])
        assert here.digest(TWENTY["id"]) == there.digest(shuffled["id"])


@given(st.integers(0, 59), st.sampled_from([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]))
@settings(deadline=None, max_examples=60)
def test_the_digest_changes_when_a_video_moves_to_another_part(number: int, move: tuple[int, int]) -> None:
    split = splits("random:n=1", TWENTY)[1][0]
    members = [list(part) for part in parts(split)]
    source, target = move
    row = members[source].pop(number % len(members[source]))
    members[target].append(row)
    moved = Split(split.seed, *(np.array(part) for part in members))
    assert moved.digest(TWENTY["id"]) != split.digest(TWENTY["id"])


def test_the_digest_changes_with_an_id_and_not_with_the_order_within_a_part() -> None:
    split = splits("random:n=1", TWENTY)[1][0]
    renamed = TWENTY["id"].replace({TWENTY["id"].iloc[0]: "another"})
    assert split.digest(renamed) != split.digest(TWENTY["id"])
    assert Split(0, split.train[::-1], split.val, split.test).digest(TWENTY["id"]) == split.digest(TWENTY["id"])


def test_the_full_spec_has_every_option_and_gives_the_same_splits() -> None:
    full, made = splits("random:n=2", TWENTY)
    assert set(spec.parse(full).options) == {"n", "train", "val", "seed"}
    again, same_made = splits(full, TWENTY)
    assert again == full
    assert all(same(one, other) for one, other in zip(made, same_made, strict=True))


# --- wrong use ---


def test_an_unknown_protocol_lists_the_choices() -> None:
    with pytest.raises(UsageError, match=r"'kfold'.*random"):
        splits("kfold:n=5", TWENTY)


def test_an_unknown_option_lists_the_options() -> None:
    with pytest.raises(UsageError, match=r"folds.*n, train, val, seed"):
        splits("random:folds=5", TWENTY)


@pytest.mark.parametrize(
    "options",
    [
        "n=0",
        "n=-1",
        "train=0",
        "val=0",
        "train=-0.5",
        "train=0.8,val=0.2",
        "train=0.9,val=0.9",
        "train=nan",
        "val=nan",
        "train=inf",
    ],
)
def test_parts_that_cannot_be_are_refused_with_what_they_must_be(options: str) -> None:
    with pytest.raises(UsageError, match=r"n must be at least 1.*train \+ val below 1"):
        splits(f"random:{options}", TWENTY)


@pytest.mark.parametrize("options", ["n=many", "n=2.5", "train=most"])
def test_a_value_of_the_wrong_kind_is_refused_with_the_kind(options: str) -> None:
    with pytest.raises(UsageError, match="must be a (whole )?number"):
        splits(f"random:{options}", TWENTY)


@pytest.mark.parametrize("groups", [[0], [0, 0, 0, 0], [0, 1, 1, 0, 1]])
def test_too_few_contents_are_refused_with_their_number(groups: list[int]) -> None:
    with pytest.raises(UsageError, match=rf"{len(set(groups))} groups \(contents\) cannot be divided"):
        splits("random", table(groups))


def test_three_contents_are_enough() -> None:
    for split in splits("random:n=6", table([0, 1, 2, 2]))[1]:
        assert all(len(part) for part in parts(split))


@given(structures, st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.integers(-3, 3))
@settings(deadline=None, max_examples=200)
def test_any_parts_give_a_valid_division_or_a_usage_error(
    groups: list[int], train: float, val: float, seed: int
) -> None:
    rows = table(groups)
    try:
        _, made = splits(f"random:n=2,train={train},val={val},seed={seed}", rows)
    except UsageError:
        return
    for split in made:
        assert all(len(part) for part in parts(split))
        assert sorted(np.concatenate(parts(split)).tolist()) == list(range(len(rows)))
