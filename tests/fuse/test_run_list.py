"""Runs in a table: finished ones with when and what, the others with the reason, none left out."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from commands import called, document
from forging import change_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_runs import predictions_of, write_run

from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.run_list import ORDERS, list_runs
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError


def make(folder: Path, date: str = "", **changes: Any) -> Path:
    """A run whose figures are as bad as its ``noise``."""
    predictions = predictions_of([30, 30], noise=changes.pop("noise", 0.5))
    return write_run(folder, predictions, date=date, **changes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs as people leave them in ``runs``, each folder named after what it is."""
    world = tmp_path_factory.mktemp("world")
    runs = world / "runs"
    make(runs / "old", noise=0.1)
    make(runs / "ablation" / "newest", "2026-03-01T23:30:00-02:00", name="dynamic", noise=1.0)
    make(runs / "first", "2026-02-01T00:00:00+00:00", command="vqa-fuse train")
    make(runs / "small", "2026-02-02T00:00:00+00:00")
    Run(runs / "small").write_predictions(predictions_of([5, 5]))
    change_record(runs / "small")
    with (make(runs / "damaged") / "predictions.csv").open("a") as table:
        table.write("more\n")
    make(runs / "broken")
    Run(runs / "broken").record_file.write_text("{")
    (runs / "going on" / "splits").mkdir(parents=True)
    for name in ("00000", "00003", "notes"):
        (runs / "going on" / "splits" / name).write_text("")
    Run(make(runs / "killed")).record_file.unlink()
    (runs / "empty").mkdir()
    make(world / "elsewhere" / "linked")
    (runs / "link").symlink_to(world / "elsewhere" / "linked")
    (runs / "loop").symlink_to(runs)
    return world


def test_every_run_is_in_the_list_once_with_what_it_is(world: Path) -> None:
    found = list_runs([world / "runs", world / "runs"])
    assert {run.run.name for run in found.runs} == {"old", "newest", "first", "small", "link"}
    assert {run.run.name: run.reason.split(";")[0] for run in found.unfinished} == {
        "going on": "2 splits are done",
        "killed": "it has predictions and no run.json",
    }
    reasons = {run.run.name: run.reason for run in found.damaged}
    assert set(reasons) == {"damaged", "broken"}
    assert "predictions.csv is not the file that" in reasons["damaged"]
    assert "run.json is not JSON" in reasons["broken"]


def test_listed_run_says_when_on_what_and_what_came_of_it(world: Path) -> None:
    (run,) = list_runs([world / "runs" / "first"]).runs
    median = evaluate(world / "runs" / "first").median
    assert (run.srcc, run.plcc) == (median.srcc, median.plcc)
    assert (run.dataset, run.n_videos, run.splits) == ("clips", 70, 2)
    assert (run.date, run.command) == ("2026-02-01T00:00:00+00:00", "vqa-fuse train")
    (small,) = list_runs([world / "runs" / "small"]).runs
    assert small.srcc is None  # withheld


def test_figures_of_a_run_that_recorded_them_are_those_of_its_predictions(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (computed,) = list_runs([run]).runs
    kept = {"medians": evaluate(run).median.to_json(), "n_videos": 70}
    change_record(run, lambda record: record.update(kept))
    assert list_runs([run]).runs == [computed]


@pytest.mark.long
def test_runs_are_in_the_order_that_is_asked_for(world: Path) -> None:
    def names(sort: str) -> list[str]:
        return [run.run.name for run in list_runs([world / "runs"], sort=sort).runs]

    assert names("date")[:3] == ["newest", "small", "first"]
    assert names("name") == ["newest", "first", "link", "old", "small"]  # in the ablation first
    assert names("srcc")[0] == "old" and names("srcc")[-2:] == ["newest", "small"]
    with pytest.raises(UsageError, match="choose one of date, srcc, name"):
        names("time")


@pytest.mark.parametrize("date", ["", "yesterday", "0001-01-01T00:00:00+23:59", "2026-02-02"])
def test_any_date_is_sorted_and_shown(date: str, world: Path, tmp_path: Path) -> None:
    make(tmp_path / "strange", date)
    result = called("vqa-fuse", "runs", tmp_path, world / "runs", cwd=tmp_path)
    assert result.returncode == 3 and "strange" in result.stdout
    assert "2026-03-02 01:30" in result.stdout  # in UTC


@pytest.mark.long
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.binary(max_size=300), place=st.integers(0, 3000), sort=st.sampled_from(ORDERS))
def test_run_is_listed_whatever_is_in_its_record(
    damage: bytes, place: int, sort: str, tmp_path: Path
) -> None:
    run = make(tmp_path / "run")
    content = bytearray(Run(run).record_file.read_bytes())
    content[place : place + len(damage)] = damage
    Run(run).record_file.write_bytes(content)
    found = list_runs([tmp_path], sort=sort)
    assert [each.run for each in (*found.runs, *found.damaged)] == [run]


