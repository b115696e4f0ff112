"""Fits in processes of their own end without a word, whenever they are stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Ctrl-C waits while processes start, and is raised as soon as they have
CTRL_C_MEANWHILE = """
import sys
from contextlib import contextmanager
from pathlib import Path
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning.fit_all import Fit, fit_all
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.pipeline import process_context

@contextmanager
def ctrl_c_meanwhile():
    yield
    raise KeyboardInterrupt

process_context.ctrl_c_stays_here = ctrl_c_meanwhile
data = load_dataset(Path(sys.argv[1]), None, None, None)
options = TrainOptions(fusion="concat", epochs=2, members=1)
fits = [Fit(split, options) for split in splits("random:n=6", data.manifest.rows)[1]]
try:
    list(fit_all(data, fits, 2))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.long
def test_ctrl_c_while_processes_start_ends_them_without_a_warning(toy_cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_MEANWHILE, toy_cache],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
