"""What installs this: two locks of the same versions, the script behind `make install`, the
image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import REPOSITORY

CUDA = re.compile(r"^(nvidia-|cuda-|triton$)")
DOCKERFILE = REPOSITORY / "Dockerfile"
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"},
}


def lock(name: str) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (REPOSITORY / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_locks_hold_the_same_versions_but_for_the_libraries_of_cuda() -> None:
    whole, without = lock("requirements.lock"), lock("requirements-cpu.lock")
    assert not [name for name in without if CUDA.match(name)]
    assert {name: found for name, found in whole.items() if not CUDA.match(name)} == without
    assert {"torch", "torchvision"} <= without.keys()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_locks_hold_what_the_package_declares(python: str, platform: str) -> None:
    """For each Python and platform one version of each package that setup.cfg names, within what it
    asks for.
    """
    config = ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    declared = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    environment = {**PLATFORMS[platform], "python_version": python, "python_full_version": python}
    environment["os_name"] = "nt" if platform == "Windows" else "posix"
    locked = lock("requirements-cpu.lock")
    for line in "\n".join(declared).splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate(environment):
            continue
        (found,) = [
            each
            for each in locked.get(canonicalize_name(wanted.name), [])
            if each.marker is None or each.marker.evaluate(environment)
        ]
        (pin,) = found.specifier
        assert pin.operator == "==" and wanted.specifier.contains(pin.version), (wanted, found)


def chosen(word: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", REPOSITORY / "install.sh", "--choose", word],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path},
    )


def test_torch_is_chosen_by_word_or_by_the_gpu_that_is_there(tmp_path: Path) -> None:
    system = "/usr/bin:/bin"
    assert [chosen(word, system).stdout.strip() for word in ("cpu", "cuda")] == ["cpu", "cuda"]
    if shutil.which("nvidia-smi", path=system) is None and sys.platform == "linux":
        assert chosen("auto", system).stdout.strip() == "cpu"
    driver = tmp_path / "nvidia-smi"
    for status, choice in ((0, "cuda"), (9, "cpu" if sys.platform == "linux" else "cuda")):
        driver.write_text(f"#!/bin/sh\nexit {status}\n")
        driver.chmod(0o755)
        assert chosen("auto", f"{tmp_path}:{system}").stdout.strip() == choice
    wrong = chosen("gpu", system)
    assert wrong.returncode == 2 and "TORCH=gpu is none of auto, cpu and cuda" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "file"),
    [(["shellcheck"], "install.sh"), (["shellcheck"], ".ci/run"), (["hadolint"], "Dockerfile")],
)
def test_scripts_and_image_pass_their_linters(words: list[str], file: str) -> None:
    linter = Path(sys.executable).with_name(words[0])
    done = subprocess.run(
        [linter, file], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def instructions() -> list[tuple[str, str]]:
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.long
def test_image_holds_what_installing_and_running_need(tmp_path: Path) -> None:
    """Its COPY lines into a folder, from which a wheel is built; all else of it is `install.sh`,
    and its last line is run.
    """
    ignored = shutil.ignore_patterns(
        *(
            line.removeprefix("**/")
            for line in (REPOSITORY / ".dockerignore").read_text().split("\n")
        )
    )
    for word, rest in instructions():
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                path = REPOSITORY / source
                if path.is_dir():
                    shutil.copytree(path, tmp_path / target, symlinks=True, ignore=ignored)
                else:
                    shutil.copy(path, tmp_path / target)
    (run,) = [rest for word, rest in instructions() if word == "RUN"]
    assert 'sh install.sh .venv "$TORCH"' in run
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path / "dist", "."], cwd=tmp_path, check=True)
    assert len(list((tmp_path / "dist").glob("vqa_twostage-*.whl"))) == 1
    (command,) = [json.loads(rest) for word, rest in instructions() if word == "CMD"]
    done = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert "Stage two" in done.stdout


def test_install_says_what_disk_it_needs_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "df").write_text("#!/bin/sh\necho Filesystem\necho disk 9 9 2097152 9% /\n")
    (tmp_path / "df").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "install.sh", str(tmp_path), "cuda"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.returncode == 1 and list(tmp_path.iterdir()) == [tmp_path / "df"]
    assert "11 GB of disk are needed while this installs, and 2 GB are free" in done.stderr
