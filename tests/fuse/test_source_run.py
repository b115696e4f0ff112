"""`vqa-fuse train --from RUN`: a training that starts from a run is a run like any other, says what
it started from, and never tests videos that its heads were trained on.
"""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from toy_cache import make_cache, manifest_of, write_features

from vqa_twostage.fuse.ablate import ablate
from vqa_twostage.fuse.cli import command
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.cross_dataset import evaluate_on
from vqa_twostage.fuse.export import export_run
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.report import write_report
from vqa_twostage.fuse.reporting.sections import RunToReport, train_command
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.train import load, train
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(fusion="concat", epochs=6, members=2, protocol="random:n=2")
SENTENCE = "training started from a run on toy, so its heads learnt from opinions of: toy"

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.long]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, runs on both from random weights, and a run on the second from the first."""
    folder = tmp_path_factory.mktemp("world")
    for name, contents in (("toy", 12), ("other", 20)):
        make_cache(folder / "cache", name, contents, 5)
    train(folder / "cache", QUICK, "toy", folder / "toy")
    train(folder / "cache", QUICK, "other", folder / "scratch")
    train(folder / "cache", options(folder), "other", folder / "tuned")
    return folder


def options(world: Path, source: str = "toy", **more: object) -> TrainOptions:
    usual = {"epochs": 6, "protocol": "random:n=2", "start_from": str(world / source)}
    return TrainOptions.from_mapping({**usual, **more}, "test")


def fuse(*words: object) -> Result:
    return CliRunner().invoke(command, [*map(str, words)], standalone_mode=False)


def refused(*words: object) -> str:
    error = fuse(*words).exception
    assert isinstance(error, UsageError), error
    return str(error)


def test_a_tuned_run_has_the_head_of_its_source(world: Path) -> None:
    record, source = Run(world / "tuned").record(), Run(world / "toy").record()
    assert record.specs.fusion == source.specs.fusion == "concat"
    assert record.options.members == 2
    start = record.identity.start
    assert start is not None and start.learnt_from == ["toy"]
    assert source.identity.start is None and source.identity.digest != record.identity.digest


def test_another_source_tune_or_preparation_is_another_run(world: Path, tmp_path: Path) -> None:
    train(world / "cache", replace(QUICK, seed=7), "toy", tmp_path / "toy")
    changes: list[dict[str, object]] = [
        {},
        {"tune": "last"},
        {"preparation": "refitted"},
        {"start_from": str(tmp_path / "toy")},
        {"labels": 50},
    ]
    digests = [
        Run(train(world / "cache", options(world, **change), "other", tmp_path / str(number)).run)
        .record()
        .identity.digest
        for number, change in enumerate(changes)
    ]
    assert len(set(digests)) == len(changes)


@pytest.mark.parametrize("change", [{}, {"tune": "last"}, {"preparation": "refitted"}])
def test_a_tuned_run_is_reproduced_without_its_source(
    world: Path, tmp_path: Path, change: dict[str, str]
) -> None:
    source = Path(shutil.copytree(world / "toy", tmp_path / "toy"))
    chosen = replace(options(world, **change), start_from=str(source))
    train(world / "cache", chosen, "other", tmp_path / "tuned")
    shutil.rmtree(source)
    again = reproduce_run(tmp_path / "tuned")
    assert again.equal and not again.changed and again.n_predictions == 200


def test_figures_say_whose_opinions_the_heads_know(world: Path, tmp_path: Path) -> None:
    tuned, scratch = world / "tuned", world / "scratch"
    assert SENTENCE in fuse("evaluate", tuned).stdout
    assert SENTENCE in json.loads(fuse("evaluate", tuned, "--json").stdout)["notes"]
    assert SENTENCE not in fuse("evaluate", scratch).stdout
    compared = fuse("compare", scratch, tuned).stdout
    assert f"concat from toy: {SENTENCE}" in compared
    assert SENTENCE in (tuned / "metrics.md").read_text()
    write_report([tuned], tmp_path / "report.html")
    assert SENTENCE in (tmp_path / "report.html").read_text()
    export_run(tuned, tmp_path / "model")
    assert SENTENCE in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize("name", ["tuned", "scratch"])
def test_the_command_of_a_report_trains_the_same_run(
    world: Path, tmp_path: Path, name: str
) -> None:
    words = shlex.split(train_command(RunToReport.read(world / name, None)))[1:]
    assert ("--from" in words) == (name == "tuned")
    assert fuse(*words, "--run", tmp_path / "run", "--workers", 1).exception is None
    digests = {Run(run).record().identity.digest for run in (tmp_path / "run", world / name)}
    assert len(digests) == 1


def test_compare_tells_a_tuned_run_from_its_scratch(world: Path) -> None:
    rows = compare([world / "scratch", world / "tuned"]).rows
    assert {row.name for row in rows} == {"concat", "concat from toy"}


def test_the_datasets_of_all_starts_are_remembered(world: Path, tmp_path: Path) -> None:
    make_cache(tmp_path / "cache", "third", 20, 5)
    third = train(tmp_path / "cache", options(world, "tuned"), "third", tmp_path / "third")
    assert "its heads learnt from opinions of: toy, other" in " ".join(third.notes)
    with pytest.raises(UsageError, match="opinions of toy, other, and toy is the dataset"):
        evaluate_on(third.run, "toy", world / "cache")
    back = options(world, "tuned")
    with pytest.raises(UsageError, match="learnt from opinions of toy, and toy is the dataset"):
        train(world / "cache", back, "toy", tmp_path / "back")


def test_videos_that_the_source_was_trained_on_are_never_tested(
    world: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"was trained on \d+ of the \d+ test videos of split 0"):
        train(world / "cache", options(world), "toy", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_videos_of_the_same_dataset_are_tested_where_they_are_new(
    world: Path, tmp_path: Path
) -> None:
    grown = manifest_of("toy", 18, 5)
    new = np.arange(90) >= 60
    rows = grown.rows.assign(split=np.where(new, "test", "train"))
    save_manifest(tmp_path / "cache", replace(grown, rows=rows))
    for kind in ("spatial", "temporal"):
        write_features(tmp_path / "cache", replace(grown, rows=rows), kind)
    official = options(world, protocol="official")
    assert train(tmp_path / "cache", official, "toy", tmp_path / "run").median.srcc is not None
    with pytest.raises(UsageError, match="or give a protocol that tests none of them"):
        train(tmp_path / "cache", options(world), "toy", tmp_path / "other")


def test_a_tuned_model_scores_another_dataset_and_says_what_it_learnt(
    world: Path, tmp_path: Path
) -> None:
    make_cache(tmp_path / "cache", "third", 10, 5)
    result = evaluate_on(world / "tuned", "third", tmp_path / "cache")
    assert result.trained_on == "toy and then other" and result.refitted.srcc is not None
    assert result.protocol.startswith("trained on all of toy and then other, tested on all of")


def test_opposite_directions_are_aligned_at_the_start(world: Path, tmp_path: Path) -> None:
    manifest = manifest_of("dmos", 12, 5)
    lower = replace(manifest, rows=manifest.rows.assign(mos=6 - manifest.rows["mos"]))
    save_manifest(tmp_path / "cache", replace(lower, better="lower"))
    for kind in ("spatial", "temporal"):
        write_features(tmp_path / "cache", manifest, kind)
    run = train(tmp_path / "cache", options(world, epochs=1), "dmos", tmp_path / "run").run
    curve = Run(run).validation_curve()
    assert curve is not None and (curve.loc[curve["epoch"] == 0, "srcc"] > 0.5).all()


def test_a_run_on_a_part_of_the_labels_has_no_model(world: Path, tmp_path: Path) -> None:
    run = train(world / "cache", replace(QUICK, labels=50), "other", tmp_path / "run")
    assert not Run(run.run).model_file.exists()
    again = train(world / "cache", replace(QUICK, labels=50), "other", tmp_path / "run")
    assert again.was_finished and again.splits[0].n_train == 30
    with pytest.raises(UsageError, match="has no model"):
        scorer_file.load(run.run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fusion", "dynamic"], "leave out --fusion"),
        (["--members", "3", "--spatial", "all"], "leave out --members, --spatial"),
        (["--baseline", "ridge"], "leave out --baseline"),
    ],
)
def test_what_the_source_decides_cannot_be_chosen(
    world: Path, words: list[str], message: str
) -> None:
    common = ["train", "--cache", world / "cache", "--dataset", "other", "--from", world / "toy"]
    assert message in refused(*common, *words)


def test_wrong_starts_are_refused_in_one_message(world: Path, tmp_path: Path) -> None:
    common = ["train", "--cache", world / "cache", "--dataset", "other"]
    assert "give --from RUN too" in refused(*common, "--tune", "last")
    assert "give --from RUN too" in refused(*common, "--preparation", "kept")
    assert "is not a run" in refused(*common, "--from", tmp_path)
    ridge = replace(QUICK, baseline="ridge", members=5, epochs=None, fusion="dynamic")
    train(world / "cache", ridge, "toy", tmp_path / "ridge")
    assert "has no model" in refused(*common, "--from", tmp_path / "ridge")
    make_cache(tmp_path / "cache", "few", 8, 3)
    for track in (tmp_path / "cache" / "few").rglob("temporalnet*"):
        track.unlink()
    lacking = ["train", "--cache", tmp_path / "cache", "--from", world / "toy"]
    assert "no temporal track made as the run's" in refused(*lacking)
    data, wanted, _ = load(world / "cache", "other", options(world))
    with pytest.raises(UsageError, match="only train and learning-curve start from a run"):
        ablate(data, [wanted], tmp_path / "ablation")
    with pytest.raises(UsageError, match="the heads of .* have concat"):
        train(world / "cache", options(world, fusion="gated"), "other", tmp_path / "run")
