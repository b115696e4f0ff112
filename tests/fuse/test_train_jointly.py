"""Several datasets at once: a run for each, which learns from the others and stays a usual run."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from several_sets import add_dataset, part

from vqa_twostage.fuse.cli import command
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.cross_dataset import evaluate_on
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reporting.sections import RunToReport, train_command
from vqa_twostage.fuse.reporting.terminal import print_joint_training
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.results import Evaluation, JointTraining
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.train import train
from vqa_twostage.fuse.train_jointly import ChosenDatasets, train_jointly
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(fusion="concat", epochs=16, members=1, protocol="random:n=2")
BOTH = ("few", "many")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets on scales of their own, one that is held out, and one whose labels are the
    opposite of what its features tell.
    """
    cache = tmp_path_factory.mktemp("several") / "cache"
    add_dataset(cache, part("few", 0, 22))
    add_dataset(cache, part("many", 22, 46), lambda mos: 100 * ((mos - 1) / 4) ** 2)
    add_dataset(cache, part("held", 46, 54))
    add_dataset(cache, part("opposite", 46, 60), lambda mos: 6 - mos)
    return cache


@pytest.fixture(scope="module")
def trained(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> JointTraining:
    folder = tmp_path_factory.mktemp("runs") / "joint"
    return train_jointly(cache, ChosenDatasets(BOTH, ("held",)), QUICK, folder)


@pytest.fixture(scope="module")
def alone(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return train(cache, QUICK, "few", tmp_path_factory.mktemp("alone") / "alone")


def refused(cache: Path, *words: str) -> str:
    result = CliRunner().invoke(
        command, ["train", "--cache", str(cache), "--run", "never", *words], standalone_mode=False
    )
    assert isinstance(result.exception, UsageError)
    assert not Path("never").exists()
    return str(result.exception)


def test_each_dataset_has_figures_of_its_own_splits_and_a_run(trained: JointTraining) -> None:
    assert [of_set.dataset for of_set in trained.evaluations] == list(BOTH)
    assert [of_set.n_videos for of_set in trained.evaluations] == [110, 120]
    for name, of_set in zip(BOTH, trained.evaluations, strict=True):
        assert of_set.run.name == name and evaluate(of_set.run) == of_set
        predictions = Run(of_set.run).predictions()
        assert predictions["id"].nunique() == of_set.n_videos
        assert of_set.median.srcc is not None and of_set.median.srcc > 0.7


def test_a_run_says_from_which_labels_it_learnt(trained: JointTraining) -> None:
    for of_set, other, videos in zip(trained.evaluations, reversed(BOTH), (120, 110), strict=True):
        record = Run(of_set.run).record()
        assert record.options.joint_with == (other,)
        assert [joint.dataset for joint in record.identity.joint or []] == [other]
        (said,) = [note for note in of_set.notes if "labels of other datasets" in note]
        assert f"{other} ({videos} videos)" in said and " of 2 splits" in said


def test_scores_are_on_the_scale_of_the_run_s_own_dataset(trained: JointTraining) -> None:
    few, many = (Run(of_set.run).predictions()["predicted"] for of_set in trained.evaluations)
    assert few.between(0, 7).all() and 10 < many.mean() < 50


def test_a_held_out_dataset_is_scored_by_the_model_of_each_run(trained: JointTraining) -> None:
    assert [(tested.dataset, tested.n_videos) for tested in trained.held_out] == [("held", 40)] * 2
    assert [tested.trained_on for tested in trained.held_out] == ["few and many", "many and few"]
    for tested in trained.held_out:
        assert tested.as_is.srcc is not None and tested.as_is.srcc > 0.7


def test_the_same_splits_as_alone_are_compared(alone: Evaluation, trained: JointTraining) -> None:
    compared = compare([alone.run, trained.evaluations[0].run])
    assert {row.name for row in compared.rows} == {"concat", "concat with many"}


def test_a_joint_run_is_reproduced_to_the_bit_and_its_model_is_read(
    trained: JointTraining,
) -> None:
    run = trained.evaluations[0].run
    assert reproduce_run(run).equal
    assert scorer_file.load(run).options.joint_with == ("many",)


def test_the_order_of_datasets_changes_nothing_and_a_finished_run_is_reported(
    cache: Path, trained: JointTraining
) -> None:
    folder = trained.evaluations[0].run.parent
    again = train_jointly(cache, ChosenDatasets(BOTH[::-1]), QUICK, folder)
    assert [of_set.was_finished for of_set in again.evaluations] == [True, True]
    assert [of_set.run for of_set in again.evaluations] == [
        of_set.run for of_set in reversed(trained.evaluations)
    ]


@pytest.mark.long
def test_a_dataset_whose_labels_mean_the_opposite_costs_nothing(
    cache: Path, alone: Evaluation, tmp_path: Path
) -> None:
    misled = train(cache, replace(QUICK, joint_with=("opposite",)), "few", tmp_path / "misled")
    first, second = (Run(of_set.run).predictions() for of_set in (alone, misled))
    pd.testing.assert_frame_equal(first, second)
    assert any("in 0 of 2 splits" in note for note in misled.notes)


@pytest.mark.long
def test_labels_of_another_dataset_decide_and_are_part_of_the_identity(
    cache: Path, alone: Evaluation, trained: JointTraining, tmp_path: Path
) -> None:
    other = train(cache, replace(QUICK, joint_with=("held",)), "few", tmp_path / "other")
    runs = [Run(of_set.run) for of_set in (trained.evaluations[0], other, alone)]
    assert len({run.record().identity.digest for run in runs}) == 3
    predicted = [run.predictions()["predicted"].to_numpy() for run in runs]
    assert not np.array_equal(predicted[0], predicted[1])


def test_an_ordinary_run_records_nothing_of_other_datasets(alone: Evaluation) -> None:
    written = json.loads((alone.run / "run.json").read_text())["identity"]
    assert not {"joint", "start"} & written.keys()
    assert Run(alone.run).record().identity.joint is None


def test_the_command_of_a_report_names_all_datasets(trained: JointTraining) -> None:
    run = trained.evaluations[1].run
    words = shlex.split(train_command(RunToReport.read(run, None)))[1:]
    again = CliRunner().invoke(command, [*words, "--run", str(run.parent)], standalone_mode=False)
    assert again.exception is None and again.stderr.count("is finished") == len(BOTH)


def test_heads_that_start_from_a_run_are_trained_on_one_dataset(
    cache: Path, alone: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--dataset", "many", "--dataset", "held", "--from", str(alone.run)]
    assert "are trained on one dataset; leave out held" in refused(cache, *words)


@pytest.mark.parametrize("words", ["--dataset many", "--dataset opposite --test-on many"])
def test_what_heads_learnt_from_beside_their_dataset_stays_known_when_they_are_tuned(
    cache: Path,
    trained: JointTraining,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    source = str(trained.evaluations[0].run)
    assert "learnt from opinions of many" in refused(cache, *words.split(), "--from", source)


def test_a_joint_run_is_not_tested_on_what_it_learnt_from(trained: JointTraining) -> None:
    run = trained.evaluations[0].run
    with pytest.raises(UsageError, match="opinions of many, .*no video would be unseen"):
        evaluate_on(run, "many")
    assert evaluate_on(run, "many", allow_trained_on="many").n_videos == 120


def test_one_table_shows_all_datasets(
    trained: JointTraining, capsys: pytest.CaptureFixture[str]
) -> None:
    print_joint_training(trained)
    text = capsys.readouterr().out
    lines = [line.split() for line in text.splitlines()]
    assert [line[0] for line in lines if line[1:2] == ["N"]] == list(BOTH)
    assert text.count("labels of other datasets") == 2 and text.count("tested on held") == 2


def test_command_prints_one_document_of_all(
    cache: Path, trained: JointTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.evaluations[0].run.parent.parent)
    words = ["train", "--dataset", "few", "--dataset", "many", "--test-on", "held", "--json"]
    words += ["--fusion", "concat", "--epochs", "16", "--members", "1", "--workers", "1"]
    words += ["--protocol", "random:n=2", "--cache", str(cache), "--run", "joint"]
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert result.exception is None and "is finished" in result.stderr
    expected = replace(
        trained,
        evaluations=[replace(e, run=Path("joint") / e.dataset) for e in trained.evaluations],
        held_out=[
            replace(t, run=Path("joint") / n) for n, t in zip(BOTH, trained.held_out, strict=True)
        ],
    )
    assert json.loads(result.stdout) == json.loads(json.dumps(expected.to_json()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--dataset few --dataset few", "few is named twice"),
        ("--dataset few --test-on few", "few is named twice"),
        ("--dataset few --dataset nowhere", "holds no dataset 'nowhere'"),
        ("--dataset few --test-on nowhere", "holds no dataset 'nowhere'"),
        ("--dataset held --test-on opposite", "40 videos of opposite are also in held"),
        ("--dataset few --dataset many --baseline ridge", "is trained on one dataset"),
        ("--dataset few --test-on held --baseline ridge", "is of the model for scoring"),
        ("--dataset few --test-on held --labels 50", "is of the model for scoring"),
        ("--test-on held", "holds several datasets; choose one with --dataset"),
    ],
)
def test_what_cannot_be_trained_jointly_is_one_message_before_anything_is_trained(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(cache, *words.split())
