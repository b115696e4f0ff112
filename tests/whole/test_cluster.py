"""The files for clusters pass their linters, and what they run makes the cache of one machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from commands import BIN
from places import REPOSITORY

from vqa_twostage.pipeline.cache.layout import tracks
from vqa_twostage.pipeline.cache.track import open_track

SLURM, KUBERNETES = REPOSITORY / "deploy" / "slurm", REPOSITORY / "deploy" / "kubernetes"
SHARDS = 2
HOW = (
    *("--spatial", "efficientnet_lite0:resolutions=64", "--temporal", "tsm:resolutions=64"),
    *("--sampler", "uniform:frames=2", "--runtime", "torch"),
)
# the oldest release that knows every field, and the newest that the schemas know
RELEASES = ("1.29", kubernetes_validate.latest_version())


def job(name: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all((KUBERNETES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def container(name: str) -> dict[str, Any]:
    (only,) = job(name)["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def ran(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """With the commands of this environment on the path, as on a node."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def videos_in(cache: Path) -> list[list[str]]:
    found = []
    for path in tracks(cache, "mos"):
        with open_track(path) as track:
            found.append(track.ids)
    return found


@pytest.mark.parametrize("script", sorted(SLURM.glob("*.sbatch")), ids=lambda path: path.name)
def test_scripts_for_slurm_pass_the_linter(script: Path) -> None:
    done = ran(Path(sys.executable).with_name("shellcheck"), script, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout
    directives = [line for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    assert len(directives) == 6 and all(" --" in line for line in directives)


@pytest.mark.parametrize("name", ["extract", "merge"])
def test_jobs_for_kubernetes_are_what_its_schema_says(name: str) -> None:
    for release in RELEASES:
        kubernetes_validate.validate(job(name), release, strict=True)


@pytest.mark.parametrize("name", ["extract", "merge"])
def test_shell_of_jobs_for_kubernetes_passes_the_linter(name: str, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n" + container(name)["args"][0])
    done = ran(Path(sys.executable).with_name("shellcheck"), script, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_jobs_for_kubernetes_agree_on_parts_image_and_volume() -> None:
    spec = job("extract")["spec"]
    one, other = container("extract"), container("merge")
    variables = [{item["name"]: item["value"] for item in each["env"]} for each in (one, other)]
    assert {shared["SHARDS"] for shared in variables} == {str(spec["completions"])}
    assert len({shared["PARTS"] for shared in variables}) == 1 and one["image"] == other["image"]
    assert (
        job("merge")["spec"]["template"]["spec"]["volumes"] == spec["template"]["spec"]["volumes"]
    )


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("PARTS", "PARTS: is not set"),
        ("SHARDS", "SHARDS: is not set"),
        ("SLURM_ARRAY_TASK_ID", "submit this with sbatch --array=1-2"),
    ],
)
def test_script_for_slurm_says_what_it_lacks(lacking: str, message: str, tmp_path: Path) -> None:
    given = {"PARTS": str(tmp_path), "SHARDS": "2", "SLURM_ARRAY_TASK_ID": "1"}
    done = ran("bash", SLURM / "extract.sbatch", cwd=tmp_path, **{**given, lacking: ""})
    assert done.returncode != 0 and message in done.stderr


def test_merge_for_slurm_says_which_part_is_missing(tmp_path: Path) -> None:
    (tmp_path / "part-1-of-2").mkdir()
    given = {"PARTS": str(tmp_path), "SHARDS": "2"}
    done = ran("bash", SLURM / "merge.sbatch", "cache", cwd=tmp_path, **given)
    assert done.returncode == 2 and "part-2-of-2 is not there" in done.stderr
    assert "--array=2" in done.stderr and not (tmp_path / "cache").exists()


@pytest.mark.long
def test_scripts_for_slurm_extract_and_join_every_video(own_clips: Path, tmp_path: Path) -> None:
    (own_clips / "testsrc.mp4").write_bytes(b"no video")
    given = {"PARTS": str(tmp_path / "parts"), "SHARDS": str(SHARDS), "SLURM_CPUS_PER_TASK": "1"}
    words = ("--dataset", own_clips / "mos.csv", *HOW)
    for task in range(1, SHARDS + 1):
        done = ran(
            *("bash", SLURM / "extract.sbatch", *words),
            cwd=tmp_path,
            **given,
            SLURM_ARRAY_TASK_ID=str(task),
        )
        assert done.returncode == 0, done.stderr
    assert "some videos failed" in done.stderr
    done = ran("bash", SLURM / "merge.sbatch", "cache", cwd=tmp_path, **given)
    assert done.returncode == 0, done.stderr
    assert [len(ids) for ids in videos_in(tmp_path / "cache")] == [5, 5]
    assert done.stdout.count("5 of 6 videos") == 2 and done.stdout.count(": sound") == 2


@pytest.mark.long
def test_jobs_for_kubernetes_extract_and_join_every_video(clips: Path, tmp_path: Path) -> None:
    given = {
        **{"PARTS": str(tmp_path / "parts"), "CACHE": str(tmp_path / "cache")},
        **{"SHARDS": str(SHARDS), "OMP_NUM_THREADS": "1"},
        "EXTRACT": " ".join(["--dataset", str(clips / "mos.csv"), *HOW]),
    }
    extract, merge = container("extract"), container("merge")
    for index in range(SHARDS):
        done = ran(
            *extract["command"],
            *extract["args"],
            cwd=tmp_path,
            **given,
            JOB_COMPLETION_INDEX=str(index),
        )
        assert done.returncode == 0, done.stderr
    done = ran(*merge["command"], *merge["args"], cwd=tmp_path, **given)
    assert done.returncode == 0, done.stderr
    assert [len(ids) for ids in videos_in(tmp_path / "cache")] == [6, 6]
