"""Lists and counts in words, as messages and tables have them."""

from __future__ import annotations

from collections.abc import Sequence


def first_of(names: Sequence[str], most: int) -> str:
    """The first of many names, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def between(least: int, most: int) -> str:
    """``9 to 17``, or ``8`` where both are."""
    return f"{most}" if least == most else f"{least} to {most}"
