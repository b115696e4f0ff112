"""A model on another dataset: labels of the other direction are aligned before any figure."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from toy_cache import manifest_of, write_features

from vqa_twostage.fuse.cross_dataset import evaluate_on
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.metrics import srcc_interval
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reporting.terminal import print_cross_dataset
from vqa_twostage.fuse.results import CrossDatasetEvaluation
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.datasets.manifest import Manifest

QUICK = TrainOptions(fusion="concat", epochs=10, members=1, protocol="random:n=1")

pytestmark = pytest.mark.usefixtures("one_thread")


def on_scale(manifest: Manifest, better: str, low: float, high: float) -> Manifest:
    """The same opinions on another scale, whose better end is ``better``."""
    position = (manifest.rows["mos"] - 1) / 4
    if better == "lower":
        position = 1 - position
    rows = manifest.rows.assign(mos=low + (high - low) * position)
    return replace(manifest, rows=rows, scale=(low, high), better=better)


LABELS = {
    "mos": ("higher", 1.0, 5.0),
    "dmos": ("lower", 1.0, 5.0),
    "mos100": ("higher", 0.0, 100.0),
    "dmos100": ("lower", 0.0, 100.0),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same videos, once to train on and once to test on, with labels of each kind."""
    cache = tmp_path_factory.mktemp("directions") / "cache"
    for role, contents in (("train", 9), ("test", 8)):
        for name, labels in LABELS.items():
            manifest = manifest_of(f"{role}-{name}", contents, 5)
            save_manifest(cache, on_scale(manifest, *labels))
            for kind in ("spatial", "temporal"):
                write_features(cache, manifest, kind)
    return cache


@pytest.fixture(scope="module")
def runs(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("mos", "dmos", "dmos100"):
        train_run(load_dataset(cache, f"train-{name}", None, None), QUICK, folder / name)
    return {name: folder / name for name in ("mos", "dmos", "dmos100")}


Evaluated = Callable[[str, str], CrossDatasetEvaluation]


@pytest.fixture(scope="module")
def evaluated(runs: dict[str, Path], cache: Path) -> Evaluated:
    """By the labels that were trained on and those that are tested on, each pair computed once."""
    return functools.cache(
        lambda trained, tested: evaluate_on(runs[trained], f"test-{tested}", cache)
    )


CASES = [
    ("mos", "mos"),
    ("mos", "dmos"),
    ("mos", "dmos100"),
    ("mos", "mos100"),
    ("dmos", "mos"),
    ("dmos", "dmos"),
    ("dmos", "dmos100"),
    ("dmos100", "mos"),
    ("dmos100", "dmos"),
    ("dmos100", "mos100"),
]


@pytest.mark.parametrize(("trained", "tested"), CASES)
def test_good_model_has_positive_correlations_whatever_the_directions_of_the_labels(
    evaluated: Evaluated, runs: dict[str, Path], cache: Path, trained: str, tested: str
) -> None:
    result = evaluated(trained, tested)
    data = load_dataset(cache, f"test-{tested}", None, None)
    scores = saved.load(runs[trained]).scores(data.features)
    direction = 1 if ("dmos" in trained) == ("dmos" in tested) else -1
    srcc = direction * stats.spearmanr(scores, data.mos).statistic
    assert srcc > 0.8
    for metrics in (result.refitted, result.as_is):
        assert metrics.srcc == pytest.approx(srcc)
        assert metrics.krcc == pytest.approx(direction * stats.kendalltau(scores, data.mos)[0])
    assert result.as_is.plcc == pytest.approx(direction * stats.pearsonr(scores, data.mos)[0])
    # a fit that is a constant has the standard deviation of the labels as its error
    assert result.refitted.rmse is not None and result.refitted.plcc is not None
    assert result.refitted.rmse < 0.6 * data.mos.std()
    assert result.refitted.plcc > 0.8


@pytest.mark.parametrize(("trained", "tested"), [("mos", "dmos"), ("dmos", "mos")])
def test_error_of_scores_as_they_are_is_that_of_scores_mirrored_within_their_scale(
    evaluated: Evaluated, trained: str, tested: str
) -> None:
    result = evaluated(trained, tested)
    mos = np.array([row.mos for row in result.predictions])
    scores = np.array([row.predicted for row in result.predictions])
    assert result.as_is.rmse == pytest.approx(np.sqrt(np.mean((6 - scores - mos) ** 2)))
    assert result.as_is.rmse < mos.std()


@pytest.mark.parametrize(("trained", "tested"), CASES)
def test_ranges_directions_and_number_of_videos_are_said(
    evaluated: Evaluated,
    trained: str,
    tested: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = evaluated(trained, tested)
    document = result.to_json()
    mos = [row["mos"] for row in document["predictions"]]
    scores = [row["predicted"] for row in document["predictions"]]
    assert document["n_videos"] == 40
    assert document["label_range"] == [min(mos), max(mos)]
    assert document["score_range"] == [min(scores), max(scores)]
    assert document["better"] == LABELS[trained][0]
    assert document["other_better"] == LABELS[tested][0]
    print_cross_dataset(result)
    text = capsys.readouterr().out
    assert "N = 40 videos" in text
    assert f"labels: {min(mos):.4g} to {max(mos):.4g}, {LABELS[tested][0]} is better" in text
    assert f"scores: {min(scores):.4g} to {max(scores):.4g}, {LABELS[trained][0]} is better" in text
    aligned = "scores are mirrored within their scale before any figure" in text
    assert aligned == (document["better"] != document["other_better"])


def test_figures_of_a_small_dataset_are_withheld_and_its_predictions_are_not(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = manifest_of("few", 4, 2)
    save_manifest(tmp_path, manifest)
    for kind in ("spatial", "temporal"):
        write_features(tmp_path, manifest, kind)
    result = evaluate_on(runs["mos"], "few", tmp_path)
    document = result.to_json()
    for scale in ("refitted", "as_is"):
        assert set(document[scale].values()) == {None}
    assert document["srcc_interval"] is None
    assert document["n_videos"] == len(document["predictions"]) == 8
    print_cross_dataset(result)
    text = capsys.readouterr().out
    assert text.count("n/a, 8 test videos") == 8 and "mostly chance" in text


def test_srcc_on_another_dataset_has_its_interval(
    evaluated: Evaluated, capsys: pytest.CaptureFixture[str]
) -> None:
    result = evaluated("mos", "dmos")
    assert result.refitted.srcc is not None and result.srcc_interval is not None
    assert result.srcc_interval == srcc_interval(result.refitted.srcc, 40)
    print_cross_dataset(result)
    assert "[{:.3f}, {:.3f}]".format(*result.srcc_interval) in capsys.readouterr().out
