"""Runs are removed where they are runs for certain, with what they wrote and nothing else."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from commands import called
from written_runs import predictions_of, write_run

from vqa_twostage.fuse.run_removal import plan_removal, remove
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "one", predictions_of([30, 30]))


def interrupted(folder: Path) -> Path:
    (folder / "splits").mkdir(parents=True)
    (folder / "splits" / "00000").write_text("")
    return folder


def test_run_is_removed_with_all_that_training_wrote(run: Path) -> None:
    interrupted(run)
    (run / "tensorboard" / "split-0").mkdir(parents=True)
    killed = (".predictions.csv.x1y2", "splits/.00001.x1y2")
    for name in ("model.safetensors", "tensorboard/split-0/events.out.tfevents.1", *killed):
        (run / name).write_text("")
    assert remove(plan_removal([run])) == []
    assert not run.exists() and run.parent.exists()


@pytest.mark.parametrize("damage", ["interrupted", "without record", "damaged record"])
def test_run_without_results_is_removed(damage: str, run: Path) -> None:
    if damage == "interrupted":
        run = interrupted(run.parent / "two")
    elif damage == "without record":
        Run(run).record_file.unlink()
    else:
        Run(run).record_file.write_text("{")
    remove(plan_removal([run]))
    assert not run.exists()


def test_files_that_no_run_writes_stay_and_are_told(run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    result = called("vqa-fuse", "runs", "--remove", run, "--yes", cwd=run)
    assert result.returncode == 0 and f"kept {run}" in result.stderr
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_nothing_that_a_link_leads_to_is_removed(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in (
        "00000",
        ".00001.x1y2",
        "events.out.tfevents.1",
        "split-0/events.out.tfevents.2",
        "model",
    ):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("mine")
    before = sorted(mine.rglob("*"))
    (run / "splits").symlink_to(mine)
    (run / "tensorboard").symlink_to(mine)
    (run / "model.safetensors").symlink_to(mine / "model")
    remove(plan_removal([run]))
    assert sorted(mine.rglob("*")) == before
    assert {path.name for path in run.iterdir()} == {"splits", "tensorboard"}
    (run.parent / "link").symlink_to(mine)
    with pytest.raises(UsageError, match="is a link to"):
        plan_removal([run.parent / "link"])


def test_what_is_no_run_for_certain_is_refused_and_nothing_removed(
    run: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text('{"model": "of another program"}')
    (foreign / "model.safetensors").write_text("mine")
    for wrong in (foreign, run.parent, run / "predictions.csv", tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="is not a run, and nothing was removed"):
            plan_removal([run, wrong])
    with pytest.raises(UsageError, match="needs a run or more"):
        plan_removal([])
    assert Run(run).complete and (foreign / "model.safetensors").exists()


def test_removal_asks_first(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(agreed: bool | None) -> str:
        def confirm(*_: object, **__: object) -> bool:
            if agreed is None:
                raise click.Abort
            return agreed

        monkeypatch.setattr(click, "confirm", confirm)
        result = called("vqa-fuse", "runs", "--remove", "one", "one", cwd=run.parent)
        assert "This removes 1 run\n  one" in result.stderr
        return result.stdout + result.stderr

    assert "give --yes" in answer(None) and run.exists()
    assert "nothing was removed" in answer(False) and run.exists()
    assert "removed 1 run" in answer(True) and not run.exists()


def test_run_in_which_the_shell_stands_is_removed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    remove(plan_removal(["."]))
    assert not run.exists()
