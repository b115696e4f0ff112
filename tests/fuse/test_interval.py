"""Intervals of time are read as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.interval import SHORTEST_S, UNITS, parse_interval
from vqa_twostage.pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("1", 1), (" 0.5 s ", 0.5), ("500ms", 0.5), ("2min", 120), ("1h", 3600)],
)
def test_interval_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_interval(text) == pytest.approx(seconds)


@settings(deadline=None)
@given(
    number=st.floats(min_value=1, max_value=1e6, allow_nan=False), unit=st.sampled_from([*UNITS])
)
def test_interval_of_any_number_is_that_many_units(number: float, unit: str) -> None:
    assert parse_interval(f"{number!r}{unit}") == pytest.approx(max(number * UNITS[unit], 0.001))


@settings(deadline=None)
@given(text=st.text(max_size=8))
def test_interval_is_seconds_that_a_sampler_takes_or_one_message(text: str) -> None:
    refusal = ""
    try:
        assert SHORTEST_S <= parse_interval(text) < float("inf")
    except UsageError as error:
        refusal = str(error)
    assert not refusal or "is no interval: give seconds" in refusal


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "nan", "inf", "1 parsec", "1s2", "1e-9s"])
def test_interval_that_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=r"as in 1s, 0.5s, 500ms or 2min"):
        parse_interval(text)
