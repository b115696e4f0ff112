"""A model that is handed on scores as it did at home, and its card says what it is worth."""

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
        toy_data, TrainOptions(fusion="gated", protocol="random:n=2", epochs=4, members=2), folder
    )
    return folder


def test_an_exported_model_gives_equal_scores(run: Path, toy_data: Dataset, tmp_path: Path) -> None:
    done = called("vqa-fuse", "export", run, "--output", tmp_path / "model", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["README.md", "config.json", "model.safetensors"]
    at_home, handed_on = (
        model.scores(toy_data.features)
        for model in (saved.load(run), score.load(tmp_path / "model"))
    )
    assert np.array_equal(at_home, handed_on)


def test_config_and_card_say_what_the_model_is_and_is_worth(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["head"]["fusion"] == "gated" and config["trained_on"]["videos"] == 60
    assert config["output"] == {"label": "opinion", "scale": [1.0, 5.0], "better": "higher"}
    assert [track["extractor"] for track in config["features"]] == ["spatialnet", "temporalnet"]
    said = (tmp_path / "model" / "README.md").read_text()
    for part in (
        "library_name: vqa-twostage",
        "2 splits of N = 60 videos",
        "| SRCC | 0.",
        "## Limits",
        "opinion, 1.0 to 5.0",
    ):
        assert part in said
    assert "{{" not in said and "{%" not in said


def test_the_hub_saves_and_loads_the_same_model(
    run: Path, toy_data: Dataset, tmp_path: Path
) -> None:
    export_run(run, tmp_path / "model")
    VideoScorer.from_pretrained(str(tmp_path / "model")).save_pretrained(tmp_path / "again")
    VideoScorer.from_pretrained(str(tmp_path / "again")).save_pretrained(tmp_path / "again")
    again = VideoScorer.from_pretrained(str(tmp_path / "again")).scorer
    known = saved.load(run).scores(toy_data.features)
    assert np.array_equal(again.scores(toy_data.features), known)


def test_an_export_replaces_an_export_and_nothing_else(run: Path, tmp_path: Path) -> None:
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
