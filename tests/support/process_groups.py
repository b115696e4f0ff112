"""Whether processes that a program started have ended with it."""

from __future__ import annotations

import os


def group_exists(leader: int) -> bool:
    """Whether any process of the process group is still running."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
