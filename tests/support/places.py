"""Where things lie, for tests in any folder."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"
SHARED = REPOSITORY.parent / "shared"
REAL = SHARED / "real"
