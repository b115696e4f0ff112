"""Where programs keep, for this user, what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """The folder ``~/.cache/<name>``, or below ``$XDG_CACHE_HOME``; RuntimeError where there is no
    home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name
