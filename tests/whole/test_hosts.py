"""The library in other people's programs, each a real process: no `__main__` guard is needed, and
decoding processes import nothing of the program that calls.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# lines that `python -i` understands as well: none opens a block
PROGRAM = """\
_ = open("effects.txt", "a").write("the program ran\\n")
import vqa_twostage as vqa
print("score", vqa.score("clip.mp4")[0].score)
options = vqa.ExtractOptions("efficientnet_lite0", temporal=(), sampler="uniform:frames=2")
print("done", vqa.extract_dataset(vqa.load_manifest("mos.csv"), "cache", options).done)
"""
HOSTS = ["script", "standard input", "python -c", "python -i"]


@pytest.fixture
def folder(clips: Path, tmp_path: Path) -> Path:
    """Where somebody works: a dataset of one video, and modules named as folders of ours are."""
    shutil.copy(clips / "testsrc.mp4", tmp_path / "clip.mp4")
    (tmp_path / "mos.csv").write_text("path,mos\nclip.mp4,3\n")
    for name in ("extract", "fuse", "pipeline"):
        (tmp_path / f"{name}.py").write_text(
            f'from pathlib import Path\nPath("effects.txt").open("a").write("{name}.py ran\\n")\n'
        )
    return tmp_path


def host(kind: str, program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the text of a program in one of the `HOSTS`, in `folder`."""
    (folder / "program.py").write_text(program)
    words, standard_input = {
        "script": (["program.py"], ""),
        "standard input": (["-"], program),
        "python -c": (["-c", program], ""),
        "python -i": (["-i"], program),
    }[kind]
    return subprocess.run(
        [sys.executable, *words],
        input=standard_input,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def assert_ran_once(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    results = dict(line.split() for line in done.stdout.splitlines())
    assert 1 < float(results["score"]) < 5 and results["done"] == "1"
    assert (folder / "effects.txt").read_text() == "the program ran\n"


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTS)
def test_a_program_needs_no_main_guard_and_runs_once(kind: str, folder: Path) -> None:
    assert_ran_once(host(kind, PROGRAM, folder), folder)


@pytest.mark.slow
def test_decoding_processes_import_nothing_from_the_current_folder(folder: Path) -> None:
    """Nor does a script that lies elsewhere: modules of these names there would break it."""
    for name in ("joblib", "numpy", "queue", "runpy"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    (folder / "scripts").mkdir()
    script = folder / "scripts" / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert_ran_once(done, folder)
