"""What somebody new did wrong without being told: each is told now, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import called
from toy_cache import make_cache, make_dataset

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.train import train_run

TRAIN = [
    "vqa-fuse",
    "train",
    "--protocol",
    "random:n=2",
    "--epochs",
    "2",
    "--members",
    "1",
    "--workers",
    "1",
]


def test_a_finished_run_is_not_overwritten_by_another(toy_cache: Path, tmp_path: Path) -> None:
    words = [*TRAIN, "--cache", toy_cache, "--run", "mine", "--fusion"]
    assert called(*words, "concat", cwd=tmp_path).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    refused = called(*words, "gated", cwd=tmp_path)
    assert (
        refused.returncode == 2
        and "mine holds another run (concat on toy); give another --run" in refused.stderr
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    assert called(*words, "concat", cwd=tmp_path).returncode == 0


def test_columns_of_a_csv_that_are_not_used_are_told(own_clips: Path) -> None:
    labels = own_clips / "mos.csv"
    labels.write_text(labels.read_text().replace(",group", ",grop"))
    done = called("vqa-data", "check", labels, cwd=own_clips)
    assert (
        done.returncode == 0
        and "columns not used: grop; known columns are path, mos, id" in done.stdout
    )
    assert "there is no column group: each video counts as a content of its own" in done.stdout
    assert "the scale is taken from the labels, 1 to 3.5" in done.stdout
    told = called(
        "vqa-extract", "--dataset", labels, "--preset", "offline", "--dry-run", cwd=own_clips
    )
    assert "note: columns not used: grop" in told.stderr


def test_a_forgotten_root_is_asked_for(own_clips: Path, tmp_path: Path) -> None:
    (tmp_path / "mos.csv").write_bytes((own_clips / "mos.csv").read_bytes())
    for words in (
        ["vqa-data", "check", "mos.csv"],
        ["vqa-extract", "--dataset", "mos.csv", "--preset", "offline"],
    ):
        done = called(*words, cwd=tmp_path)
        assert done.returncode == 3 and "--root" in done.stdout + done.stderr, done.stderr


def test_figures_of_tiny_test_parts_are_cautioned_against_wherever_they_stand(
    tmp_path: Path,
) -> None:
    make_cache(tmp_path / "cache", "few", contents=8, versions=1)
    assert called(*TRAIN, "--run", "run", cwd=tmp_path).returncode == 0
    (note,) = evaluate(tmp_path / "run").notes
    assert note.startswith("a test part has 2 videos")
    assert note in called("vqa-fuse", "evaluate", "run", cwd=tmp_path).stdout
    assert called("vqa-fuse", "export", "run", "--output", "model", cwd=tmp_path).returncode == 0
    assert note in (tmp_path / "model" / "README.md").read_text()
    assert called("vqa-fuse", "report", "run", cwd=tmp_path).returncode == 0
    assert note in (tmp_path / "report.html").read_text()
    table = called("vqa-fuse", "compare", "run", "run/../run", cwd=tmp_path)
    assert note in table.stdout + table.stderr


def test_a_calibration_on_few_videos_is_no_step(toy_data: Dataset, tmp_path: Path) -> None:
    few, options = (
        make_dataset("few", 8, 1),
        TrainOptions(fusion="concat", protocol="random:n=2", epochs=2, members=1),
    )
    train_run(few, options, tmp_path / "few")
    assert saved.load(tmp_path / "few").curve is None
    train_run(toy_data, options, tmp_path / "many")
    assert saved.load(tmp_path / "many").curve is not None


def test_a_run_is_not_taken_for_a_folder_of_videos(toy_cache: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert called(*TRAIN, "--cache", toy_cache, "--run", name, cwd=tmp_path).returncode == 0
    done = called("vqa-fuse", "score", "clip.mp4", "--run", "one", "two", cwd=tmp_path)
    assert done.returncode == 2 and "two is a run or a model, not a folder of videos" in done.stderr


@pytest.mark.parametrize("program", ["vqa-extract", "vqa-fuse", "vqa-data", "vqa-cache"])
def test_every_program_tells_its_version(program: str, tmp_path: Path) -> None:
    assert called(program, "--version", cwd=tmp_path).stdout == "vqa-twostage 0.1.0\n"


def test_a_report_is_a_page(tmp_path: Path) -> None:
    done = called("vqa-fuse", "report", "run", "--output", "report.pdf", cwd=tmp_path)
    assert done.returncode == 2 and "end its name in .html" in done.stderr
