"""Plots are drawn without touching the matplotlib of the program that imports this package."""

from __future__ import annotations

import subprocess
import sys

import pytest

# run as a separate process, because other tests may have loaded pyplot in this one
HOST_PROGRAM = """
import sys
import matplotlib
matplotlib.use("svg")
import vqa_twostage.fuse.train
import vqa_twostage.fuse.score
import vqa_twostage.fuse.ablate
import vqa_twostage.fuse.report
import vqa_twostage.fuse.reporting.contact_sheet
assert "matplotlib.pyplot" not in sys.modules, "pyplot was loaded"
print(matplotlib.get_backend())
"""


@pytest.mark.long
def test_importing_stage_two_leaves_the_backend_of_matplotlib_alone() -> None:
    process = subprocess.run(
        [sys.executable, "-c", HOST_PROGRAM], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "svg"
