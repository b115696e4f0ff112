"""What a video may take is told in one message with the value, the limit and the option; the
defaults let real videos pass.
"""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import DEFAULTS, KEYS, Limits, parse_limits


def test_text_of_limits_is_read_back() -> None:
    limits = Limits(pixels=10**9, frames=7, duration=1.5, memory=16.0, time=math.inf)
    assert parse_limits(str(limits)) == limits
    assert parse_limits("") == parse_limits(str(DEFAULTS)) == Limits()
    assert parse_limits("memory=16,frames=9000000") == Limits(memory=16.0, frames=9_000_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory", "is not KEY=VALUE"),
        ("pixels=many", "pixels must be a whole number, not 'many'"),
        ("frame=3", "unknown option frame; options of limits: pixels, frames, duration"),
        ("frames=0", "frames must be at least 1, not 0"),
        ("memory=0.1", "memory must be at least 0.5, not 0.1"),
        ("time=nan", "time must be at least 1, not nan"),
        ("frames=1,frames=2", "sets 'frames' twice"),
    ],
)
def test_limits_that_cannot_be_read_are_wrong_use(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_limits(text)


def test_text_and_type_have_the_same_keys_and_defaults() -> None:
    assert tuple(field.name for field in fields(Limits)) == KEYS
    assert [part.partition("=")[0] for part in str(DEFAULTS).split(",")] == list(KEYS)


@pytest.mark.parametrize(
    ("frames", "seconds"), [(6 * 3600 * 60, 6 * 3600.0), (24 * 3600 * 50, 24 * 3600.0)]
)
def test_defaults_let_large_and_long_videos_pass(frames: int, seconds: float) -> None:
    DEFAULTS.check_frame(7680, 4320)
    DEFAULTS.check_frame(8192, 8192)
    DEFAULTS.check_length(frames, seconds)
    assert DEFAULTS.seconds_for(1) == DEFAULTS.seconds_for(10**6) == 600


def test_each_limit_names_the_value_the_limit_and_the_option() -> None:
    limits = Limits(pixels=1000, frames=10, duration=5.0, memory=2.0, time=3.0)
    messages = []
    for check in (
        lambda: limits.check_frame(100, 11),
        lambda: limits.check_length(11, 1.0),
        lambda: limits.check_length(10, 5.25),
        lambda: _want_memory(limits),
        lambda: _raise(limits.out_of_time(2_500_000)),
    ):
        with pytest.raises(VideoError) as refused:
            check()
        assert refused.value.kind == "limit"
        messages.append(str(refused.value))
    assert messages == [
        "a frame has 1100 pixels (100 x 11); the limit is 1000: raise it with --limits pixels=1100",
        "has 11 frames; the limit is 10: raise it with --limits frames=11",
        "is 6 s long by its clock; the limit is 5 s: raise it with --limits duration=6",
        "needs more memory than a decoding process gets, or is damaged; the limit is 2 GB: "
        "raise it with --limits memory=4",
        "took more than 8 s of processor time to decode; the limit is 3 s for each MB, and it has "
        "2.5 MB: raise it with --limits time=6",
    ]
    limits.check_frame(100, 10)
    limits.check_length(10, 5.0)


def _want_memory(limits: Limits) -> None:
    with limits.memory_named():
        raise MemoryError


def _raise(error: Exception) -> None:
    raise error


def test_want_of_memory_that_ffmpeg_tells_names_the_limit_and_other_reasons_stay() -> None:
    limits = Limits()
    ffmpeg_says = VideoError("could not be decoded: Cannot allocate memory")
    ffmpeg_says.__cause__ = MemoryError()
    with pytest.raises(VideoError, match="memory=16"), limits.memory_named():
        raise ffmpeg_says
    with pytest.raises(VideoError, match="^file is empty$"), limits.memory_named():
        raise VideoError("file is empty")
