"""Splits are complete, seeded, identified by a digest, and disjoint in content or marked as not."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import ChosenProtocol, Split, notes, splits, straddling
from vqa_twostage.fuse.testing import check_protocol
from vqa_twostage.fuse.train import Plan
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.datasets.index_files import read_index_file
from vqa_twostage.pipeline.errors import UsageError


def table(groups: list[int], split: list[str] | None = None) -> pd.DataFrame:
    """Rows of a manifest with the given groups; ids differ from groups and from their order."""
    ids = [f"video {(7 * number) % 10007:05d}" for number in range(len(groups))]
    return pd.DataFrame(
        {"id": ids, "group": [f"content {group}" for group in groups], "split": split or ""}
    )


PROTOCOLS = sorted(spec.available("fuse.protocols"))


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
divisions = st.sampled_from(
    ["", "train=0.6,val=0.2", "train=0.8,val=0.1", "train=0.5,val=0.25", "train=0.34,val=0.33"]
)


@pytest.mark.long
@given(structures, divisions, st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_random_parts_share_no_group_and_hold_every_row_once(
    groups: list[int], division: str, seed: int
) -> None:
    rows = table(groups)
    _, split_list = splits(f"random:n=3{',' if division else ''}{division}", rows, seed)
    assert len(split_list) == 3
    for split in split_list:
        for first, second in combinations(parts(split), 2):
            assert not set(rows["group"].iloc[first]) & set(rows["group"].iloc[second])
        assert sorted(np.concatenate(parts(split)).tolist()) == list(range(len(rows)))
        assert all(len(part) for part in parts(split))
        assert all(np.all(np.diff(part) > 0) for part in parts(split))


@given(structures, st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_equal_seeds_give_equal_splits_and_digests(groups: list[int], seed: int) -> None:
    rows = table(groups)
    first, second = (splits("random:n=4", rows, seed)[1] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert same(one, other)
        assert one.digest(rows["id"]) == other.digest(rows["id"])


TWENTY = table([group for group in range(20) for _ in range(3)])


def test_splits_and_seeds_give_different_divisions() -> None:
    _, split_list = splits("random:n=40", TWENTY)
    _, other_splits = splits("random:n=40", TWENTY, seed=40)
    digests = [split.digest(TWENTY["id"]) for split in split_list + other_splits]
    assert len(set(digests)) == 80
    assert [split.seed for split in split_list + other_splits] == list(range(80))


def test_seed_of_the_protocol_equals_the_separate_seed_argument() -> None:
    (within,) = splits("random:n=1,seed=7", TWENTY)[1]
    (beside,) = splits("random:n=1", TWENTY, seed=7)[1]
    (half,) = splits("random:n=1,seed=3", TWENTY, seed=4)[1]
    assert within.seed == beside.seed == half.seed == 7
    assert same(within, beside)
    assert same(within, half)


def test_parts_have_the_requested_sizes() -> None:
    for protocol, sizes in {
        "random": (12, 4, 4),
        "random:train=0.5,val=0.2": (10, 4, 6),
        "random:train=0.1,val=0.1": (2, 2, 16),
    }.items():
        for split in splits(protocol, TWENTY)[1]:
            assert tuple(TWENTY["group"].iloc[part].nunique() for part in parts(split)) == sizes


def test_every_content_is_tested_in_some_split() -> None:
    tested = [
        TWENTY["group"].iloc[split.test].unique() for split in splits("random:n=60", TWENTY)[1]
    ]
    counts = pd.Series(np.concatenate(tested)).value_counts()
    assert len(counts) == 20
    # 60 splits with 4 of 20 contents each: 12 on average, with a standard deviation of 3.1
    assert counts.between(2, 24).all()


def test_splits_do_not_depend_on_the_order_of_the_rows() -> None:
    shuffled = TWENTY.sample(frac=1, random_state=0).reset_index(drop=True)
    for split, shuffled_split in zip(
        splits("random:n=5", TWENTY)[1], splits("random:n=5", shuffled)[1], strict=True
    ):
        for first, second in zip(parts(split), parts(shuffled_split), strict=True):
            assert set(TWENTY["id"].iloc[first]) == set(shuffled["id"].iloc[second])
        assert split.digest(TWENTY["id"]) == shuffled_split.digest(shuffled["id"])


@given(st.integers(0, 59), st.sampled_from([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]))
@settings(deadline=None, max_examples=60)
def test_digest_changes_when_a_video_moves_to_another_part(
    number: int, move: tuple[int, int]
) -> None:
    split = splits("random:n=1", TWENTY)[1][0]
    members = [list(part) for part in parts(split)]
    source, target = move
    row = members[source].pop(number % len(members[source]))
    members[target].append(row)
    moved = Split(split.seed, *(np.array(part) for part in members))
    assert moved.digest(TWENTY["id"]) != split.digest(TWENTY["id"])


def test_digest_depends_on_ids_and_not_on_the_order_within_a_part() -> None:
    split = splits("random:n=1", TWENTY)[1][0]
    renamed = TWENTY["id"].replace({TWENTY["id"].iloc[0]: "another"})
    assert split.digest(renamed) != split.digest(TWENTY["id"])
    assert Split(0, split.train[::-1], split.val, split.test).digest(TWENTY["id"]) == split.digest(
        TWENTY["id"]
    )


def test_full_spec_has_every_option_and_gives_the_same_splits() -> None:
    full, split_list = splits("random:n=2", TWENTY)
    assert set(spec.parse(full).options) == {"n", "train", "val", "seed"}
    repeated_spec, repeated_splits = splits(full, TWENTY)
    assert repeated_spec == full
    assert all(same(one, other) for one, other in zip(split_list, repeated_splits, strict=True))


# --- kfold ---


@pytest.mark.long
@given(structures, st.integers(2, 15), st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_kfold_tests_every_content_once_and_splits_none(
    groups: list[int], k: int, val: float, seed: int
) -> None:
    rows = table(groups)
    try:
        _, split_list = splits(f"kfold:k={k},val={val}", rows, seed)
    except UsageError:
        count = len(set(groups))
        assert k > count or count - math.ceil(count / k) < 2
        return
    assert [split.seed for split in split_list] == list(range(seed, seed + k))
    assert sorted(np.concatenate([split.test for split in split_list]).tolist()) == list(
        range(len(rows))
    )
    for split in split_list:
        for first, second in combinations(parts(split), 2):
            assert not set(rows["group"].iloc[first]) & set(rows["group"].iloc[second])
        assert sorted(np.concatenate(parts(split)).tolist()) == list(range(len(rows)))
        assert all(len(part) for part in parts(split))
    assert straddling(split_list, rows) == 0
    assert notes(split_list, rows) == []


def test_kfold_folds_are_equal_and_validation_is_a_share_of_the_rest() -> None:
    for split in splits("kfold", TWENTY)[1]:
        assert [TWENTY["group"].iloc[part].nunique() for part in parts(split)] == [13, 3, 4]
    assert [len(split.test) for split in splits("kfold:k=20", TWENTY)[1]] == [3] * 20


def test_kfold_seeds_give_different_folds_and_validation_parts() -> None:
    first, second = (splits("kfold", TWENTY, seed)[1] for seed in (0, 1))
    assert not any(same(one, other) for one in first for other in second)
    assert len({tuple(split.val) for split in first}) == 5


# --- official ---

# six contents in the training part, two in the test part, two in another test part
OFFICIAL = table(
    [group for group in range(10) for _ in range(2)],
    ["train"] * 12 + ["Test"] * 4 + ["test_1080p"] * 4,
)


def test_official_uses_the_named_test_part_and_omits_the_others() -> None:
    for test, rows in {
        "test": range(12, 16),
        "test_1080p": range(16, 20),
        "TEST": range(12, 16),
    }.items():
        _, (split,) = splits(f"official:test={test}", OFFICIAL)
        assert split.test.tolist() == list(rows)
        assert sorted(np.concatenate([split.train, split.val]).tolist()) == list(range(12))


def test_official_validation_part_is_drawn_from_training_contents_by_seed() -> None:
    _, split_list = splits("official:n=12,val=0.34", OFFICIAL)
    for split in split_list:
        assert OFFICIAL["group"].iloc[split.val].nunique() == 2
        assert not set(OFFICIAL["group"].iloc[split.val]) & set(OFFICIAL["group"].iloc[split.train])
    assert len({split.digest(OFFICIAL["id"]) for split in split_list}) > 6
    assert [split.seed for split in split_list] == list(range(12))
    assert same(split_list[3], splits("official:val=0.34", OFFICIAL, seed=3)[1][0])


@pytest.mark.parametrize("name", ["val", "VAL", "validation", "Validation "])
def test_official_keeps_a_published_validation_part(name: str) -> None:
    rows = table(list(range(8)), ["train", name, "test", "", "train", name, "test", "unused"])
    _, split_list = splits("official:n=2", rows)
    for split in split_list:
        assert [part.tolist() for part in parts(split)] == [[0, 4], [1, 5], [2, 6]]
    assert [split.seed for split in split_list] == [0, 1]


def test_videos_in_no_part_are_counted_and_listed() -> None:
    _, split_list = splits("official", OFFICIAL)
    (note,) = notes(split_list, OFFICIAL)
    assert note == "4 of 20 videos are in no part of any split: " + ", ".join(
        OFFICIAL["id"].iloc[16:20]
    )
    many = table(list(range(40)), ["train"] * 20 + ["test"] * 10 + [""] * 10)
    assert notes(splits("official", many)[1], many)[0].endswith(f"{many['id'].iloc[34]}, …")


def test_official_split_with_shared_contents_is_kept_with_a_note() -> None:
    rows = table([0, 1, 2, 3, 2, 3, 4], ["train"] * 4 + ["test"] * 3)
    _, split_list = splits("official:n=3", rows)
    assert straddling(split_list, rows) == 2
    assert notes(split_list, rows)[0].startswith(
        "2 of 5 groups (contents) have videos both in the test part and in training"
    )
    within = table([0, 1, 1, 2], ["train", "train", "val", "test"])
    _, split_list = splits("official", within)
    assert straddling(split_list, within) == 0
    assert notes(split_list, within)[0].startswith(
        "1 of 3 groups (contents) have videos both in training and in validation"
    )


# --- VIDEVAL ---


@pytest.mark.parametrize("n", [3, 17, 1200])
def test_videval_splits_are_permutations_of_numpys_legacy_generator(n: int) -> None:
    """The arithmetic of scikit-learn when VIDEVAL was published, from a generator that NumPy keeps
    unchanged.
    """

    def divided(rows: np.ndarray, state: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.RandomState(state).permutation(len(rows))
        n_test = math.ceil(0.2 * len(rows))
        return rows[order[n_test:]], rows[order[:n_test]]

    _, split_list = splits("videval", table(list(range(n))))
    assert [split.seed for split in split_list] == list(range(1, 101))
    for i, split in zip(range(1, 101), split_list, strict=True):
        rest, test = divided(np.arange(n), math.ceil(8.8 * i))
        train, val = divided(rest, math.ceil(6.6 * i))
        assert [part.tolist() for part in parts(split)] == [
            sorted(part) for part in (train, val, test)
        ]


def test_videval_splits_of_ten_videos_are_unchanged() -> None:
    _, (first, second) = splits("videval:n=2", table(list(range(10))))
    assert [part.tolist() for part in parts(first)] == [[2, 3, 5, 6, 7, 9], [0, 1], [4, 8]]
    assert [part.tolist() for part in parts(second)] == [[0, 1, 2, 3, 4, 6], [5, 8], [7, 9]]


def test_videval_splits_do_not_depend_on_the_seed_and_their_training_seeds_do() -> None:
    split_list, seeded_splits = (
        splits("videval:n=3", TWENTY)[1],
        splits("videval:n=3", TWENTY, seed=5)[1],
    )
    assert all(same(one, other) for one, other in zip(split_list, seeded_splits, strict=True))
    assert [split.seed for split in seeded_splits] == [6, 7, 8]


def test_videval_reports_contents_in_several_parts() -> None:
    _, split_list = splits("videval:n=10", TWENTY)
    both = [
        sum(
            bool(set(members.index) & set(split.test)) and not set(members.index) <= set(split.test)
            for _, members in TWENTY.groupby("group")
        )
        for split in split_list
    ]
    assert straddling(split_list, TWENTY) == max(both) > 0
    assert f"{max(both)} of 20 groups" in notes(split_list, TWENTY)[0]
    alone = table(list(range(30)))
    assert notes(splits("videval:n=10", alone)[1], alone) == []


# --- indices ---


def index_file(
    folder: Path, kind: str, permutations: np.ndarray, ref_ids: np.ndarray | None = None
) -> Path:
    """Write ``permutations`` [P, M] as published files do; ``kind`` also decides whether a
    permutation is a row or a column.
    """
    suffix, _, turned = kind.partition(" ")
    path = folder / f"index{suffix}"
    shown = permutations.T if turned else permutations
    arrays = {"index": shown, **({} if ref_ids is None else {"ref_ids": ref_ids[None]})}
    if suffix == ".mat" and turned == "v7.3":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = (array if name == "index" else array.T).astype(float)
    elif suffix == ".mat":
        scipy.io.savemat(path, arrays)
    elif suffix == ".npy":
        np.save(path, shown)
    else:
        np.savetxt(path, shown, fmt="%d", delimiter="," if suffix == ".csv" else " ")
    return path


KINDS = [
    ".mat",
    ".mat turned",
    ".mat v7.3",
    *(f"{suffix}{how}" for suffix in (".npy", ".csv", ".txt") for how in ("", " turned")),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [0, 1])
def test_index_file_is_read_for_any_format_axis_and_first_number(
    kind: str, first: int, tmp_path: Path
) -> None:
    permutations = np.stack([np.random.default_rng(seed).permutation(9) for seed in range(4)])
    loaded, ref_ids = read_index_file(index_file(tmp_path, kind, permutations + first))
    assert np.array_equal(loaded, permutations)
    assert ref_ids is None
    if kind.startswith(".mat"):
        references = np.arange(27) // 3
        _, ref_ids = read_index_file(
            index_file(tmp_path, kind, permutations + first, references + first)
        )
        assert np.array_equal(ref_ids, references)


def test_single_line_of_an_index_file_is_one_permutation(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([2, 0, 1]))
    assert read_index_file(tmp_path / "one.npy")[0].tolist() == [[2, 0, 1]]


def test_videos_are_assigned_by_their_reference(tmp_path: Path) -> None:
    order = np.array([[5, 3, 1, 6, 2, 4], [1, 2, 3, 4, 5, 6]])
    ref_ids = np.array([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])
    rows = table(ref_ids.tolist())
    full, split_list = splits(
        f"indices:file={index_file(tmp_path, '.mat', order, ref_ids)},n=2", rows
    )
    assert [part.tolist() for part in parts(split_list[0])] == [
        [0, 2, 4, 5, 6, 7, 9, 11],
        [1, 10],
        [3, 8],
    ]
    assert [part.tolist() for part in parts(split_list[1])] == [
        [0, 1, 2, 3, 8, 9, 10, 11],
        [4, 7],
        [5, 6],
    ]
    assert [split.seed for split in split_list] == [0, 1]
    assert notes(split_list, rows) == []
    assert splits(full, rows)[0] == full


def test_identity_of_an_index_file_is_its_content_and_not_its_folder(
    tmp_path: Path, toy_data: Dataset
) -> None:
    order = np.random.default_rng(0).permutation(60)[None]
    for folder in ("here", "my data, v2", "changed"):
        (tmp_path / folder).mkdir()
        shown = order[:, ::-1] if folder == "changed" else order
        index_file(tmp_path / folder, ".npy", shown)
    plans = {}
    for folder in ("here", "my data, v2", "changed"):
        protocol = str(
            spec.Spec("indices", {"file": str(tmp_path / folder / "index.npy"), "n": "1"})
        )
        assert str(tmp_path) in ChosenProtocol.of(protocol).full_spec
        assert str(tmp_path) not in ChosenProtocol.of(protocol).identity
        plans[folder] = Plan.of(toy_data, TrainOptions(fusion="concat", protocol=protocol))
    assert plans["here"].identity == plans["my data, v2"].identity
    assert plans["here"].name == plans["my data, v2"].name
    assert plans["here"].name != plans["changed"].name


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_keeps_its_contract(name: str, tmp_path: Path) -> None:
    orders = np.stack([np.random.default_rng(seed).permutation(60) for seed in range(10)])
    file = index_file(tmp_path, ".npy", orders)
    check_protocol(f"indices:file={file}" if name == "indices" else name)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_states_whether_contents_are_disjoint(name: str) -> None:
    chosen = ChosenProtocol.of(f"{name}:file=x" if name == "indices" else name)
    assert chosen.content_disjoint == (name in ("random", "kfold"))


@pytest.mark.parametrize("n", [10, 234, 585, 1200])
def test_parts_of_an_index_file_are_rounded_as_vsfa_rounds_them(n: int, tmp_path: Path) -> None:
    path = index_file(tmp_path, ".npy", np.arange(n)[None])
    (split,) = splits(f"indices:file={path},n=1", table(list(range(n))))[1]
    # VSFA.py, with its test_ratio and val_ratio
    test_ratio, val_ratio = 0.2, 0.2
    train_end, test_start = (
        int(np.ceil((1 - test_ratio - val_ratio) * n)),
        int(np.ceil((1 - test_ratio) * n)),
    )
    assert split.train.tolist() == list(range(train_end))
    assert split.val.tolist() == list(range(train_end, test_start))
    assert split.test.tolist() == list(range(test_start, n))


@pytest.mark.real
def test_splits_of_cvd2014_equal_those_of_vsfa_and_shared_scenes_are_reported(real: Path) -> None:
    path = real / "features" / "CVD2014info.mat"
    permutations, ref_ids = read_index_file(path)
    assert permutations.shape == (1000, 234)
    # every video has its own reference: the file does not state which videos show the same scene
    assert ref_ids is not None and sorted(ref_ids.tolist()) == list(range(234))
    with h5py.File(path) as file:
        index, references = file["index"][:], file["ref_ids"][0]
        names = ["".join(map(chr, file[name][:].ravel())) for name in file["video_names"][0]]
    rows = pd.DataFrame(
        {"id": names, "group": [name.split("/")[-1].split("_")[1] for name in names]}
    )
    _, split_list = splits(f"indices:file={path}", rows)
    assert len(split_list) == 10
    for number, split in enumerate(split_list):
        order = index[:, number]
        assert set(references[split.train]) == set(order[:141])
        assert set(references[split.val]) == set(order[141:188])
        assert set(references[split.test]) == set(order[188:])
    assert straddling(split_list, rows) > 1
    assert "this protocol divides videos, not contents" in notes(split_list, rows)[0]


# --- wrong use ---


def test_unknown_protocol_is_refused_with_the_valid_choices() -> None:
    with pytest.raises(
        UsageError, match=r"'leave_one_out'.*indices, kfold, official, random, videval"
    ):
        splits("leave_one_out:n=5", TWENTY)


def test_unknown_option_of_a_protocol_is_refused_with_the_valid_choices() -> None:
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
def test_invalid_parts_are_refused_with_the_valid_range(options: str) -> None:
    with pytest.raises(UsageError, match=r"n must be at least 1.*train \+ val below 1"):
        splits(f"random:{options}", TWENTY)


@pytest.mark.parametrize("options", ["n=many", "n=2.5", "train=most"])
def test_value_of_a_wrong_type_is_refused_with_the_expected_type(options: str) -> None:
    with pytest.raises(UsageError, match="must be a (whole )?number"):
        splits(f"random:{options}", TWENTY)


@pytest.mark.parametrize("groups", [[0], [0, 0, 0, 0], [0, 1, 1, 0, 1]])
def test_too_few_contents_are_refused_with_their_number(groups: list[int]) -> None:
    with pytest.raises(
        UsageError, match=rf"{len(set(groups))} groups \(contents\) cannot be divided"
    ):
        splits("random", table(groups))


def test_three_contents_can_be_divided() -> None:
    for split in splits("random:n=6", table([0, 1, 2, 2]))[1]:
        assert all(len(part) for part in parts(split))


@given(structures, st.floats(0.01, 0.98), st.floats(0.01, 0.98), st.integers(-3, 3))
@settings(deadline=None, max_examples=100)
def test_any_part_sizes_give_a_valid_split_or_a_usage_error(
    groups: list[int], train: float, val: float, seed: int
) -> None:
    rows = table(groups)
    try:
        _, split_list = splits(f"random:n=2,train={train},val={val},seed={seed}", rows)
    except UsageError:
        return
    for split in split_list:
        assert all(len(part) for part in parts(split))
        assert sorted(np.concatenate(parts(split)).tolist()) == list(range(len(rows)))


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("kfold:k=1", "k=1.*k must be at least 2"),
        ("kfold:k=21", "k=21 of 20 groups.*give k at most 20"),
        ("kfold:val=0", "val=0.*val between 0 and 1"),
        ("kfold:val=1", "val=1.*val between 0 and 1"),
        ("kfold:val=nan", "val between 0 and 1"),
        (
            "kfold:val=0.99",
            "16 of them for validation and none for training.*give k more or val less",
        ),
        ("kfold:seed=-1", "seed at least 0"),
        ("videval:n=0", "n=0: n must be at least 1"),
        ("videval:seed=3", "unknown option seed; options of videval: n"),
        ("official", "names no split; fill the column split.*or choose --protocol random"),
        ("official:n=0", "n=0.*n must be at least 1"),
        ("official:val=1", "val=1.*val between 0 and 1"),
        ("indices", "file must be given, as in indices:file="),
        ("indices:file=nowhere.mat", "nowhere.mat does not exist; give an index file, .mat, .npy"),
        ("indices:file=nowhere.mat,n=0", "n=0.*n must be at least 1"),
        ("indices:file=nowhere.mat,train=0.9,val=0.2", r"train=0.9.*train \+ val below 1"),
    ],
)
def test_invalid_numbers_of_the_other_protocols_are_refused_with_the_valid_range(
    protocol: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        splits(protocol, TWENTY)


@pytest.mark.parametrize("protocol", sorted({*PROTOCOLS} - {"official", "indices"}))
def test_two_videos_are_refused(protocol: str) -> None:
    with pytest.raises(UsageError, match=r"2 (groups \(contents\)|videos) cannot be divided"):
        splits(protocol, table([0, 1]))


@pytest.mark.parametrize(
    ("protocol", "column", "message"),
    [
        (
            "official:test=test_1080p",
            ["train", "train", "test"],
            "test=test_1080p is no test part.*holds test, train",
        ),
        ("official:test=train", ["train", "train", "test"], "test=train is no test part"),
        ("official", ["test", "test", "val"], "no row has train.*holds test, val"),
        ("official", ["train", "test", "test"], "val=0.2 of 1 training groups.*mark rows with val"),
    ],
)
def test_unsuitable_split_column_is_refused_with_its_values(
    protocol: str, column: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        splits(protocol, table([0, 1, 2], column))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("n=5", "n=5, and .* holds 4 permutations; give n at most 4"),
        ("", "n=10, and .* holds 4 permutations"),
        (
            "n=2,train=0.9,val=0.09",
            "leave a part of permutation 1 without videos; give that part more",
        ),
    ],
)
def test_request_beyond_an_index_file_is_refused_with_the_available_number(
    options: str, message: str, tmp_path: Path
) -> None:
    path = index_file(
        tmp_path,
        ".npy",
        np.stack([np.random.default_rng(seed).permutation(9) for seed in range(4)]),
    )
    with pytest.raises(UsageError, match=message):
        splits(f"indices:file={path}{',' if options else ''}{options}", table(list(range(9))))


def test_index_file_of_other_videos_is_refused(tmp_path: Path) -> None:
    path = index_file(tmp_path, ".npy", np.arange(9)[None])
    with pytest.raises(
        UsageError, match="divides 9 videos and there are 60; give the index file of this dataset"
    ):
        splits(f"indices:file={path},n=1", TWENTY)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "1,2,3\n1,1,3\n",
            "neither the rows nor the columns of its 2 x 3 numbers are permutations",
        ),
        ("2,3,4\n", "neither the rows nor the columns"),
        ("1,2.5,3\n", "neither the rows nor the columns"),
        ("1,2\n3\n", "cannot be read as .csv"),
        ("first,second\n1,2\n", "cannot be read as .csv"),
        ("", "neither the rows nor the columns"),
    ],
)
def test_table_without_permutations_is_refused(table: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text(table)
    with pytest.raises(UsageError, match=message):
        read_index_file(tmp_path / "index.csv")


def test_files_that_are_not_index_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, 1]), allow_pickle=True)
    (tmp_path / "damaged.mat").write_bytes(b"no such format")
    (tmp_path / "index.xlsx").write_bytes(b"")
    scipy.io.savemat(tmp_path / "other.mat", {"features": np.eye(3)})
    with h5py.File(tmp_path / "linked.mat", "w") as file:
        file["index"] = h5py.ExternalLink("elsewhere.mat", "/index")
    for name, message in {
        "objects.npy": "cannot be read as .npy",
        "damaged.mat": "cannot be read as .mat",
        "index.xlsx": "not an index file of a known kind; give one of .mat",
        "other.mat": "has no array index",
        "linked.mat": "is a link; such a file is refused",
        ".": "is not a file",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_index_file(tmp_path / name)


def test_reference_missing_from_the_permutations_is_named(tmp_path: Path) -> None:
    path = index_file(tmp_path, ".mat", np.arange(1, 6)[None], np.array([1, 2, 6, 4, 5]))
    with pytest.raises(
        UsageError, match="ref_ids of video 3 is 6, but index permutes the references 1 to 5"
    ):
        read_index_file(path)
