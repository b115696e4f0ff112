"""Programs that keep experiments get what a run holds, and are checked before a training."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from commands import called
from forging import change_record
from written_runs import predictions_of, write_run

from vqa_twostage.fuse.cli.training import train
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.reporting import run_log as module
from vqa_twostage.fuse.reporting.run_log import LOGS, LoggedRun, run_log, write_logs
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError

WORDS = ["vqa-fuse", "train", "--baseline", "ridge", "--run", "run"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """With a split that is withheld, and an epoch whose SRCC is undefined."""
    run = write_run(tmp_path / "run", predictions_of([30, 10]), date="2026-11-30T01:02:03+00:00")
    (run / "learning.csv").write_text("split,epoch,srcc\n0,1,\n0,2,0.5\n1,1,0.25\n1,2,inf\n")
    change_record(run)
    return run


def test_logged_run_holds_what_may_be_shown_and_nothing_undefined(run: Path) -> None:
    logged, evaluation = LoggedRun.read(run), evaluate(run)
    assert logged.validation == {0: {2: 0.5}, 1: {1: 0.25}}
    tests = dict(logged.tests())
    assert tests[0]["srcc"] == evaluation.splits[0].metrics.srcc and tests[1] == {}
    assert logged.medians()["plcc"] == evaluation.median.plcc
    assert logged.choices["dataset"] == "clips" and logged.choices["fusion"] == "head"
    assert "temporal_pooling" in logged.choices and None not in logged.choices.values()


def test_every_log_gets_every_run_though_one_refuses(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refuses:
        PACKAGES = ()

        def write(self, logged: LoggedRun) -> str:
            raise UsageError(f"no {logged.name}")

    class Takes:
        PACKAGES = ()

        def write(self, logged: LoggedRun) -> str:
            click.echo("as MLflow prints an address")
            return f"has {logged.name}"

    said = write_logs([run, run], [Refuses(), Takes()])
    assert [next(said), next(said)] == ["has run", "has run"]
    with pytest.raises(UsageError, match=r"^no run\nno run$"):
        next(said)
    assert capsys.readouterr().out == ""  # which is for one JSON document
    assert list(write_logs([run.parent / "nowhere"], [])) == []


def test_logged_run_is_the_same_until_it_is_trained_again(run: Path) -> None:
    key = LoggedRun.read(run).key
    assert key == f"{Run(run).record().identity.digest}-202611300102030000"
    change_record(run, lambda record: record.update(date=""))
    assert LoggedRun.read(run).key == Run(run).record().identity.digest


def test_every_log_of_the_command_line_is_a_file_with_the_contract() -> None:
    (option,) = (option for option in train.params if option.name == "logs")
    assert list(option.type.to_info_dict()["choices"]) == list(LOGS)
    files = (Path(module.__file__).parent / "logs").glob("[a-z]*.py")
    assert sorted(path.stem for path in files) == sorted(LOGS)


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("by_folder", [False, True], ids=["", "with a folder of its name"])
def test_log_without_its_package_is_refused_before_training(
    name: str, by_folder: bool, toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = name
    if by_folder:
        # as wandb makes one in the working directory, which is searched for packages
        package = "package_of_a_log"
        (tmp_path / package).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path))
        file = __import__(f"vqa_twostage.fuse.reporting.logs.{name}", fromlist=["PACKAGES"])
        monkeypatch.setattr(file, "PACKAGES", (package,))
    else:
        monkeypatch.setitem(sys.modules, package, None)
    refused = called(*WORDS, "--cache", toy_cache, "--log", name, cwd=tmp_path)
    assert refused.returncode == 2 and not (tmp_path / "run").exists()
    expected = f'--log {name} needs {package}; run: pip install "vqa-twostage[{name}]"'
    assert expected in refused.stderr


def test_old_name_of_the_option_is_the_log_of_tensorboard(
    toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    refused = called(*WORDS, "--cache", toy_cache, "--tensorboard", cwd=tmp_path)
    assert refused.returncode == 2 and "--log tensorboard needs" in refused.stderr
    with pytest.raises(UsageError, match=r'pip install "vqa-twostage\[tensorboard\]"'):
        run_log("tensorboard")