def test_list_without_results_says_what_is_there(world: Path, tmp_path: Path) -> None:
    shown = called("vqa-fuse", "runs", world / "runs" / "empty", cwd=tmp_path)
    assert shown.returncode == 0 and "vqa-fuse train writes runs" in shown.stdout
    refused = called("vqa-fuse", "runs", cwd=tmp_path)
    assert refused.returncode == 2 and "runs is no folder" in refused.stderr


def test_runs_of_the_working_folder_are_printed_for_people_and_programs(world: Path) -> None:
    shown = called("vqa-fuse", "runs", cwd=world)
    assert shown.returncode == 3
    for text in ("runs/ablation/newest", "2026-03-02 01:30", "damaged: runs/broken: ", "killed"):
        assert text in shown.stdout
    result = called("vqa-fuse", "runs", "--json", "--sort", "name", cwd=world)
    listed = document(result)
    assert [run["run"] for run in listed["runs"]][:2] == ["runs/ablation/newest", "runs/first"]
    assert len(listed["unfinished"]) == 2 and len(listed["damaged"]) == 2
    table = called("vqa-fuse", "runs", "--csv", "--sort", "name", cwd=world)
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert [row["run"] for row in rows] == [run["run"] for run in listed["runs"]]
    assert rows[1]["command"] == "vqa-fuse train" and "damaged: runs/broken" in table.stderr


def test_filter_hides_no_run_that_has_no_results(world: Path) -> None:
    shown = called("vqa-fuse", "runs", "--filter", "fusion=dynamic", cwd=world).stdout
    assert "newest" in shown and "runs/old" not in shown and "4 more in runs" in shown
    assert "damaged: runs/broken" in shown and "unfinished: runs/killed" in shown
    none = called("vqa-fuse", "runs", "--dataset", "konvid", cwd=world).stdout
    assert "5 more in runs do not fit the filter" in none


def test_run_as_training_writes_it_is_listed_with_its_command(
    toy_cache: Path, tmp_path: Path
) -> None:
    words = ["vqa-fuse", "train", "--baseline", "ridge", "--protocol", "random:n=2"]
    trained = called(*words, "--workers", "1", "--cache", toy_cache, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (run,) = document(called("vqa-fuse", "runs", "--json", cwd=tmp_path))["runs"]
    assert run["command"].startswith("vqa-fuse train --baseline ridge") and run["n_videos"] == 60
    assert run["date"].startswith(time.strftime("%Y-%m-", time.gmtime()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_that_cannot_be_read_is_listed_as_such(tmp_path: Path) -> None:
    make(tmp_path / "closed" / "run")
    (tmp_path / "closed").chmod(0)
    try:
        (closed,) = list_runs([tmp_path]).damaged
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert closed.run == tmp_path / "closed" and "cannot be read" in closed.reason


def test_options_that_contradict_each_other_are_refused(world: Path) -> None:
    for words, message in (
        (["--json", "--csv"], "choose one of --json and --csv"),
        (["--yes"], "give --remove too"),
        (["--remove", "runs/old", "--filter", "seed=0"], "no --filter"),
        (["--filter", "fuson=dynamic"], "did you mean fusion?"),
    ):
        refused = called("vqa-fuse", "runs", *words, cwd=world)
        assert refused.returncode == 2 and message in refused.stderr
