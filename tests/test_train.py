"""The recipe on a small cache whose truth is known: what is learnt, what must not be, and what a run leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fuse import metrics
from fuse.compare import compare_runs
from fuse.data import CLIP, Dataset, Features, load_dataset, standardised
from fuse.evaluate import evaluate_run, load_predictions
from fuse.losses import parse_loss
from fuse.model import Head
from fuse.options import TrainOptions
from fuse.protocols import Split, splits
from fuse.train import train_run, train_split
from pipeline import cache as cached
from pipeline import records
from pipeline.datasets import Manifest
from pipeline.errors import UsageError

FRAMES = 4
COLUMNS = 16
LEVELS = ("c1", "c2", "last")
# how many columns of each array tell the quality
TELLING = 4

QUICK = TrainOptions(fusion="concat", epochs=20, protocol="random:n=4")
# without dropout a head can learn its training labels by heart, whatever they are
BY_HEART = replace(QUICK, fusion="dynamic:dropout=0", pooling="avg:level_dropout=0")


pytestmark = pytest.mark.usefixtures("one_thread")


# --- a cache whose truth is known ---


def manifest_of(name: str, contents: int, versions: int) -> Manifest:
    """``versions`` videos of each content, with qualities of their own, and labels that follow the quality closely."""
    generator = np.random.default_rng(0)
    count = contents * versions
    mos = 3 + 0.6 * generator.normal(size=count)
    ids = [f"content {number // versions:02d}/version {number % versions}" for number in range(count)]
    rows = pd.DataFrame(
        {
            "id": ids,
            "path": [f"{video_id}.mp4" for video_id in ids],
            "mos": mos,
            "mos_std": np.nan,
            "group": [f"content {number // versions:02d}" for number in range(count)],
            "split": "",
        }
    )
    return Manifest(name, name, "opinion", (1.0, 5.0), rows)


def write_features(
    cache: Path,
    manifest: Manifest,
    kind: str,
    extractor: str = "",
    sampler: str = "uniform:frames=4",
    without: tuple[str, ...] = (),
) -> Path:
    """A track in which a few columns tell the quality, and all of them tell the content; some videos are shorter."""
    extractor = extractor or f"{kind}net"
    identity = {"kind": kind, "extractor": extractor, "sampler": sampler}
    path = cached.track_path(cache, manifest.name, sampler, extractor, identity)
    generator = np.random.default_rng(len(extractor))
    content, _ = pd.factorize(manifest.rows["group"])
    looks = generator.normal(size=(content.max() + 1, COLUMNS))
    with cached.write_track(path, identity, {"manifest": manifest.digest}) as track:
        for row, (video_id, mos) in enumerate(zip(manifest.rows["id"], manifest.rows["mos"], strict=True)):
            length = FRAMES - row % 5 // 4
            own, quality = generator.normal(size=COLUMNS), np.zeros(COLUMNS)
            quality[:TELLING] = 2 * (mos - 3) / 0.6 + 0.5 * generator.normal()
            arrays = {
                f"{level}/{name}": looks[content[row]] + own + quality + generator.normal(size=(length, COLUMNS))
                for level in LEVELS
                for name in ("mean", "std")
            }
            if video_id not in without:
                index = np.arange(length)
                track.write(video_id, cached.VideoFeatures(arrays, index, index / 2.0, {"source_digest": "none"}))
    return path


def make_cache(cache: Path, name: str = "toy", contents: int = 12, versions: int = 5) -> Path:
    manifest = manifest_of(name, contents, versions)
    records.save_manifest(cache, manifest)
    for kind in ("spatial", "temporal"):
        write_features(cache, manifest, kind)
    return cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def data(cache: Path) -> Dataset:
    return load_dataset(cache, None, None, None)


def relabelled(data: Dataset, mos: np.ndarray) -> Dataset:
    """The same videos and features with other labels."""
    manifest = replace(data.manifest, rows=data.manifest.rows.assign(mos=mos))
    return replace(data, manifest=manifest, mos=torch.tensor(mos, dtype=torch.float32))


def reworked(data: Dataset, change: Callable[[torch.Tensor], torch.Tensor]) -> Dataset:
    """The same videos and labels, with ``change`` made to a copy of every array of both tracks."""

    def of(features: Features) -> Features:
        return replace(features, arrays={name: change(array.clone()) for name, array in features.arrays.items()})

    return replace(data, spatial=of(data.spatial), temporal=of(data.temporal))


def labels(data: Dataset) -> np.ndarray:
    return data.manifest.rows["mos"].to_numpy().copy()


def trained(data: Dataset, split: Split, options: TrainOptions = QUICK) -> tuple[np.ndarray, int]:
    return train_split(data, split, Head.of(options), parse_loss(options.loss), options.epochs)


def first_split(data: Dataset) -> Split:
    return splits("random:n=1", data.manifest.rows)[1][0]


# --- what is learnt, and what is not ---


@pytest.mark.parametrize("fusion", ["concat", "dynamic"])
def test_features_that_tell_the_quality_order_unseen_contents(data: Dataset, fusion: str, tmp_path: Path) -> None:
    document = train_run(data, replace(QUICK, fusion=fusion, epochs=40), tmp_path)
    assert document["median"]["srcc"] > 0.8
    assert document["median"]["plcc"] > 0.8
    # far below the 0.6 that answering always the mean would cost
    assert document["median"]["rmse"] < 0.4


CONTENTS, VERSIONS, SHUFFLES = 24, 10, 3
# Mean SRCC over splits that together test every video: with labels that mean nothing its standard error is at least
# 1 / sqrt(videos - 1) for each shuffle, however much the splits have in common. Three of them:
NOTHING = 3 / math.sqrt(SHUFFLES * (CONTENTS * VERSIONS - 1))


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """240 videos with their labels dealt out at random, three times."""
    large = make_cache(tmp_path_factory.mktemp("large"), contents=CONTENTS, versions=VERSIONS)
    data = load_dataset(large, "toy", None, None)
    return [relabelled(data, np.random.default_rng(seed).permutation(labels(data))) for seed in range(SHUFFLES)]


def test_shuffled_labels_give_an_srcc_near_zero(shuffled: list[Dataset], tmp_path: Path) -> None:
    options = replace(BY_HEART, protocol="random:n=12")
    found = []
    for number, data in enumerate(shuffled):
        document = train_run(data, options, tmp_path / str(number))
        found += [split["srcc"] for split in document["splits"]]
    assert len(found) == 12 * SHUFFLES
    assert abs(np.mean(found)) < NOTHING < 0.15


def test_shuffled_labels_would_give_a_high_srcc_if_the_test_part_leaked(shuffled: list[Dataset]) -> None:
    """The test above can fail: the same heads on the same data, told the labels of the test part in two ways."""
    trained_on, chosen_by_too = [], []
    for data in shuffled:
        mos = labels(data)
        for split in splits("random:n=4", data.manifest.rows)[1]:
            both = np.concatenate([split.train, split.test])
            for leaky, found in (
                (Split(split.seed, both, split.val, split.test), trained_on),
                (Split(split.seed, both, split.test, split.test), chosen_by_too),
            ):
                predicted, _ = trained(data, leaky, BY_HEART)
                found.append(metrics.srcc(predicted[split.test], mos[split.test]))
    assert np.mean(trained_on) > 2 * NOTHING
    assert np.mean(chosen_by_too) > 0.8


def test_the_labels_of_the_test_part_have_no_influence_at_all(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    mos[split.test] = 100 - 20 * mos[split.test]
    (predicted, epoch), (with_others, other_epoch) = trained(data, split), trained(relabelled(data, mos), split)
    assert np.array_equal(predicted, with_others)
    assert epoch == other_epoch


def test_the_features_of_the_test_part_change_the_scores_of_no_other_video(data: Dataset) -> None:
    split = first_split(data)

    def scaled(rows: np.ndarray) -> Dataset:
        def change(array: torch.Tensor) -> torch.Tensor:
            array[rows] = 3 * array[rows] + 7
            return array

        return reworked(data, change)

    others = np.concatenate([split.train, split.val])
    (predicted, epoch), (moved, moved_epoch) = trained(data, split), trained(scaled(split.test), split)
    assert np.array_equal(predicted[others], moved[others])
    assert not np.array_equal(predicted[split.test], moved[split.test])
    assert epoch == moved_epoch
    # those of the training part do
    assert not np.array_equal(predicted[others], trained(scaled(split.train[:5]), split)[0][others])


def test_the_validation_part_decides_the_epoch_and_nothing_else(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    by_epoch: dict[int, list[np.ndarray]] = {}
    for seed in range(10):
        dealt = mos.copy()
        dealt[split.val] = np.random.default_rng(seed).permutation(mos[split.val])
        predicted, epoch = trained(relabelled(data, dealt), split)
        by_epoch.setdefault(epoch, []).append(predicted)
    chosen = [found[0] for found in by_epoch.values()]
    assert len(chosen) > 1
    assert len(chosen) < 10
    # the same epoch, the same model to the last bit; another epoch, another model
    assert all(np.array_equal(found[0], other) for found in by_epoch.values() for other in found)
    assert not any(np.array_equal(chosen[0], other) for other in chosen[1:])


def test_the_epoch_is_the_one_that_validates_best(data: Dataset) -> None:
    split = first_split(data)
    mos = labels(data)
    predicted, epoch = trained(data, split)
    best = metrics.srcc(predicted[split.val], mos[split.val])
    # with the labels of validation upside down, the model that is then chosen is no better on the true ones
    mos_inverted = mos.copy()
    mos_inverted[split.val] *= -1
    worst, other_epoch = trained(relabelled(data, mos_inverted), split)
    assert epoch != other_epoch
    assert metrics.srcc(worst[split.val], mos[split.val]) < best


def test_training_twice_gives_the_same_predictions_to_the_last_bit(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = train_run(data, replace(QUICK, fusion="dynamic"), tmp_path / "first")
    torch.manual_seed(2)
    second = train_run(data, replace(QUICK, fusion="dynamic"), tmp_path / "second")
    tables = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("first", "second")]
    assert tables[0] == tables[1]
    assert {**first, "run": ""} == {**second, "run": ""}


def test_training_leaves_the_random_numbers_of_its_caller_alone(data: Dataset) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    trained(data, first_split(data), replace(QUICK, epochs=2))
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_is_another_experiment(data: Dataset, tmp_path: Path) -> None:
    zero, one = (train_run(data, replace(QUICK, seed=seed), tmp_path / str(seed)) for seed in (0, 1))
    assert [split["seed"] for split in zero["splits"]] == [0, 1, 2, 3]
    assert [split["seed"] for split in one["splits"]] == [1, 2, 3, 4]
    assert zero["splits"][1:] == one["splits"][:3]


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_any_number_of_epochs_will_do(data: Dataset, epochs: int) -> None:
    predicted, epoch = trained(data, first_split(data), replace(QUICK, epochs=epochs))
    assert np.isfinite(predicted).all()
    assert 1 <= epoch <= epochs


def test_scores_are_on_the_scale_of_the_labels(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    options = replace(QUICK, loss="smooth_l1", epochs=40)
    small, large = trained(data, split, options)[0], trained(relabelled(data, 20 * mos), split, options)[0]
    assert abs(small[split.train].mean() - mos[split.train].mean()) < 0.3
    np.testing.assert_allclose(large, 20 * small, rtol=1e-3)


# --- standardisation ---


def test_standardisation_is_of_the_training_frames_alone(data: Dataset) -> None:
    split = first_split(data)
    for name, array in standardised(data.spatial, split.train).items():
        # clipping moves a little of what is left
        frames = array[split.train][data.spatial.mask[split.train]]
        torch.testing.assert_close(frames.mean(dim=0), torch.zeros(COLUMNS), rtol=0, atol=0.02)
        torch.testing.assert_close(frames.std(dim=0), torch.ones(COLUMNS), rtol=0, atol=0.02)
        raw = data.spatial.arrays[name]
        seen = raw[split.train][data.spatial.mask[split.train]].double().numpy()
        expected = ((raw.double().numpy() - seen.mean(0)) / seen.std(0)).clip(-CLIP, CLIP)
        expected[~data.spatial.mask.numpy()] = 0
        np.testing.assert_allclose(array.numpy(), expected, atol=1e-4)


def test_what_is_no_frame_is_zero_whatever_stands_there(data: Dataset) -> None:
    split, mask = first_split(data), data.spatial.mask
    assert (~mask).any(), "some of the videos are shorter"
    garbage = {name: torch.where(mask[..., None], array, 1e4) for name, array in data.spatial.arrays.items()}
    for name, array in standardised(replace(data.spatial, arrays=garbage), split.train).items():
        assert not array[~mask].any()
        assert torch.equal(array, standardised(data.spatial, split.train)[name])


@pytest.mark.parametrize("constant", [0.0, 1.0, 333.25, -1e-3])
def test_a_column_that_is_constant_in_training_says_nothing_elsewhere(data: Dataset, constant: float) -> None:
    split = first_split(data)

    def change(array: torch.Tensor) -> torch.Tensor:
        array[split.train, :, 0] = constant
        return array

    here = reworked(data, change)
    there = reworked(data, lambda array: change(array.index_fill(2, torch.tensor([0]), 5e3)))
    assert not any(array[..., 0].any() for array in standardised(here.spatial, split.train).values())
    predicted, _ = trained(here, split)
    assert np.isfinite(predicted).all()
    assert np.array_equal(predicted, trained(there, split)[0])


def test_labels_that_are_constant_in_training_are_learnt_as_such(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    mos[split.train] = 2.5
    predicted, _ = trained(relabelled(data, mos), split)
    np.testing.assert_allclose(predicted, 2.5)


# --- what a run is ---

KEYS = {"dataset", "fusion", "protocol", "n_videos", "splits", "median", "run"}
METRICS = {"srcc", "plcc", "krcc", "rmse"}


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "one"
    return folder, train_run(data, QUICK, folder)


def test_the_document_of_a_run_has_the_documented_keys(run: tuple[Path, dict[str, Any]]) -> None:
    folder, document = run
    assert set(document) >= KEYS
    assert (document["dataset"], document["fusion"], document["n_videos"]) == ("toy", "concat", 60)
    assert document["run"] == str(folder)
    assert document["protocol"].startswith("random:")
    assert len(document["splits"]) == 4
    for split in document["splits"]:
        assert set(split) >= {"seed", "n_train", "n_val", "n_test"} | METRICS
        assert split["n_train"] + split["n_val"] + split["n_test"] == 60
    assert set(document["median"]) >= METRICS
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_median_is_over_the_splits(run: tuple[Path, dict[str, Any]]) -> None:
    _, document = run
    for name in METRICS:
        values = [split[name] for split in document["splits"]]
        assert document["median"][name] == pytest.approx(np.median(values))
        assert document["spread"][name] == pytest.approx(np.std(values, ddof=1))


def test_a_run_leaves_predictions_a_record_and_a_plot(run: tuple[Path, dict[str, Any]], data: Dataset) -> None:
    folder, _ = run
    assert {file.name for file in folder.iterdir()} == {"predictions.csv", "run.json", "scatter.png"}
    assert (folder / "scatter.png").read_bytes().startswith(b"\x89PNG")
    predictions, mos = load_predictions(folder), data.manifest.rows.set_index("id")["mos"]
    _, expected = splits(QUICK.protocol, data.manifest.rows)
    for split in expected:
        rows = predictions[predictions["split"] == split.seed]
        assert list(rows["id"]) == list(data.manifest.rows["id"])
        assert np.array_equal(rows["mos"], mos[rows["id"]])
        for part in ("train", "val", "test"):
            assert np.array_equal(np.flatnonzero(rows["part"] == part), getattr(split, part))
        assert np.array_equal(rows["predicted"], trained(data, split)[0])


def test_the_record_says_what_decided_the_figures(run: tuple[Path, dict[str, Any]], data: Dataset) -> None:
    record = records.read_json(run[0] / "run.json")
    assert record["specs"]["fusion"] == "concat"
    assert record["options"]["epochs"] == 20
    assert record["identity"]["manifest"] == data.manifest.digest
    assert record["identity"]["tracks"]["temporal"] == data.temporal.identity
    assert any(spec.startswith("concat:") and "hidden=" in spec for spec in record["identity"]["full_specs"])
    assert len(record["split_digests"]) == len(record["chosen_epochs"]) == 4
    assert record["versions"]["torch"]
    assert record["missing"] == []


def test_evaluating_a_saved_run_gives_what_training_returned(run: tuple[Path, dict[str, Any]]) -> None:
    folder, document = run
    assert evaluate_run(folder) == document


def test_evaluation_reads_the_saved_predictions(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    predictions = load_predictions(run[0])
    inverted = predictions.assign(predicted=-predictions["predicted"])
    (tmp_path / "predictions.csv").write_text(inverted.to_csv(index=False), encoding="utf-8")
    (tmp_path / "run.json").write_bytes((run[0] / "run.json").read_bytes())
    for split, before in zip(evaluate_run(tmp_path)["splits"], run[1]["splits"], strict=True):
        assert split["srcc"] == pytest.approx(-before["srcc"])


def test_figures_are_of_the_test_part_alone(run: tuple[Path, dict[str, Any]]) -> None:
    folder, document = run
    for seed, rows in load_predictions(folder).groupby("split"):
        test = rows[rows["part"] == "test"]
        (split,) = (split for split in document["splits"] if split["seed"] == seed)
        assert split["n_test"] == len(test) < 60
        expected = pd.Series(test["predicted"].to_numpy()).corr(pd.Series(test["mos"].to_numpy()), method="spearman")
        assert split["srcc"] == pytest.approx(expected, abs=1e-12)


def test_a_folder_that_is_no_run_is_refused_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no run.*vqa-fuse train"):
        evaluate_run(tmp_path)


def test_runs_are_named_by_all_that_decides_their_figures(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = replace(QUICK, epochs=2, protocol="random:n=1")
    changes: list[dict[str, Any]] = [
        {},
        {"epochs": 3},
        {"seed": 1},
        {"loss": "smooth_l1"},
        {"protocol": "random:n=2"},
        {"fusion": "dynamic"},
        {"fusion": "concat:hidden=32"},
        {"pooling": "avg:width=8"},
    ]
    named = [train_run(data, replace(short, **change))["run"] for change in changes]
    assert len(set(named)) == len(changes)
    assert all(Path(name).parent == Path("runs") and (tmp_path / name / "run.json").is_file() for name in named)
    assert Path(named[0]).name.startswith("toy-concat-")
    # what is written out in full is the same experiment
    assert train_run(data, replace(short, fusion="concat:hidden=64"))["run"] == named[0]
    # other labels are not
    assert train_run(relabelled(data, labels(data) + 1), short)["run"] not in named


def test_progress_goes_from_nothing_to_all(data: Dataset, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    train_run(data, replace(QUICK, epochs=2), tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    "wrong", [{"fusion": "sum"}, {"pooling": "max"}, {"temporal_encoder": "rnn"}, {"loss": "l3"}, {"protocol": "loo"}]
)
def test_a_wrong_option_leaves_no_run_behind(data: Dataset, wrong: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose from"):
        train_run(data, replace(QUICK, **wrong), tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_a_run_that_would_replace_a_file_is_refused_before_training(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UsageError, match="notes is a file, and a run is a folder"):
        train_run(data, QUICK, tmp_path / "notes", lambda done, total: pytest.fail("training began"))
    assert (tmp_path / "notes").read_text() == "mine"


# --- runs side by side ---


def test_comparing_gives_the_paired_difference(run: tuple[Path, dict[str, Any]], data: Dataset, tmp_path: Path) -> None:
    folder, first = run
    second = train_run(data, replace(QUICK, fusion="dynamic", epochs=6), tmp_path)
    document = compare_runs([folder, tmp_path])
    rows = {row["name"]: row for row in document["rows"]}
    assert document["dataset"] == "toy"
    assert document["n_videos"] == 60
    assert set(rows) == {"concat", "dynamic"}
    assert rows["concat"]["difference"] is rows["concat"]["interval"] is rows["concat"]["p_value"] is None
    paired = [b["srcc"] - a["srcc"] for a, b in zip(first["splits"], second["splits"], strict=True)]
    found = rows["dynamic"]
    assert found["difference"] == pytest.approx(np.median(paired), abs=1e-12)
    assert min(paired) <= found["interval"][0] <= found["difference"] <= found["interval"][1] <= max(paired)
    assert 0 < found["p_value"] <= 1
    for row, evaluated in ((rows["concat"], first), (found, second)):
        assert row["median"] == evaluated["median"]
        assert row["spread"] == evaluated["spread"]
    medians = [row["median"]["srcc"] for row in document["rows"]]
    assert medians == sorted(medians, reverse=True)


def test_the_baseline_is_the_first_run_that_was_named(
    run: tuple[Path, dict[str, Any]], data: Dataset, tmp_path: Path
) -> None:
    train_run(data, replace(QUICK, fusion="dynamic", epochs=6), tmp_path)
    there, back = (
        {row["name"]: row["difference"] for row in compare_runs(runs)["rows"]}
        for runs in ([run[0], tmp_path], [tmp_path, run[0]])
    )
    assert there["dynamic"] == pytest.approx(-back["concat"], abs=1e-12)
    assert back["dynamic"] is None


@pytest.mark.parametrize("change", [{"seed": 1}, {"protocol": "random:n=3"}, {"protocol": "random:n=4,train=0.5"}])
def test_runs_on_other_splits_are_not_compared(
    run: tuple[Path, dict[str, Any]], data: Dataset, change: dict[str, Any], tmp_path: Path
) -> None:
    train_run(data, replace(QUICK, epochs=2, **change), tmp_path)
    with pytest.raises(UsageError, match=r"differ in their splits.*same dataset, protocol and seed"):
        compare_runs([run[0], tmp_path])


def test_runs_on_other_datasets_are_not_compared(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    other = load_dataset(make_cache(tmp_path / "cache", name="other"), None, None, None)
    train_run(other, replace(QUICK, epochs=2), tmp_path / "run")
    with pytest.raises(UsageError, match=r"toy.*other"):
        compare_runs([run[0], tmp_path / "run"])


# --- from the cache ---


def test_the_cache_is_read_row_for_row(cache: Path, data: Dataset) -> None:
    assert list(data.manifest.rows["id"]) == list(manifest_of("toy", 12, 5).rows["id"])
    torch.testing.assert_close(data.mos.double(), torch.from_numpy(labels(data)), rtol=1e-6, atol=0)
    assert data.missing == []
    for features, kind in ((data.spatial, "spatial"), (data.temporal, "temporal")):
        assert features.identity["kind"] == kind
        with cached.open_track(features.path) as track:
            for row in (0, 4, 59):
                stored = track.read(data.manifest.rows["id"][row]).arrays
                assert set(stored) == set(features.arrays)
                for name, array in stored.items():
                    assert int(features.mask[row].sum()) == len(array)
                    np.testing.assert_array_equal(features.arrays[name][row, : len(array)].numpy(), array)
    assert list(data.spatial.levels()) == list(LEVELS)
    assert set(data.spatial.mask.sum(dim=1).tolist()) == {FRAMES - 1, FRAMES}


def test_videos_without_features_are_named_and_in_no_figure(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 12, 5)
    records.save_manifest(tmp_path, manifest)
    first, second = manifest.rows["id"][3], manifest.rows["id"][17]
    write_features(tmp_path, manifest, "spatial", without=(first,))
    write_features(tmp_path, manifest, "temporal", without=(second,))
    data = load_dataset(tmp_path, None, None, None)
    document = train_run(data, replace(QUICK, epochs=2), tmp_path / "run")
    assert data.missing == document["missing"] == [first, second]
    assert document["n_videos"] == 58
    assert not {first, second} & set(load_predictions(tmp_path / "run")["id"])
    assert all(split["n_train"] + split["n_val"] + split["n_test"] == 58 for split in document["splits"])
    # the others keep their own features and labels
    with cached.open_track(data.spatial.path) as track:
        for row in (3, 16, 57):
            stored = track.read(data.manifest.rows["id"][row]).arrays["c1/mean"]
            np.testing.assert_array_equal(data.spatial.arrays["c1/mean"][row, : len(stored)].numpy(), stored)


def test_tracks_without_a_video_in_common_are_refused(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    records.save_manifest(tmp_path, manifest)
    ids = tuple(manifest.rows["id"])
    write_features(tmp_path, manifest, "spatial", without=ids[:3])
    write_features(tmp_path, manifest, "temporal", without=ids[3:])
    with pytest.raises(UsageError, match=r"no video of toy is in both.*vqa-extract"):
        load_dataset(tmp_path, None, None, None)


def test_an_empty_cache_says_what_fills_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no dataset; run vqa-extract"):
        load_dataset(tmp_path / "nothing", None, None, None)


def test_a_dataset_that_is_not_there_lists_those_that_are(cache: Path) -> None:
    with pytest.raises(UsageError, match=r"no dataset 'konvid'; it holds toy"):
        load_dataset(cache, "konvid", None, None)


def test_a_dataset_may_be_named_by_the_file_it_was_extracted_from(cache: Path) -> None:
    for wanted in ("toy", "toy.csv", "somewhere/toy.toml"):
        assert load_dataset(cache, wanted, None, None).manifest.name == "toy"


def test_with_two_datasets_the_choice_is_yours(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_cache(tmp_path, name, contents=3, versions=2)
    with pytest.raises(UsageError, match=r"--dataset: one, two"):
        load_dataset(tmp_path, None, None, None)
    assert load_dataset(tmp_path, "two", None, None).manifest.name == "two"


def test_with_two_spatial_tracks_the_choice_is_yours(tmp_path: Path) -> None:
    make_cache(tmp_path, contents=3, versions=2)
    other = write_features(tmp_path, manifest_of("toy", 3, 2), "spatial", "othernet")
    with pytest.raises(UsageError, match="several spatial tracks of toy") as caught:
        load_dataset(tmp_path, None, None, None)
    assert "--spatial spatialnet-" in str(caught.value)
    assert f"--spatial {other.stem}" in str(caught.value)
    for wanted in ("othernet", other.stem):
        assert load_dataset(tmp_path, None, wanted, None).spatial.path == other
    with pytest.raises(UsageError, match=r"no spatial track of toy is called 'nonet'(.|\n)*othernet"):
        load_dataset(tmp_path, None, "nonet", None)


def test_without_a_temporal_track_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    records.save_manifest(tmp_path, manifest)
    write_features(tmp_path, manifest, "spatial")
    with pytest.raises(UsageError, match=r"no temporal track; run vqa-extract with --temporal"):
        load_dataset(tmp_path, None, None, None)


def test_tracks_of_different_samplers_are_refused(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    records.save_manifest(tmp_path, manifest)
    write_features(tmp_path, manifest, "spatial", sampler="uniform:frames=4")
    write_features(tmp_path, manifest, "temporal", sampler="uniform:frames=8")
    with pytest.raises(UsageError, match="sampled differently"):
        load_dataset(tmp_path, None, None, None)


def test_a_track_without_videos_is_no_choice(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    records.save_manifest(tmp_path, manifest)
    kept = write_features(tmp_path, manifest, "spatial")
    write_features(tmp_path, manifest, "temporal")
    write_features(tmp_path, manifest, "spatial", "never", without=tuple(manifest.rows["id"]))
    assert load_dataset(tmp_path, None, None, None).spatial.path == kept


def test_a_manifest_that_is_damaged_is_told(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    records.save_manifest(tmp_path, manifest)
    (tmp_path / "toy" / "manifest.json").write_text('{"name": "toy"')
    with pytest.raises(UsageError, match=r"manifest\.json is damaged .*; remove it and run vqa-extract again"):
        load_dataset(tmp_path, None, None, None)
