"""The folder of a run: its record is read strictly, and its features are found again after a
move.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import called
from forging import change_record, write_sealed
from toy_cache import make_cache

from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.runs import DIGESTS, Ablation, Run
from vqa_twostage.fuse.train import train
from vqa_twostage.pipeline.errors import UsageError

ADDED_LATER = ("date", "command", "n_videos", "medians")
QUICK = TrainOptions(fusion="concat", epochs=2, members=1, protocol="random:n=2")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cache`` and ``runs/one``, trained with relative paths from inside it."""
    folder = tmp_path_factory.mktemp("project")
    make_cache(folder / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(Path("cache"), QUICK, run=Path("runs/one"))
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to spoil; the folder where the run was trained is hidden for the test."""
    monkeypatch.delenv("VQA_CACHE", raising=False)
    copy = Path(shutil.copytree(trained, tmp_path / "project"))
    assert Run(copy / "runs/one").record().cache.absolute == str((trained / "cache").resolve())
    place = {"absolute": str(copy / "cache")}
    change_record(copy / "runs/one", lambda record: record["cache"].update(place))
    return copy


# --- where the features are ---


@pytest.mark.long
def test_run_is_reproduced_from_another_directory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reproduce_run(Path("project/runs/one")).equal
    monkeypatch.chdir(project / "runs" / "one")
    assert reproduce_run(Path(".")).equal


def test_run_that_moved_together_with_its_cache_finds_it(project: Path, tmp_path: Path) -> None:
    project.rename(tmp_path / "elsewhere")
    run = Run(tmp_path / "elsewhere" / "runs" / "one")
    assert run.cache().samefile(tmp_path / "elsewhere" / "cache")


def test_run_that_moved_alone_finds_its_cache(project: Path, tmp_path: Path) -> None:
    (project / "runs" / "one").rename(tmp_path / "one")
    assert Run(tmp_path / "one").cache() == project / "cache"


def test_moved_cache_is_named_by_an_option_or_by_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "cache").rename(tmp_path / "moved")
    run = project / "runs" / "one"
    assert reproduce_run(run, tmp_path / "moved").equal
    monkeypatch.setenv("VQA_CACHE", str(tmp_path / "moved"))
    assert Run(run).cache() == tmp_path / "moved"
    # a variable that names a cache without these features hides no other
    monkeypatch.setenv("VQA_CACHE", str(tmp_path))
    (tmp_path / "moved").rename(project / "cache")
    assert Run(run).cache().samefile(project / "cache")


def test_missing_cache_is_one_message_with_what_names_another(
    project: Path, tmp_path: Path
) -> None:
    (project / "cache").rename(tmp_path / "moved")
    run = Run(project / "runs" / "one")
    message = rf"no toy/.*\.h5 in {project / 'cache'}; give --cache DIR, or set \$VQA_CACHE"
    with pytest.raises(UsageError, match=message):
        run.tracks()
    with pytest.raises(UsageError, match=rf"in {project}; give --cache DIR"):
        run.tracks(project)


def test_metrics_need_no_cache(project: Path) -> None:
    shutil.rmtree(project / "cache")
    assert evaluate(str(project / "runs" / "one")).n_videos == 60


# --- the record ---


def test_record_says_when_a_run_was_made_and_what_started_it(project: Path) -> None:
    record = Run(project / "runs" / "one").record()
    made = datetime.fromisoformat(record.date)
    assert made.tzinfo == UTC and abs(datetime.now(UTC) - made) < timedelta(days=1)
    assert record.command == "Python, train"
    evaluation = evaluate(project / "runs" / "one")
    assert (record.n_videos, record.medians) == (60, evaluation.median.to_json())


def test_run_is_the_same_whenever_and_however_it_was_started(project: Path) -> None:
    run = project / "runs" / "one"
    before = Run(run).record()
    change_record(run, lambda record: record.update(date="2001-02-03", command="vqa-fuse x"))
    changed = Run(run).record()
    assert changed.date != before.date and changed.identity.digest == before.identity.digest
    assert reproduce_run(run) == replace(reproduce_run(run), equal=True, changed=[])
    again = train(project / "cache", before.options, run=run)
    assert again.was_finished and Run(run).record().date == "2001-02-03"


def test_run_that_was_recorded_without_date_and_command_is_read(project: Path) -> None:
    run = project / "runs" / "one"
    change_record(run, lambda record: [record.pop(key) for key in ADDED_LATER])
    record = Run(run).record()
    assert (record.date, record.command, record.n_videos, record.medians) == ("", "", None, None)


def test_command_that_trained_a_run_is_recorded_as_it_was_typed(project: Path) -> None:
    words = ["vqa-fuse", "train", "--baseline", "ridge", "--run", "my run", "--workers", "1"]
    assert called(*words, "--protocol", "random:n=2", cwd=project).returncode == 0
    expected = "vqa-fuse train --baseline ridge --run 'my run' --workers 1 --protocol random:n=2"
    assert Run(project / "my run").record().command == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": ...}, "it lacks dataset"),
        ({"scale": [1]}, r"scale is \[1\]"),
        ({"mos": 3}, "unknown keys: mos"),
        ({"specs": {"fusion": "concat"}}, "it lacks specs.loss"),
        ({"options": {"epochs": 3}}, "it lacks options.baseline"),
        ({"identity": []}, "identity is missing or not an object"),
        ({"cache": None}, "cache is missing or not an object"),
        ({"chosen_epochs": 4}, "chosen_epochs is 4"),
        ({"chosen_epochs": [1]}, "chosen_epochs is of 1 splits, identity.splits of 2"),
        ({"seconds": "long"}, "seconds is 'long'"),
    ],
    ids=str,
)
def test_record_of_something_else_is_one_message(
    project: Path, change: dict[str, Any], message: str
) -> None:
    run = Run(project / "runs" / "one")
    record = {**json.loads(run.record_file.read_text()), **change}
    record = {key: value for key, value in record.items() if value is not ...}
    write_sealed(run.record_file, record)
    with pytest.raises(UsageError, match=rf"run\.json is not the record.*({message}).*train"):
        run.record()


def test_predictions_without_a_column_are_one_message(project: Path) -> None:
    run = Run(project / "runs" / "one")
    run.predictions_file.write_text("id,mos\n1,2\n")
    change_record(run.folder)
    with pytest.raises(UsageError, match=r"predictions\.csv is damaged.*split.*train again"):
        evaluate(run.folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "no row"),
        ("0,train,a,,1,2", "no test part"),
        ("0,test,a,,1,2\n1,val,a,,1,2", "no test part"),
        ("0,test,a,,1,2\n0,tests,b,,1,2", "none of train, val, test"),
        ("0,test,a,,nan,2", "no scores"),
        ("0,test,a,,1,-inf", "no scores"),
        ("0,test,a,,1,1e200", "no scores"),
        ("0,test,a,,1,x", "ValueError"),
        ("x,test,a,,1,2", "ValueError"),
    ],
)
def test_predictions_that_no_run_has_are_one_message(
    project: Path, rows: str, message: str
) -> None:
    run = Run(project / "runs" / "one")
    run.predictions_file.write_text(f"split,part,id,group,mos,predicted\n{rows}\n")
    change_record(run.folder)
    with pytest.raises(UsageError, match=rf"predictions\.csv is damaged.*{message}.*train again"):
        evaluate(run.folder)


def test_predictions_of_other_splits_than_the_record_are_one_message(project: Path) -> None:
    run = Run(project / "runs" / "one")
    lines = run.predictions_file.read_text().splitlines()
    assert lines[-1].startswith("1,")
    run.predictions_file.write_text("\n".join([*lines[:-1], f"2,{lines[-1][2:]}"]) + "\n")
    change_record(run.folder)
    with pytest.raises(UsageError, match=r"predictions\.csv is damaged.*3 splits.*2.*train again"):
        evaluate(run.folder)


@pytest.mark.parametrize("digests", [None, [], 3, {}, {"predictions.csv": 3}], ids=str)
def test_digests_that_are_none_are_one_message(project: Path, digests: object) -> None:
    run = Run(project / "runs" / "one")
    change_record(run.folder, lambda record: record.update({DIGESTS: digests}))
    with pytest.raises(UsageError, match=r"predictions\.csv is not the file that .* is of"):
        evaluate(run.folder)


def test_clearing_a_run_leaves_what_is_not_its_own(project: Path) -> None:
    run = Run(project / "runs" / "one")
    (run.folder / "notes.txt").write_text("mine")
    run.clear()
    assert [path.name for path in run.folder.iterdir()] == ["notes.txt"]
    assert not run.complete


@pytest.mark.parametrize("document", [{}, {"rows": [{}], "baseline": "a"}, {"rows": []}])
def test_ablation_table_of_something_else_is_one_message(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    ablation = Ablation(tmp_path)
    write_sealed(ablation.json_file, document)
    with pytest.raises(UsageError, match=r"ablation\.json is not a table of vqa-fuse ablate"):
        ablation.runs()
