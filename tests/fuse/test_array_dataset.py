"""Arrays of a caller become the dataset that their names say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse import array_dataset
from vqa_twostage.fuse.array_dataset import ArrayError


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_columns_and_frames_come_to_the_arrays_that_names_say(lengths: list[int]) -> None:
    generator = np.random.default_rng(len(lengths))
    videos = [generator.normal(size=(length, 5)).astype(np.float32) for length in lengths]
    names = ["temporal/c1/mean[0]", "spatial/last/std[1]", "spatial", "spatial/last/std[0]"]
    frames = array_dataset.frames_of(videos)
    places = array_dataset.places_of([*names, "temporal/net/c1/cls"], 5)
    sides = array_dataset.sides_of(frames.rows, frames.lengths, places)

    ((spatial,), (temporal,)) = sides
    assert set(spatial.arrays) == {"last/std", "features/mean"}
    assert set(temporal.arrays) == {"c1/mean", "net/c1/cls"}
    for number, video in enumerate(videos):
        kept = spatial.mask[number]
        assert kept.sum() == len(video) and kept[: len(video)].all()
        np.testing.assert_array_equal(spatial.arrays["last/std"][number][kept], video[:, [1, 3]])
        np.testing.assert_array_equal(temporal.arrays["net/c1/cls"][number][kept], video[:, [4]])
        assert not spatial.arrays["last/std"][number][~kept].any()


def test_columns_of_one_stream_are_read_by_both() -> None:
    for names in (None, ["temporal"] * 3):
        sides = array_dataset.sides_of(
            np.zeros((2, 3), np.float32), np.array([1, 1]), array_dataset.places_of(names, 3)
        )
        assert sides.spatial is sides.temporal


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(lambda each: len({*each}) > 1),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32),
)
def test_held_out_contents_are_whole_and_neither_none_nor_all(
    contents: list[int], fraction: float, seed: int
) -> None:
    numbers = array_dataset.contents_of(contents, len(contents))
    chosen = array_dataset.held_out(numbers, fraction, seed)
    assert chosen.any() and not chosen.all()
    assert not set(numbers[chosen]) & set(numbers[~chosen])
    np.testing.assert_array_equal(chosen, array_dataset.held_out(numbers, fraction, seed))


def test_groups_may_be_of_any_kind() -> None:
    for groups in (["b", "a", "b"], np.array([2.5, 1, 2.5]), (True, False, True)):
        assert array_dataset.contents_of(groups, 3).tolist() == [0, 1, 0]
    with pytest.raises(ArrayError, match="one value for each of 2 videos, not of shape"):
        array_dataset.contents_of([["a"], ["b"]], 2)
