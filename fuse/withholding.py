"""Figures of a small test part are withheld, and those of a rather small one need a caution: the
rules, and their reason in words.
"""

from __future__ import annotations

LEAST_TEST_VIDEOS = 20
"""With so many the 95 % interval of an SRCC of .5 is .05 to .78; with fewer it soon contains 0."""
FEW_VIDEOS = 100
"""With fewer, the 95 % interval of an SRCC of .8 is wider than .15, more than most heads differ."""
REASON = f"correlations of fewer than {LEAST_TEST_VIDEOS} test videos are mostly chance"


def is_withheld(n_test: int) -> bool:
    """Whether no figure of so many test videos may be shown, in any place. Predictions may."""
    return n_test < LEAST_TEST_VIDEOS


def needs_caution(n: int) -> bool:
    """Whether a figure of so many videos may be shown, with its interval beside it."""
    return LEAST_TEST_VIDEOS <= n < FEW_VIDEOS
