"""A residual is the difference to a neighbour, given once, in whatever order the frames come."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.extract.decoding.workers import neighbours
from vqa_twostage.extract.inference.residuals import Residuals

LENGTH = 12
VIDEO = np.random.default_rng(0).integers(0, 256, (LENGTH, 2, 3, 3)).astype(np.uint8)


def test_neighbour_is_the_next_frame_and_of_the_last_the_one_before() -> None:
    assert neighbours(np.array([[0, 1], [1, 2]]), 3).tolist() == [[1, 2], [2, 1]]
    assert neighbours(np.array([[0]]), 1).tolist() == [[0]]


@settings(deadline=None)
@given(
    st.sets(st.integers(0, LENGTH - 1), min_size=1),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)
def test_every_residual_comes_once_and_is_exact(
    wanted: set[int], random: object, at_once: int
) -> None:
    frames = {*wanted, *(number + 1 if number < LENGTH - 1 else number - 1 for number in wanted)}
    order = sorted(frames)
    random.shuffle(order)  # type: ignore[attr-defined]
    residuals, found = Residuals(sorted(wanted), LENGTH), {}
    for start in range(0, len(order), at_once):
        numbers = order[start : start + at_once]
        memory = VIDEO[numbers]
        some, images = residuals.receive(np.array(numbers), memory)
        memory[:] = 0  # it is the decoder's again
        assert not found.keys() & set(some.tolist())
        found |= dict(zip(some.tolist(), images, strict=True))
    assert found.keys() == wanted
    for number, image in found.items():
        other = number + 1 if number < LENGTH - 1 else number - 1
        assert (image == abs(VIDEO[number].astype(int) - VIDEO[other])).all()
    assert not residuals._held


def test_frames_that_come_in_order_are_held_one_at_a_time() -> None:
    residuals = Residuals(range(LENGTH), LENGTH)
    for number in range(LENGTH):
        residuals.receive(np.array([number]), VIDEO[[number]])
        assert set(residuals._held) <= {number}


def test_residual_of_a_video_of_one_frame_is_nothing() -> None:
    numbers, images = Residuals([0], 1).receive(np.array([0]), VIDEO[:1])
    assert numbers.tolist() == [0] and not images.any()
