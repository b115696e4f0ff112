"""Ctrl-C ends every command soon, with one message, whatever it is doing, and run again it comes to
the same end.

`make soak` tries as often as docs/reliability.md says, and shows the longest that a command took.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from commands import BIN, run

# seconds until a command counts as one that does not end; the promise is in docs/reliability.md
HANGS = 60.0
QUICK = ("--protocol", "random:n=3", "--epochs", "6")
COMMANDS = {
    "extract": "vqa-extract --dataset clips/mos.csv --preset offline --cache new",
    "train": "vqa-fuse train --dataset toy --fusion dynamic --run new " + " ".join(QUICK),
    "ablate": "vqa-fuse ablate --dataset toy --fusion concat,dynamic --output new "
    + " ".join(QUICK),
    "reproduce": "vqa-fuse reproduce base",
    "report": "vqa-fuse report base --output report.html",
    "export": "vqa-fuse export base --output exported --onnx",
    "score": "vqa-fuse score clips --cache new",
    "check": "vqa-data check clips/mos.csv",
    "verify": "vqa-cache verify cache",
    "compact": "vqa-cache compact cache",
    "make demo": "vqa-data make demo --root demo",
}
ENDLESS = ("make demo",)  # minutes
GIVEN = ("base", "cache", "clips")


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory, toy_cache: Path) -> Path:
    """A folder with videos, a cache and a run."""
    place = tmp_path_factory.mktemp("interrupted")
    (place / "clips").symlink_to(clips)
    (place / "cache").symlink_to(toy_cache)
    done = run(*["vqa-fuse", "train", "--dataset", "toy", "--run", "base"], *QUICK, cwd=place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.long
@pytest.mark.soak(1, 4)
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_a_command_soon_and_loses_nothing(
    name: str, folder: Path, times: int, record_property: Callable[[str, object], None]
) -> None:
    words = COMMANDS[name].split()
    remove_results(folder)
    random, longest, stopped = Random(name), 0.0, 0
    whole = 10.0 if name in ENDLESS else seconds_of(words, folder)
    expected = predictions(folder)
    for _ in range(times):
        remove_results(folder)
        process = start(words, folder)
        try:
            process.wait(random.uniform(0.2, whole))
        except subprocess.TimeoutExpired:
            # as a terminal does: to all processes of the command
            os.killpg(process.pid, signal.SIGINT)
        began = time.monotonic()
        _, messages = process.communicate(timeout=HANGS)
        longest = max(longest, time.monotonic() - began)
        if "KeyboardInterrupt" in messages and "console.py" not in messages:
            continue  # Python was still importing the command
        assert "Traceback" not in messages, messages
        if process.returncode == 130:
            stopped += 1
            assert messages.rstrip().endswith("run the same command again to continue."), messages
        else:  # it had printed everything
            assert process.returncode in (0, -signal.SIGINT), messages
    record_property("interrupted", stopped)
    record_property("seconds until the end, at most", round(longest, 1))
    if name not in ENDLESS:
        seconds_of(words, folder)  # goes on where the last one was interrupted
        assert predictions(folder) == expected


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / words[0], *words[1:]],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def remove_results(folder: Path) -> None:
    """Everything but what the commands are given."""
    for path in folder.iterdir():
        if path.name not in GIVEN:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def predictions(folder: Path) -> dict[str, bytes]:
    """What every run but the given one predicts."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("new/**/predictions.csv")
    }


def seconds_of(words: list[str], folder: Path) -> float:
    """Runs a command undisturbed."""
    began = time.monotonic()
    process = start(words, folder)
    _, messages = process.communicate(timeout=240)
    assert process.returncode == 0, messages
    return time.monotonic() - began
