"""Names that feature files give to videos are matched with the videos of a dataset by one rule,
and never by a guess.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache.video_names import MatchedNames, match_names


def matched(names: list[str], *ids: str, **paths: str) -> MatchedNames:
    """``ids`` are videos whose path is their id, ``paths`` the others with theirs."""
    return match_names(names, {**{video_id: video_id for video_id in ids}, **paths})


@pytest.mark.parametrize(
    ("name", "video_id", "path"),
    [
        ("Test3/City/a.avi", "a", "Test3/City/a.avi"),  # the path
        ("a.mp4", "a", "videos/a.mov"),
        ("a", "a.mp4", "a.mp4"),
        ("C:\\data\\a.mp4", "a", "a.mp4"),
        ("other/folder/a", "x", "videos/a.mp4"),  # by the file's name
        ("A_1", "a 1", "a 1.mp4"),
        ("Clip-01 (b)", "clip_01__B_", "clip.mp4"),
        ("A012NEW", "A012.mp4", "Video/A012.mp4"),
        ("a012_new.mp4", "A012", "Video/A012.mp4"),
        ("A012", "A012new", "A012new.mp4"),
        ("e\u0301te", "\u00e9te", "x.mp4"),  # an accent of its own, and one in a letter
    ],
)
def test_other_spelling_of_one_video_is_matched_and_told(
    name: str, video_id: str, path: str
) -> None:
    found = matched([name], "another", **{video_id: path})
    assert found.ids == {name: video_id} and not found.ambiguous and not found.unknown
    assert found.otherwise == {name: video_id}


def test_exact_ids_go_before_everything_else() -> None:
    found = matched(["a", "a.mp4", "A"], "a", "a.mp4", "A")
    assert found.ids == {"a": "a", "a.mp4": "a.mp4", "A": "A"} and not found.otherwise


def test_name_that_could_be_two_videos_is_no_match() -> None:
    found = matched(["a", "b"], "x/a.mp4", "y/a.mp4", "b")
    assert found.ids == {"b": "b"} and not found.unknown
    assert found.ambiguous == {"a": ["x/a.mp4", "y/a.mp4"]}


def test_two_names_of_one_video_are_no_match() -> None:
    found = matched(["x/a.mp4", "y/a.mp4"], "a")
    assert not found.ids and found.ambiguous == {"x/a.mp4": ["a"], "y/a.mp4": ["a"]}


def test_video_that_a_closer_name_has_is_not_given_to_another_name() -> None:
    found = matched(["A012NEW", "A012"], "A012")
    assert found.ids == {"A012": "A012"} and found.unknown == ["A012NEW"]


@pytest.mark.parametrize(
    ("name", "video_id"),
    [
        ("clip1.1", "clip11"),
        ("01", "1"),
        ("renew", "re"),
        ("new", "old"),
        ("--", "__"),
        ("a.npy", "a"),
        ("a", "b"),
    ],
)
def test_names_that_say_different_things_are_not_matched(name: str, video_id: str) -> None:
    found = matched([name], video_id)
    assert not found.ids and found.unknown == [name] and not found.ambiguous


NAMES = st.lists(st.text("aAbB01_- ./new", min_size=1, max_size=6), unique=True, max_size=12)


@settings(deadline=None)
@given(NAMES, NAMES)
def test_every_name_has_one_fate_and_no_video_two_names(names: list[str], ids: list[str]) -> None:
    found = matched(names, *ids)
    assert sorted([*found.ids, *found.ambiguous, *found.unknown]) == sorted(names)
    assert len(set(found.ids.values())) == len(found.ids) and set(found.ids.values()) <= set(ids)
    assert {name: name for name in names if name in ids} == {
        name: video_id for name, video_id in found.ids.items() if name not in found.otherwise
    }
    backwards = matched(names[::-1], *ids[::-1])
    assert (backwards.ids, set(backwards.unknown)) == (found.ids, set(found.unknown))


@pytest.mark.real
def test_videval_names_of_live_vqc_are_matched(real: Path) -> None:
    labels = scipy.io.loadmat(real / "labels" / "LIVE_VQC_data.mat")["video_list"].ravel()
    ids = [str(cell[0]) for cell in labels]
    # as VIDEVAL has them: without extension, and nine of them marked as new
    names = [name.removesuffix(".mp4") for name in ids]
    names[11:20] = [f"{name}NEW" for name in names[11:20]]
    found = match_names(names, {video_id: f"Video/{video_id}" for video_id in ids})
    assert list(found.ids.values()) == ids and len(found.otherwise) == 585
