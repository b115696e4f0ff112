"""Programs that call the library need no `__main__` guard, and decoding processes import nothing
of the calling program.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# no line opens a block, so that `python -i` can run it as well
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
    """A working folder: a dataset of one video, and modules with the names of our folders."""
    shutil.copy(clips / "testsrc.mp4", tmp_path / "clip.mp4")
    (tmp_path / "mos.csv").write_text("path,mos\nclip.mp4,3\n")
    for name in ("extract", "fuse", "pipeline"):
        (tmp_path / f"{name}.py").write_text(
            f'from pathlib import Path\nPath("effects.txt").open("a").write("{name}.py ran\\n")\n'
        )
    return tmp_path


def host(kind: str, program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the text of a program in one of the `HOSTS`, in `folder`."""
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
        timeout=480,
    )


def assert_ran_once(process: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert process.returncode == 0 and "Traceback" not in process.stderr, process.stderr
    results = dict(line.split() for line in process.stdout.splitlines())
    assert 1 < float(results["score"]) < 5 and results["done"] == "1"
    assert (folder / "effects.txt").read_text() == "the program ran\n"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", HOSTS)
def test_program_without_a_main_guard_runs_once(kind: str, folder: Path) -> None:
    assert_ran_once(host(kind, PROGRAM, folder), folder)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_decoding_processes_import_nothing_from_the_current_folder(folder: Path) -> None:
    """Modules of these names in the current folder would break the decoding processes of a script
    in another folder.
    """
    for name in ("joblib", "numpy", "queue", "runpy"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    (folder / "scripts").mkdir()
    script = folder / "scripts" / "program.py"
    script.write_text(PROGRAM)
    process = subprocess.run(
        [sys.executable, script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert_ran_once(process, folder)
