"""Common mistakes of beginners are reported and lose no data."""

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


def test_finished_run_is_not_overwritten_by_another(toy_cache: Path, tmp_path: Path) -> None:
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


@pytest.mark.long
def test_unused_columns_of_a_csv_are_reported(own_clips: Path) -> None:
    labels = own_clips / "mos.csv"
    labels.write_text(labels.read_text().replace(",group", ",grop"))
    checked = called("vqa-data", "check", labels, cwd=own_clips)
    assert (
        checked.returncode == 0
        and "columns not used: grop; known columns are path, mos, id" in checked.stdout
    )
    assert "there is no column group: each video counts as a content of its own" in checked.stdout
    assert "the scale is taken from the labels, 1 to 3.5" in checked.stdout
    dry_run = called(
        "vqa-extract", "--dataset", labels, "--preset", "offline", "--dry-run", cwd=own_clips
    )
    assert "note: columns not used: grop" in dry_run.stderr


def test_missing_root_is_reported_with_the_option_that_sets_it(
    own_clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "mos.csv").write_bytes((own_clips / "mos.csv").read_bytes())
    for words in (
        ["vqa-data", "check", "mos.csv"],
        ["vqa-extract", "--dataset", "mos.csv", "--preset", "offline"],
    ):
        result = called(*words, cwd=tmp_path)
        assert result.returncode == 3 and "--root" in result.stdout + result.stderr, result.stderr


def test_metrics_of_tiny_test_parts_are_withheld_everywhere_with_the_reason(
    tmp_path: Path,
) -> None:
    make_cache(tmp_path / "cache", "few", contents=8, versions=1)
    assert called(*TRAIN, "--run", "run", cwd=tmp_path).returncode == 0
    (note,) = evaluate(tmp_path / "run").notes
    assert note.startswith("figures of 2 of 2 splits are withheld")
    texts = [called("vqa-fuse", "evaluate", "run", cwd=tmp_path).stdout]
    assert called("vqa-fuse", "export", "run", "--output", "model", cwd=tmp_path).returncode == 0
    assert called("vqa-fuse", "report", "run", cwd=tmp_path).returncode == 0
    files = ("model/README.md", "report.html", "run/metrics.md")
    texts += [(tmp_path / file).read_text(encoding="utf-8") for file in files]
    texts.append(called("vqa-fuse", "compare", "run", "run/../run", cwd=tmp_path).stdout)
    for text in texts:
        assert note in text and "n/a, 2 test videos" in text


def test_model_of_few_videos_is_not_calibrated(toy_data: Dataset, tmp_path: Path) -> None:
    few, options = (
        make_dataset("few", 8, 1),
        TrainOptions(fusion="concat", protocol="random:n=2", epochs=2, members=1),
    )
    train_run(few, options, tmp_path / "few")
    assert saved.load(tmp_path / "few").curve is None
    train_run(toy_data, options, tmp_path / "many")
    assert saved.load(tmp_path / "many").curve is not None


@pytest.mark.long
def test_run_is_not_mistaken_for_a_folder_of_videos(toy_cache: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert called(*TRAIN, "--cache", toy_cache, "--run", name, cwd=tmp_path).returncode == 0
    result = called("vqa-fuse", "score", "clip.mp4", "--run", "one", "two", cwd=tmp_path)
    assert (
        result.returncode == 2
        and "two is a run or a model, not a folder of videos" in result.stderr
    )


@pytest.mark.parametrize("program", ["vqa-extract", "vqa-fuse", "vqa-data", "vqa-cache"])
def test_every_program_prints_its_version(program: str, tmp_path: Path) -> None:
    assert called(program, "--version", cwd=tmp_path).stdout == "vqa-twostage 0.1.0\n"


def test_report_must_be_an_html_file(tmp_path: Path) -> None:
    result = called("vqa-fuse", "report", "run", "--output", "report.pdf", cwd=tmp_path)
    assert result.returncode == 2 and "end its name in .html" in result.stderr
