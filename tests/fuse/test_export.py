"""An exported model gives the scores of its run, and its card states metrics and limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import called

from vqa_twostage.fuse import score
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.export import export_run
from vqa_twostage.fuse.hub import VideoScorer
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.errors import UsageError


@pytest.fixture(scope="module")
def run(toy_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_run(
        toy_data,
        TrainOptions(fusion="gated", protocol="random:n=2,train=0.5,val=0.15", epochs=4, members=2),
        folder,
    )
    return folder


def test_export_gives_a_model_of_equal_scores(run: Path, toy_data: Dataset, tmp_path: Path) -> None:
    result = called(
        "vqa-fuse", "export", run, "--output", tmp_path / "model", "--json", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["files"] == ["README.md", "config.json", "model.safetensors"]
    original, exported = (
        model.scores(toy_data.features)
        for model in (saved.load(run), score.load(tmp_path / "model"))
    )
    assert np.array_equal(original, exported)


def test_export_writes_configuration_and_card(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["head"]["fusion"] == "gated" and config["trained_on"]["videos"] == 60
    assert config["output"] == {"label": "opinion", "scale": [1.0, 5.0], "better": "higher"}
    assert [track["extractor"] for track in config["features"]] == ["spatialnet", "temporalnet"]
    card = (tmp_path / "model" / "README.md").read_text()
    for part in (
        "library_name: vqa-twostage",
        "2 splits of N = 60 videos",
        "| SRCC | 0.",
        "## Limits",
        "opinion, 1.0 to 5.0",
    ):
        assert part in card
    assert "{{" not in card and "{%" not in card


def test_hub_saves_and_loads_an_equal_model(run: Path, toy_data: Dataset, tmp_path: Path) -> None:
    export_run(run, tmp_path / "model")
    VideoScorer.from_pretrained(str(tmp_path / "model")).save_pretrained(tmp_path / "again")
    VideoScorer.from_pretrained(str(tmp_path / "again")).save_pretrained(tmp_path / "again")
    again = VideoScorer.from_pretrained(str(tmp_path / "again")).scorer
    expected = saved.load(run).scores(toy_data.features)
    assert np.array_equal(again.scores(toy_data.features), expected)


def test_export_replaces_an_earlier_export_and_nothing_else(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "model")
    export_run(run, tmp_path / "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(
        UsageError, match="mine is there, and no exported model; give another folder"
    ):
        export_run(run, tmp_path / "mine")
    (tmp_path / "mine" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="mine is there, and no exported model"):
        export_run(run, tmp_path / "mine")
    with pytest.raises(UsageError, match="is the run itself; give another folder"):
        export_run(run, run)
    with pytest.raises(UsageError, match="has no model.safetensors"):
        export_run(tmp_path / "mine", tmp_path / "other")
