"""A run's saved model is calibrated, scores other datasets, and reproduces its predictions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forging import Document, change_record
from scipy import stats
from toy_cache import each_track, labels, make_cache, manifest_of, relabelled, write_features

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.cross_dataset import evaluate_on
from vqa_twostage.fuse.data import Dataset, load_dataset
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline import files
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(
    fusion="gated", temporal_encoder="attention", epochs=16, members=2, protocol="kfold:k=3"
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def cache(toy_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = Path(shutil.copytree(toy_cache, tmp_path_factory.mktemp("saved") / "cache"))
    other = manifest_of("other", 8, 4)
    save_manifest(cache, other)
    for kind in ("spatial", "temporal"):
        write_features(cache, other, kind)
    return cache


@pytest.fixture(scope="module")
def data(cache: Path) -> Dataset:
    return load_dataset(cache, "toy", None, None)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    train_run(data, QUICK, folder)
    return folder


# --- the model ---


@pytest.mark.long
def test_saved_model_scores_on_the_scale_of_the_labels(run: Path, data: Dataset) -> None:
    scores = saved.load(run).scores(data.features)
    mos = labels(data)
    assert metrics.srcc(scores, mos) > 0.9
    assert np.abs(scores - mos).mean() < 0.5 * np.abs(mos - mos.mean()).mean()


def test_saved_model_is_calibrated_on_test_predictions(run: Path, data: Dataset) -> None:
    table = Run(run).predictions()
    test_means = (
        table[table["part"] == "test"].groupby("id").agg({"predicted": "mean", "mos": "first"})
    )
    expected = metrics.fit_logistic(
        test_means["predicted"].to_numpy(), test_means["mos"].to_numpy()
    )
    x = np.linspace(test_means["predicted"].min(), test_means["predicted"].max(), 9)
    curve = saved.load(run).curve
    np.testing.assert_allclose(
        metrics.apply_logistic(curve, x), metrics.apply_logistic(expected, x), rtol=1e-6
    )


def test_loaded_model_is_deterministic_and_independent_of_the_batch(
    run: Path, data: Dataset
) -> None:
    first, second = (saved.load(run).scores(data.features) for _ in range(2))
    assert np.array_equal(first, second)
    few = np.array([3, 41, 7])

    def some(track):  # type: ignore[no-untyped-def]
        arrays = {name: array[few] for name, array in track.arrays.items()}
        return replace(track, arrays=arrays, mask=track.mask[few], timestamp=track.timestamp[few])

    np.testing.assert_allclose(
        saved.load(run).scores(each_track(data, some)), first[few], atol=1e-5
    )


def test_features_with_missing_arrays_or_columns_are_refused(run: Path, data: Dataset) -> None:
    (spatial,), temporal = data.features
    incomplete = replace(spatial, arrays=dict(list(spatial.arrays.items())[:1]))
    with pytest.raises(UsageError, match=r"no array c1/std, which the model was trained on"):
        saved.load(run).scores(Streams((incomplete,), temporal))
    narrow = replace(
        spatial, arrays={name: array[..., :5] for name, array in spatial.arrays.items()}
    )
    with pytest.raises(UsageError, match=r"has 5 columns, and the model was trained on 16"):
        saved.load(run).scores(Streams((narrow,), temporal))


def test_run_without_a_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no model.safetensors; vqa-fuse train writes one"):
        saved.load(tmp_path)
    (tmp_path / saved.FILE).write_bytes(b"no tensors at all")
    with pytest.raises(UsageError, match="cannot be read"):
        saved.load(tmp_path)


# --- another dataset ---


def test_another_dataset_is_evaluated_with_and_without_a_refit_of_the_scale(
    run: Path, cache: Path
) -> None:
    document = evaluate_on(run, "other").to_json()
    assert (document["trained_on"], document["dataset"], document["n_videos"]) == (
        "toy",
        "other",
        32,
    )
    other = load_dataset(cache, "other", None, None)
    scores = saved.load(run).scores(other.features)
    mos = labels(other)
    for results in (document["refitted"], document["as_is"]):
        assert results["srcc"] == pytest.approx(stats.spearmanr(scores, mos).statistic)
        assert results["krcc"] == pytest.approx(stats.kendalltau(scores, mos).statistic)
    assert document["as_is"]["plcc"] == pytest.approx(stats.pearsonr(scores, mos).statistic)
    assert document["as_is"]["rmse"] == pytest.approx(np.sqrt(np.mean((scores - mos) ** 2)))
    assert document["refitted"]["rmse"] <= document["as_is"]["rmse"] + 1e-9
    assert [row["predicted"] for row in document["predictions"]] == pytest.approx(list(scores))


def test_dataset_of_raw_video_is_evaluated_like_any_other(run: Path, tmp_path: Path) -> None:
    manifest = manifest_of("third", 3, 2)
    save_manifest(tmp_path, manifest)
    for kind in ("spatial", "temporal"):
        write_features(tmp_path, manifest, kind, raw="1920x1080 yuv420p 30")
    assert evaluate_on(run, "third", tmp_path).n_videos == 6


def test_dataset_with_other_features_is_refused_with_the_differences(
    run: Path, tmp_path: Path
) -> None:
    manifest = manifest_of("third", 3, 2)
    save_manifest(tmp_path, manifest)
    for kind in ("spatial", "temporal"):
        write_features(tmp_path, manifest, kind, extractor=f"{kind}other")
    with pytest.raises(
        UsageError, match=r"no spatial track made as the run's(.|\n)*differs in extractor"
    ):
        evaluate_on(run, "third", tmp_path)
    with pytest.raises(UsageError, match="holds no dataset 'nowhere'"):
        evaluate_on(run, "nowhere")


# --- reproduction ---


def test_run_is_reproduced_to_the_last_bit(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.iterdir()}
    document = reproduce_run(run).to_json()
    assert document["equal"] and document["predictions"] == 0 and document["changed"] == []
    assert document["n_predictions"] == 3 * 60
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_predictions_that_are_not_reproduced_are_counted_and_named(
    run: Path, tmp_path: Path
) -> None:
    table = Run(run).predictions()
    table.loc[7, "predicted"] += 1e-12
    Run(tmp_path).write_predictions(table)
    shutil.copy(run / "run.json", tmp_path)

    def change(record: Document) -> None:
        record["versions"]["torch"] = "1.0"
        record["identity"]["recipe"]["learning_rate"] = 0.5

    change_record(tmp_path, change)
    document = reproduce_run(tmp_path).to_json()
    assert not document["equal"]
    assert (document["predictions"], document["videos"]) == (1, [table["id"][7]])
    assert 0 < document["largest"] < 1e-11
    assert any(line.startswith("torch: 1.0 then") for line in document["changed"])
    assert any("recipe.learning_rate: 0.5 then" in line for line in document["changed"])


@pytest.mark.long
def test_run_is_not_reproduced_from_a_cache_with_other_labels(
    toy_cache: Path, data: Dataset, run: Path, tmp_path: Path
) -> None:
    cache = Path(shutil.copytree(toy_cache, tmp_path / "cache"))
    other = relabelled(data, labels(data)[::-1].copy()).manifest
    files.write_text(cache / "toy" / "manifest.json", other.to_json())
    document = reproduce_run(run, cache).to_json()
    assert not document["equal"]
    assert any(line.startswith("manifest:") for line in document["changed"])


def test_cache_with_missing_videos_is_refused_for_reproduction(run: Path, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", contents=11)
    with pytest.raises(
        UsageError,
        match=r"cannot be reproduced: its splits are of other videos.*\(N = 55, then 60\)",
    ):
        reproduce_run(run, cache)
