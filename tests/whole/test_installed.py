"""The installed wheel is one complete top-level package that works in any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from places import REPOSITORY

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

FOREIGN = ("fuse", "extract", "pipeline", "data_manifests", "benchmarks", "tests")
COMMANDS = ("vqa-extract", "vqa-fuse", "vqa-data", "vqa-cache")


def repository_files(folder: str = ".") -> list[str]:
    """Names of the files that git tracks or would add."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder]
    output = subprocess.run(words, cwd=REPOSITORY, capture_output=True, check=True).stdout
    names = [name for name in output.decode().split("\0") if name]
    return [name for name in names if os.path.lexists(REPOSITORY / name)]


class Environment:
    """A virtual environment with only the wheel; its dependencies are those of this one."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.outside = folder / "venv" / "bin", folder / "outside"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        (self.site_packages,) = (folder / "venv").glob("lib/python*/site-packages")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        # built from a copy of the tracked files, so that no earlier build is included
        source = folder / "source"
        for name in repository_files():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, source / name, follow_symlinks=False)
        subprocess.run(
            [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source],
            check=True,
        )
        (wheel,) = folder.glob("*.whl")
        python = ["--python", self.bin / "python"]
        subprocess.run([*pip, *python, "install", "--no-deps", wheel], check=True)
        self.brought = {path.name for path in self.site_packages.iterdir()}
        # a line in a .pth file adds a folder but not its .pth files, which name this repository
        dependencies = sysconfig.get_paths()["purelib"]
        (self.site_packages / "dependencies.pth").write_text(f"{dependencies}\n")
        self.outside.mkdir()
        for name in FOREIGN:
            (self.outside / f"{name}.py").write_text("raise SystemExit('a foreign module ran')\n")

    def run(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [self.bin / words[0], *map(str, words[1:])],
            cwd=cwd or self.outside,
            env={**environment, "PYTHONPATH": str(self.outside)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("installed"))


def test_wheel_installs_one_package_and_its_metadata(installed: Environment) -> None:
    version = "0.1.0"
    assert installed.brought == {"vqa_twostage", f"vqa_twostage-{version}.dist-info"}


def test_wheel_holds_every_file_of_the_package(installed: Environment) -> None:
    package = installed.site_packages / "vqa_twostage"
    for folder in ("pipeline", "extract", "fuse", "data_manifests"):
        names = repository_files(folder)
        assert names and not [name for name in names if not (package / name).is_file()]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_in_a_folder_with_modules_of_the_same_names(
    installed: Environment, command: str
) -> None:
    process = installed.run(command, "--help")
    assert process.returncode == 0 and "Usage" in process.stdout, process.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("vqa-extract", "--list"), "efficientnet_lite0"),
        (("vqa-fuse", "train", "--list"), "dynamic"),
        (("vqa-data", "list"), "konvid"),
        (("python", "-m", "vqa_twostage.extract", "--list"), "Presets"),
        (("python", "-m", "vqa_twostage.fuse", "--help"), "Stage two"),
        (("python", "-m", "vqa_twostage.pipeline.cli_data", "list"), "konvid"),
        (("python", "-m", "vqa_twostage.pipeline.cli_cache", "--help"), "feature cache"),
    ],
    ids=" ".join,
)
def test_installed_commands_list_their_contents(
    installed: Environment, words: tuple[str, ...], expected: str
) -> None:
    process = installed.run(*words)
    assert process.returncode == 0 and expected in process.stdout, process.stderr


def test_installed_package_scores_a_video(installed: Environment, clips: Path) -> None:
    clip = clips / "testsrc2.mp4"
    process = installed.run("vqa-fuse", "score", clip, "--no-cache", "--csv")
    assert process.returncode == 0 and "testsrc2.mp4" in process.stdout, process.stderr
    (installed.outside / "s.py").write_text(
        f"import vqa_twostage as vqa\nprint(vqa.score({str(clip)!r})[0].score)\n"
    )
    # the script's own folder, with the modules of the same names, comes first on its path
    process = installed.run("python", "s.py")
    assert process.returncode == 0 and 1 < float(process.stdout) < 5, process.stderr
