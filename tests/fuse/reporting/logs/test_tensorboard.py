"""TensorBoard shows what a run holds, split by split."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import called, document

from vqa_twostage.fuse.reporting.logs import tensorboard
from vqa_twostage.fuse.reporting.run_log import LoggedRun

TRAIN = [
    "vqa-fuse",
    "train",
    "--protocol",
    "random:n=2,train=0.5,val=0.15",
    "--epochs",
    "8",
    "--members",
    "1",
    "--workers",
    "1",
]


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


@pytest.fixture(scope="module")
def trained(
    toy_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tensorboard")
    result = called(
        *TRAIN, "--cache", toy_cache, "--run", "run", "--tensorboard", "--json", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    assert "tensorboard --logdir run/tensorboard" in result.stderr
    return folder / "run", document(result)


@pytest.mark.long
def test_tensorboard_events_hold_validation_curves_and_test_metrics(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    run, evaluation = trained
    learning = pd.read_csv(run / "learning.csv")
    for split in evaluation["splits"]:
        logged = events(run / "tensorboard" / f"split-{split['seed']}")
        rows = learning[learning["split"] == split["seed"]]
        points = [(point.step, point.value) for point in logged.Scalars("validation/srcc")]
        assert points == [
            (epoch, pytest.approx(srcc))
            for epoch, srcc in zip(rows["epoch"], rows["srcc"], strict=True)
        ]
        assert logged.Scalars("test/rmse")[0].value == pytest.approx(split["rmse"])


def test_tensorboard_events_hold_medians_options_and_the_plot(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    run, evaluation = trained
    logged = events(run / "tensorboard")
    assert logged.Scalars("median over splits/srcc")[0].value == pytest.approx(
        evaluation["median"]["srcc"]
    )
    assert logged.Tags()["images"] == ["scatter"]
    text = logged.Tensors("run/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "N = 60 videos" in text and '"fusion": "dynamic"' in text


@pytest.mark.long
def test_tensorboard_events_of_a_replaced_run_are_removed_and_nothing_else(
    toy_cache: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(trained[0], tmp_path / "run")
    (tmp_path / "run" / "tensorboard" / "notes.txt").write_text("mine")
    tensorboard.write(LoggedRun.read(tmp_path / "run"))
    assert len(list((tmp_path / "run" / "tensorboard").glob("events*"))) == 1
    result = called(*TRAIN, "--cache", toy_cache, "--run", "run", "--again", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    remaining = [
        path.name for path in (tmp_path / "run" / "tensorboard").rglob("*") if path.is_file()
    ]
    assert remaining == ["notes.txt"]
