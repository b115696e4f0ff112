"""What a video may take, so that a hostile or broken file costs itself alone.

The defaults are far above every known data set. Limits decide whether a video is used and never
what its features are, so they are a part of no identity.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError, VideoError

GB = 1e9  # bytes
MB = 1e6
# what copies of videos at addresses may take at once on a disk
SCRATCH_GB = 8.0
LEAST_MEMORY = 0.5  # GB: the libraries of a decoding process alone take 0.3


@dataclass(frozen=True)
class Limits:
    """The most that a video may have and take. UsageError for values that no video could keep.

    pixels: of a frame. frames: of a video. duration: of a video, seconds. memory: of a decoding
    process, GB (10^9 bytes), where the system is Linux. time: seconds of processor time for each MB
    (10^6 bytes) of a file, of which one counts as at least one MB.
    """

    pixels: int = 8192 * 8192
    frames: int = 5_000_000
    duration: float = 172_800.0
    memory: float = 8.0
    time: float = 600.0

    def __post_init__(self) -> None:
        for name in KEYS:
            value, least = getattr(self, name), LEAST_MEMORY if name == "memory" else 1
            if not value >= least:  # so that "not a number" is refused too
                raise UsageError(f"limits: {name} must be at least {least}, not {value}")

    def __str__(self) -> str:
        """As `parse_limits` reads it."""
        return ",".join(f"{name}={_written(getattr(self, name))}" for name in KEYS)

    def check_frame(self, width: int, height: int) -> None:
        """VideoError where a frame has too many pixels."""
        pixels = width * height
        if pixels > self.pixels:
            raise _exceeded(
                f"a frame has {pixels} pixels ({width} x {height})",
                str(self.pixels),
                f"pixels={pixels}",
            )

    def check_length(self, frames: int, seconds: float) -> None:
        """VideoError where there are too many frames, or the last is shown too late."""
        if frames > self.frames:
            raise _exceeded(f"has {frames} frames", str(self.frames), f"frames={frames}")
        if seconds > self.duration:
            shown = math.ceil(seconds)
            raise _exceeded(
                f"is {shown} s long by its clock", f"{self.duration:g} s", f"duration={shown}"
            )

    @contextmanager
    def memory_named(self) -> Iterator[None]:
        """What ends for want of memory is a VideoError that names the limit."""
        try:
            yield
        except MemoryError:
            raise self._out_of_memory() from None
        except VideoError as error:
            if isinstance(error.__cause__, MemoryError):  # as FFmpeg says it
                raise self._out_of_memory() from None
            raise

    def seconds_for(self, size: int) -> float:
        """Processor time that a file of ``size`` bytes may take, in seconds."""
        return self.time * max(1.0, size / MB)

    def out_of_time(self, size: int) -> VideoError:
        """What a file of ``size`` bytes is told that took longer."""
        return _exceeded(
            f"took more than {self.seconds_for(size):.0f} s of processor time to decode",
            f"{self.time:g} s for each MB, and it has {size / MB:.1f} MB",
            f"time={_written(2 * self.time)}",
        )

    def _out_of_memory(self) -> VideoError:
        return _exceeded(
            "needs more memory than a decoding process gets, or is damaged",
            f"{self.memory:g} GB",
            f"memory={_written(2 * self.memory)}",
        )


KEYS = tuple(field.name for field in fields(Limits))
DEFAULTS = Limits()
# of videos that kept the limits of their user before
ANY_SIZE = Limits(pixels=sys.maxsize, frames=sys.maxsize, duration=math.inf)


def parse_limits(text: str) -> Limits:
    """``"frames=9000000,memory=16"``, where what is left out is the default; UsageError for what
    cannot be read.
    """
    return Limits(**spec.options_of(spec.parse(f"limits:{text}"), _limits)) if text else DEFAULTS


def _limits(
    *,
    pixels: int = DEFAULTS.pixels,
    frames: int = DEFAULTS.frames,
    duration: float = DEFAULTS.duration,
    memory: float = DEFAULTS.memory,
    time: float = DEFAULTS.time,
) -> None:
    """The keys of a text of limits, with their types."""


def _exceeded(what: str, limit: str, remedy: str) -> VideoError:
    return VideoError(f"{what}; the limit is {limit}: raise it with --limits {remedy}", "limit")


def _written(value: int | float) -> str:
    whole = math.isfinite(value) and value == int(value)
    return str(int(value)) if whole else str(value)
