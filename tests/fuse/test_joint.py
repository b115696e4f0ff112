"""Other datasets that a head learns from: which of their videos, and in which direction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from several_sets import add_dataset, part
from toy_cache import write_features

from vqa_twostage.fuse.data import Dataset, load_dataset
from vqa_twostage.fuse.joint import identity_of, shared_videos, with_others
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.errors import UsageError

CONTENTS = st.text("abcxyz0189", min_size=1, max_size=8)


def rows(*ids: str, groups: tuple[str, ...] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"id": ids, "group": groups or ids})


def own(cache: Path, name: str = "own") -> Dataset:
    return load_dataset(cache, name, None, None)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    add_dataset(tmp_path, part("own", 0, 6))
    add_dataset(tmp_path, part("other", 6, 14))
    return tmp_path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10053703034", "orig_10053703034_540_5s.mp4"),
        ("orig_10053703034_540_5s.mp4", "10053703034"),
        ("A012", "a012.mp4"),
        ("A012", "A012NEW"),
        ("clip-01", "Clip 01.avi"),
        ("yfcc-batch1/7034123", "7034123"),
        ("scene/clip1", "scene_clip1"),
    ],
)
def test_one_video_is_known_under_the_names_of_two_datasets(one: str, other: str) -> None:
    assert shared_videos(rows(one), rows(other)).tolist() == [True]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A012", "A013"),
        ("10053703034", "100537030345"),
        ("540", "orig_10053703034_540_5s.mp4"),
        ("scene1/clip1", "scene2/clip1"),
        ("original", "orig_original_5s"),
        ("Test01_City_D01", "Test01_City_D02"),
    ],
)
def test_other_videos_with_similar_names_are_other_videos(one: str, other: str) -> None:
    assert shared_videos(rows(one), rows(other)).tolist() == [False]


@settings(deadline=None)
@given(st.lists(CONTENTS, min_size=1, unique=True), st.lists(CONTENTS, min_size=1, unique=True))
def test_videos_of_a_content_that_both_have_are_shared_and_so_is_their_whole_group(
    ours: list[str], theirs: list[str]
) -> None:
    versions = [f"{group}/{number}" for group in theirs for number in "12"]
    groups = tuple(group for group in theirs for _ in "12")
    shared = shared_videos(
        rows(*(f"own {number}" for number in range(len(ours))), groups=tuple(ours)),
        rows(*versions, groups=groups),
    )
    assert shared[::2].tolist() == shared[1::2].tolist()
    assert all(shared[::2][place] for place, group in enumerate(theirs) if group in ours)
    assert not any(shared[::2][place] for place, group in enumerate(theirs) if group not in ours)


def test_other_datasets_are_read_in_the_order_of_their_names(cache: Path) -> None:
    add_dataset(cache, part("another", 14, 18))
    data = with_others(own(cache), ["other", "another"])
    assert [other.manifest.name for other in data.others] == ["another", "other"]
    assert [len(other.mos) for other in data.others] == [20, 40]
    joint = identity_of(data)
    assert joint is not None
    assert [(other.dataset, other.videos, other.left_out) for other in joint] == [
        ("another", 20, 0),
        ("other", 40, 0),
    ]


def test_videos_that_both_have_are_left_out_and_counted(cache: Path) -> None:
    add_dataset(cache, part("overlapping", 4, 9))
    data = with_others(own(cache), ["overlapping"])
    (other,) = data.others
    assert not set(other.manifest.rows["id"]) & set(data.manifest.rows["id"])
    assert len(other.mos) == 15
    (joint,) = identity_of(data) or []
    assert (joint.videos, joint.left_out) == (15, 10)


def test_copies_under_other_names_are_left_out_with_their_whole_group(cache: Path) -> None:
    ours, theirs = own(cache), own(cache, "other")
    for source, target in zip(ours.tracks, theirs.tracks, strict=True):
        with open_track(source.path) as track:
            video = track.read(ours.manifest.rows["id"][3])
        with write_track(target.path, target.identity, {}) as writer:
            writer.write(theirs.manifest.rows["id"][7], video)
    (other,) = with_others(ours, ["other"]).others
    assert set(theirs.manifest.rows["id"]) - set(other.manifest.rows["id"]) == set(
        theirs.manifest.rows["id"][5:10]
    )
    assert len(other.everything) == 40


def test_dataset_whose_videos_are_all_shared_is_refused(cache: Path) -> None:
    add_dataset(cache, part("inside", 1, 4))
    with pytest.raises(UsageError, match="own has every video of inside as well, .* leave out"):
        with_others(own(cache), ["inside"])


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_labels_of_others_grow_in_the_direction_of_the_own_ones(cache: Path, better: str) -> None:
    qualities = part("directed", 14, 20)
    sign = 1 if better == "higher" else -1
    add_dataset(cache, replace(qualities, better=better), lambda mos: sign * mos)
    data = with_others(own(cache), ["directed"])
    np.testing.assert_allclose(data.others[0].mos, qualities.rows["mos"])
    (joint,) = identity_of(data) or []
    assert joint.mirrored == (better == "lower")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["own"], "own is named twice"),
        (["other", "other"], "other is named twice"),
        (["nowhere"], "holds no dataset 'nowhere'; it holds"),
        (["untracked"], "has no temporal track made as the run's; extract it with the same"),
        (["otherwise"], r"has no spatial track made as the run's;.*\n.* differs in sampler"),
    ],
)
def test_other_dataset_that_cannot_be_used_is_one_message(
    cache: Path, names: list[str], message: str
) -> None:
    untracked, otherwise = part("untracked", 14, 18), part("otherwise", 18, 22)
    save_manifest(cache, untracked)
    write_features(cache, untracked, "spatial")
    save_manifest(cache, otherwise)
    for kind in ("spatial", "temporal"):
        write_features(cache, otherwise, kind, sampler="uniform:frames=3")
    with pytest.raises(UsageError, match=message):
        with_others(own(cache), names)


def test_a_dataset_alone_has_no_others_and_no_trace_of_them(cache: Path) -> None:
    data = with_others(own(cache), None)
    assert data.others == () and identity_of(data) is None
