"""A clock that jumps, goes back or repeats gives times that never go back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.extract.decoding.clock import Packet, corrections, shown_at

TICK, RATE, STEP = 1e-3, 25.0, 40  # milliseconds


def packets(times: list[int | None], duration: int = STEP) -> list[Packet]:
    return [Packet(time, time, duration, False, False, False) for time in times]


def corrected(times: list[int], starts_anew: bool = True) -> list[int]:
    added = corrections(packets([*times]), TICK, RATE, starts_anew)
    return (np.array(times) + added).tolist()


STEADY = list(range(0, 400, STEP))


@pytest.mark.parametrize("starts_anew", [True, False])
@pytest.mark.parametrize("again", [0, 40, 200, -98_000])
def test_clock_that_starts_anew_goes_on(again: int, starts_anew: bool) -> None:
    joined = [*STEADY, *(again + time for time in STEADY)]
    assert corrected(joined, starts_anew) == list(range(0, 800, STEP))


def test_long_step_is_a_pause_unless_the_clock_may_start_anew() -> None:
    pause = [*STEADY, *(20_000 + time for time in STEADY)]
    assert corrected(pause, starts_anew=False) == pause
    assert corrected(pause, starts_anew=True) == list(range(0, 800, STEP))


@pytest.mark.parametrize("starts_anew", [True, False])
def test_short_pause_stays(starts_anew: bool) -> None:
    pause = [*STEADY, *(5_000 + time for time in STEADY)]
    assert corrected(pause, starts_anew) == pause


@pytest.mark.parametrize("starts_anew", [True, False])
@pytest.mark.parametrize("place", [1, 5, 8])
def test_single_time_far_ahead_shifts_no_other(place: int, starts_anew: bool) -> None:
    times = list(STEADY)
    times[place] += 50_000
    assert corrected(times, starts_anew) == STEADY


def test_packets_without_a_time_are_no_jump() -> None:
    times = [0, None, None, 120, 160]
    assert not corrections(packets(times), TICK, RATE, True).any()


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=40))
def test_frames_are_never_shown_before_the_one_in_front(times: list[float | None]) -> None:
    seconds = shown_at(times, RATE)
    assert len(seconds) == len(times) and seconds[0] == 0
    assert (np.diff(seconds) >= 0).all()


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=30).map(sorted))
def test_times_that_ascend_stay(times: list[float]) -> None:
    assert np.allclose(shown_at([*times], RATE), np.array(times) - times[0])


def test_equal_pair_leaves_all_other_times() -> None:
    times = [0.0, 0.04, 0.04, 0.12, 5.0, 5.04]
    assert shown_at([*times], RATE).tolist() == times


def test_unknown_times_lie_between_their_neighbours() -> None:
    assert np.allclose(
        shown_at([None, 1.0, None, None, 1.3, None], 10.0), [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    )
