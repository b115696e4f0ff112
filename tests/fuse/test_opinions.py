"""Every figure that rests on features which learnt from opinions says whose they are, and features
that learnt from the opinions of the dataset itself are used only where that is allowed by name.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from toy_cache import manifest_of

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.cli import command as fuse_command
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.train import train
from vqa_twostage.pipeline.cache.feature_blocks import parse_block
from vqa_twostage.pipeline.cache.importing import import_blocks
from vqa_twostage.pipeline.errors import UsageError

RIDGE = TrainOptions(baseline="ridge", protocol="random:n=2")
HEAD = TrainOptions(fusion="concat", protocol="random:n=2", epochs=2, members=1)
SENTENCE = "its features learnt from opinions of: lsvq, maxwell"

pytestmark = pytest.mark.usefixtures("one_thread")


def make_tracks(cache: Path, dataset: str, trained_on: str) -> Path:
    """A spatial track without opinions, a temporal one with those of ``trained_on``."""
    manifest = manifest_of(dataset, contents=8, versions=4)
    noise = np.random.default_rng(0).normal(size=(32, 6))
    noise[:, 0] += manifest.rows["mos"]
    file = cache.parent / f"{dataset}.npz"
    np.savez(file, ids=manifest.rows["id"].to_numpy(str), plain=noise[:, :3], learnt=noise[:, 3:])
    import_blocks(manifest, cache, file, [parse_block("plain=spatial")])
    import_blocks(manifest, cache, file, [parse_block("learnt=temporal")], trained_on=trained_on)
    return cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = make_tracks(tmp_path_factory.mktemp("opinions") / "cache", "own", "lsvq,maxwell")
    make_tracks(cache, "lsvq", "lsvq,maxwell")
    return make_tracks(cache, "plain", "")


@pytest.fixture(scope="module")
def run(cache: Path) -> Path:
    return train(cache, HEAD, "own", cache.parent / "run").run


def fuse(*words: object) -> Result:
    return CliRunner().invoke(fuse_command, [*map(str, words)], standalone_mode=False)


def refused(*words: object) -> str:
    error = fuse(*words).exception
    assert isinstance(error, UsageError), error
    return str(error)


@pytest.mark.long
def test_results_name_the_datasets_of_the_opinions(run: Path, cache: Path) -> None:
    assert SENTENCE in fuse("evaluate", run).stdout
    assert json.loads(fuse("evaluate", run, "--json").stdout)["opinions"] == ["lsvq", "maxwell"]
    trained = fuse(
        *("train", "--baseline", "ridge", "--protocol", "random:n=2", "--dataset", "own"),
        *("--cache", cache, "--run", cache.parent / "ridge", "--workers", 1),
    )
    assert SENTENCE in trained.stdout
    other = fuse("evaluate", run, "--dataset", "own", "--json")
    assert json.loads(other.stdout)["opinions"] == ["lsvq", "maxwell"]
    assert SENTENCE in fuse("evaluate", run, "--dataset", "own").stdout
    assert SENTENCE in (run / "metrics.md").read_text()


def test_record_keeps_the_datasets_of_the_opinions(run: Path) -> None:
    record = Run(run).record()
    assert opinions.names_of(record.identity) == ["lsvq", "maxwell"]
    assert record.identity.spatial[0].trained_on == ""
    assert json.loads(Run(run).record_file.read_text())["identity"]["temporal"][0]["trained_on"]


@pytest.mark.long
def test_comparison_says_which_runs_rest_on_opinions(run: Path, cache: Path) -> None:
    (cache.parent / "other").mkdir()
    without = make_tracks(cache.parent / "other" / "cache", "own", "")
    other = train(without, RIDGE, "own", cache.parent / "alone")
    assert other.opinions == []
    document = json.loads(fuse("compare", run, other.run, "--json").stdout)
    assert {row["name"]: row["opinions"] for row in document["rows"]} == {
        "concat": ["lsvq", "maxwell"],
        "ridge": [],
    }
    text = fuse("compare", run, other.run).stdout
    assert f"concat: {SENTENCE}" in text and "ridge: its features" not in text


@pytest.mark.long
def test_ablation_says_in_each_of_its_tables_whose_opinions_are_in_it(
    cache: Path, tmp_path: Path
) -> None:
    words = ["--dataset", "own", "--cache", cache, "--output", tmp_path / "ablation"]
    words += ["--fusion", "concat", "--baselines", "ridge", "--protocol", "random:n=2"]
    result = fuse("ablate", *words, "--epochs", 2, "--members", 1, "--workers", 1)
    assert result.exception is None and f"all rows: {SENTENCE}" in result.stdout
    assert SENTENCE in (tmp_path / "ablation" / "ablation.md").read_text()
    assert "lsvq maxwell" in (tmp_path / "ablation" / "ablation.csv").read_text()
    rows = json.loads((tmp_path / "ablation" / "ablation.json").read_text())["rows"]
    assert [row["opinions"] for row in rows] == [["lsvq", "maxwell"]] * 2


def test_report_and_card_say_whose_opinions_are_in_it(run: Path, tmp_path: Path) -> None:
    assert fuse("report", run, "--output", tmp_path / "report.html").exception is None
    assert SENTENCE in (tmp_path / "report.html").read_text()
    assert fuse("export", run, "--output", tmp_path / "model").exception is None
    assert SENTENCE in (tmp_path / "model" / "README.md").read_text()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert [track.get("trained_on") for track in config["features"]] == [None, "lsvq,maxwell"]


def test_nothing_is_said_of_features_without_opinions(cache: Path, tmp_path: Path) -> None:
    words = ["--dataset", "plain", "--cache", cache, "--run", tmp_path / "run", "--workers", 1]
    result = fuse("train", *words, "--baseline", "ridge", "--protocol", "random:n=2")
    assert result.exception is None and "opinions of" not in result.stdout
    assert "opinions of" not in (tmp_path / "run" / "metrics.md").read_text()


@pytest.mark.long
@pytest.mark.parametrize("command", ["train", "ablate"])
def test_own_opinions_are_refused_unless_they_are_allowed_by_name(
    command: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [command, "--dataset", "lsvq", "--cache", cache, "--protocol", "random:n=2"]
    words += ["--baseline", "ridge"] if command == "train" else ["--fusion", "concat"]
    words += ["--workers", 1]
    words += [] if command == "train" else ["--epochs", 2, "--members", 1]
    for allowed in ([], ["--allow-trained-on", "maxwell"]):
        message = refused(*words, *allowed)
        assert re.search(r"learnt-\w+ learnt from opinions of lsvq, maxwell", message), message
        assert message.endswith("or allow it by name with --allow-trained-on lsvq")
        assert not (tmp_path / "runs").exists()
    result = fuse(*words, "--allow-trained-on", "lsvq")
    assert result.exception is None
    assert f"{SENTENCE}; lsvq is the dataset itself, so no video is unseen" in result.stdout


@pytest.mark.long
def test_allowed_training_is_reported_with_the_command_that_repeats_it(
    cache: Path, tmp_path: Path
) -> None:
    options = replace(RIDGE, allow_trained_on="lsvq")
    result = train(cache, options, "lsvq", tmp_path / "run")
    assert Run(result.run).record().options == options
    assert fuse("report", result.run, "--output", tmp_path / "report.html").exception is None
    assert "--allow-trained-on lsvq" in (tmp_path / "report.html").read_text()
    assert fuse("reproduce", result.run, "--workers", 1).return_value == 0


def test_evaluation_on_a_dataset_of_the_opinions_has_to_be_allowed(run: Path) -> None:
    message = refused("evaluate", run, "--dataset", "lsvq")
    assert message.endswith("or allow it by name with --allow-trained-on lsvq")
    allowed = fuse("evaluate", run, "--dataset", "lsvq", "--allow-trained-on", "lsvq")
    assert f"{SENTENCE}; lsvq is the dataset itself" in allowed.stdout
    assert "give --dataset" in refused("evaluate", run, "--allow-trained-on", "lsvq")


def test_features_of_another_dataset_must_have_learnt_from_the_same_opinions(run: Path) -> None:
    message = refused("evaluate", run, "--dataset", "plain")
    assert re.search(r"learnt-\w+ differs in .*trained_on", message)


def test_name_of_a_dataset_is_compared_without_letter_case() -> None:
    with pytest.raises(UsageError, match="--allow-trained-on KoNViD"):
        opinions.require_others("KoNViD", {"track": ("konvid",)}, None)
    opinions.require_others("KoNViD", {"track": ("konvid",)}, "konvid")
    opinions.require_others("konvid150k_a", {"track": ("konvid",)}, None)
