"""Commands whose reader ends, as ``| head -1`` does, end without a traceback or a message."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from commands import BIN
from written_runs import predictions_of, write_run

from vqa_twostage.pipeline.errors import READER_GONE

COMMANDS = [
    "vqa-fuse --help",
    "vqa-fuse train --list",
    "vqa-fuse evaluate one",
    "vqa-fuse evaluate one --json",
    "vqa-fuse compare one two",
    "vqa-extract --list",
    "vqa-data --help",
    "vqa-data list",
    "vqa-cache --version",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("one", "two")):
        write_run(folder / name, predictions_of([30, 30], seed), name)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_command_whose_reader_has_ended_says_nothing(command: str, runs: Path) -> None:
    done = subprocess.run(
        [BIN / command.split()[0], *command.split()[1:]],
        stdout=broken_pipe(),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=runs,
    )
    assert (done.returncode, done.stderr) == (READER_GONE, "")


def test_error_that_nobody_reads_is_no_other_error(runs: Path) -> None:
    pipe = broken_pipe()
    done = subprocess.run(
        [BIN / "vqa-fuse", "evaluate", "nowhere"], stdout=pipe, stderr=pipe, check=False, cwd=runs
    )
    assert done.returncode == READER_GONE


def test_head_gets_its_line_and_no_traceback(runs: Path) -> None:
    line = f"{BIN / 'vqa-fuse'} compare one two | head -1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, cwd=runs)
    assert done.stdout.startswith("clips, random:n=2") and done.stderr == ""


def broken_pipe() -> int:
    """To write to, and nobody can read."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing
