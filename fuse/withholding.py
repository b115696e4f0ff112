"""Figures of a small test part are withheld: the one rule, and its reason in words."""

from __future__ import annotations

LEAST_TEST_VIDEOS = 20
"""With so many the 95 % interval of an SRCC of .5 is .05 to .78; with fewer it soon contains 0."""
REASON = f"correlations of fewer than {LEAST_TEST_VIDEOS} test videos are mostly chance"


def is_withheld(n_test: int) -> bool:
    """Whether no figure of so many test videos may be shown, in any place. Predictions may."""
    return n_test < LEAST_TEST_VIDEOS
