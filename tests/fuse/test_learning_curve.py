"""`vqa-fuse learning-curve`: parts of the labels, the same test parts, from random weights and from
the heads of a run, in one table.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from toy_cache import make_cache

from vqa_twostage.fuse.cli import command
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning_curve import learning_curve, parse_percents
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.results import LearningCurve
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.source_run import SourceRun
from vqa_twostage.fuse.train import load, train
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(fusion="concat", epochs=4, members=1, protocol="random:n=3")
PERCENTS = [20, 50, 100]

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.long]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    for name, contents in (("toy", 10), ("other", 25)):
        make_cache(folder / "cache", name, contents, 4)
    train(folder / "cache", QUICK, "toy", folder / "toy")
    return folder


@pytest.fixture(scope="module")
def curve(world: Path) -> LearningCurve:
    options = TrainOptions(epochs=4, protocol="random:n=3", start_from=str(world / "toy"))
    data, options, source = load(world / "cache", "other", options)
    return learning_curve(data, options, PERCENTS, world / "curve", source)


def fuse(*words: object) -> Result:
    return CliRunner().invoke(command, [*map(str, words)], standalone_mode=False)


def videos_of_tests(run: Path) -> set[tuple[int, str]]:
    predictions = Run(run).predictions()
    test = predictions[predictions["part"] == "test"]
    return set(zip(test["split"], test["id"], strict=True))


def test_every_point_has_both_rows_on_the_same_test_parts(curve: LearningCurve) -> None:
    assert [point.labels for point in curve.points] == PERCENTS
    runs = [row.run for point in curve.points for row in point.comparison.rows]
    assert len(set(runs)) == 2 * len(PERCENTS)
    assert len({frozenset(videos_of_tests(run)) for run in runs}) == 1
    for point in curve.points:
        assert point.tuned is not None and point.tuned.paired is not None
        assert point.scratch.name == "concat" and point.tuned.name == "concat from toy"


def test_labelled_videos_are_counted(curve: LearningCurve) -> None:
    for point in curve.points:
        least, most = point.n_labelled
        assert least == most == pytest.approx(80 * point.labels / 100, abs=2)


def test_corrected_interval_allows_for_what_splits_share_and_not_for_how_much_was_labelled(
    curve: LearningCurve,
) -> None:
    """The ratio of tested videos to the others is the same with any part of the labels."""
    ratios = []
    for point in curve.points:
        assert point.tuned is not None and point.tuned.paired is not None
        corrected = point.tuned.paired.corrected
        assert corrected is not None
        scores = [
            [split.metrics.srcc for split in evaluate(row.run).splits]
            for row in (point.tuned, point.scratch)
        ]
        deviation = (pd.Series(scores[0]) - pd.Series(scores[1])).std(ddof=1)
        reach = corrected.interval[1] - corrected.difference
        ratios.append(reach / deviation)
    assert ratios == pytest.approx([ratios[-1]] * len(ratios), rel=0.03)


def test_files_hold_the_table_in_every_form(curve: LearningCurve) -> None:
    table = pd.read_csv(curve.folder / "learning_curve.csv")
    assert list(table["labels"]) == PERCENTS
    document = json.loads((curve.folder / "learning_curve.json").read_text())
    text = (curve.folder / "learning_curve.md").read_text()
    for row, cells in zip(document["rows"], table.itertuples(), strict=True):
        assert row["scratch"]["median"]["srcc"] == pytest.approx(cells.srcc_scratch)
        assert row["fine_tuned"]["median"]["srcc"] == pytest.approx(cells.srcc_fine_tuned)
        assert row["fine_tuned"]["corrected_p_value"] == pytest.approx(cells.corrected_p_value)
        assert f"| {row['labels']} % | {row['n_labelled'][0]} |" in text
        assert f"{cells.srcc_fine_tuned:.4f}" in text
    assert "learnt from opinions of: toy" in text
    assert (curve.folder / "learning_curve.png").stat().st_size > 5000


def test_what_is_finished_is_not_trained_again(
    curve: LearningCurve, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TrainOptions(epochs=4, protocol="random:n=3", start_from=str(world / "toy"))
    data, options, source = load(world / "cache", "other", options)
    monkeypatch.setattr("vqa_twostage.fuse.ablate.save_run", None)  # called for a new run alone
    again = learning_curve(data, options, PERCENTS, world / "curve", source)
    assert again.to_json() == curve.to_json()
    with pytest.raises(TypeError):
        learning_curve(data, options, [30], world / "curve", source)


def test_whole_labels_are_the_usual_training(
    curve: LearningCurve, world: Path, tmp_path: Path
) -> None:
    usual = train(world / "cache", QUICK, "other", tmp_path / "run")
    (first, second) = compare([usual.run, curve.points[-1].scratch.run]).rows
    assert first.summary == second.summary


def test_command_prints_the_table_and_works_without_a_source(world: Path) -> None:
    common = ["learning-curve", "--cache", world / "cache", "--dataset", "other", "--epochs", 4]
    common += ["--protocol", "random:n=3", "--labels", "50,100", "--workers", 1]
    tuned = fuse(*common, "--from", world / "toy", "--output", world / "printed").stdout
    assert "SRCC fine-tuned" in tuned and "corrected p" in tuned and "50 %" in tuned
    alone = [*common, "--fusion", "concat", "--members", 1, "--output", world / "alone"]
    printed = fuse(*alone).stdout
    assert "50 %" in printed and "fine-tuned" not in printed
    document = json.loads(fuse(*alone, "--json").stdout)
    assert [row["fine_tuned"] for row in document["rows"]] == [None, None]


def test_figures_of_small_test_parts_are_withheld_in_every_form(
    world: Path, tmp_path: Path
) -> None:
    """Parts of 8 test videos: the same table without its figures."""
    make_cache(tmp_path / "cache", "few", 8, 4)
    common = ["learning-curve", "--cache", tmp_path / "cache", "--from", world / "toy"]
    common += ["--epochs", 2, "--protocol", "random:n=2", "--labels", "50,100", "--workers", 1]
    printed = fuse(*common, "--output", tmp_path / "curve").stdout
    assert "n/a, 8 test videos" in printed and "mostly chance" in printed
    table = pd.read_csv(tmp_path / "curve" / "learning_curve.csv")
    assert table["srcc_scratch"].isna().all() and table["difference"].isna().all()
    assert (tmp_path / "curve" / "learning_curve.png").is_file()


@pytest.mark.parametrize("text", ["", "5,", "0,10", "101", "5.5", "all", "10;20"])
def test_wrong_percentages_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="give whole percentages of the labels from 1 to 100"):
        parse_percents(text)


def test_percentages_are_sorted_and_each_once() -> None:
    assert parse_percents("100, 5,20,5") == [5, 20, 100]


def test_a_source_is_kept_as_read(world: Path) -> None:
    assert SourceRun.read(world / "toy").learnt_from == ["toy"]
