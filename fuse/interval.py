"""An interval of time as people write it."""

from __future__ import annotations

import math
from string import ascii_letters

from vqa_twostage.pipeline.errors import UsageError

UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
SHORTEST_S = 0.001  # a thousand samples a second are the most that a sampler takes


def parse_interval(text: str) -> float:
    """``1s``, ``0.5``, ``500ms``, ``2min``: seconds. UsageError for anything else."""
    number = text.strip().rstrip(ascii_letters)
    unit = text.strip()[len(number) :]
    try:
        seconds = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= SHORTEST_S):
        raise UsageError(
            f"{text!r} is no interval: give seconds, at least {SHORTEST_S:g}, as in 1s, 0.5s, "
            "500ms or 2min"
        )
    return seconds
