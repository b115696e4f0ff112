"""Fits in processes of their own end without a word, whenever and however they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from process_groups import check_all_end

# Ctrl-C waits while processes start, and is raised as soon as they have
CTRL_C_MEANWHILE = """
import sys
from contextlib import contextmanager
from pathlib import Path
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning.fit_all import fit_all
from vqa_twostage.fuse.learning.fit_groups import Fit
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


FITS_FOR_AN_HOUR = """
import sys
from pathlib import Path
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning.fit_all import fit_all
from vqa_twostage.fuse.learning.fit_groups import Fit
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
data = load_dataset(Path(sys.argv[1]), None, None, None)
short, long = (TrainOptions(fusion="concat", epochs=epochs, members=1) for epochs in (1, 10**6))
first, *others = splits("random:n=6", data.manifest.rows)[1]
for _ in fit_all(data, [Fit(first, short), *(Fit(split, long) for split in others)], 2):
    print("one is done", flush=True)
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_fits_end_with_the_program_that_started_them(how: signal.Signals, toy_cache: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", FITS_FOR_AN_HOUR, toy_cache],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None and program.stdout.readline() == "one is done\n"
    check_all_end(program, how, within=20)
