"""What the README says of speed is what `make bench` measured."""

from __future__ import annotations

import subprocess
import sys

from places import REPOSITORY


def test_readme_shows_the_table_that_was_measured_last() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks.goals", "--show"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = shown.stdout.strip()
    assert rows.count("\n") >= 6
    assert rows in (REPOSITORY / "README.md").read_text(encoding="utf-8")
