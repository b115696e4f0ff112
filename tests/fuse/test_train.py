"""Training on a small cache with known labels learns the quality, leaks nothing from the test
part, and writes the documented files.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fitting import fit
from forging import change_record
from toy_cache import labels, make_cache, make_dataset, relabelled, reworked

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning import ensemble
from vqa_twostage.fuse.options import Resources, TrainOptions
from vqa_twostage.fuse.results import Evaluation
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.splits import Split, splits
from vqa_twostage.fuse.train import Plan, train, train_run
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(
    fusion="concat", epochs=20, members=2, protocol="random:n=4,train=0.5,val=0.15"
)
TWO_SPLITS = "random:n=2,train=0.5,val=0.15"
# without dropout a head can memorise its training labels, whatever they are
MEMORISING = replace(QUICK, fusion="dynamic:dropout=0", pooling="avg:level_dropout=0", members=1)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(toy_data: Dataset) -> Dataset:
    return toy_data


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    folder = tmp_path_factory.mktemp("runs") / "one"
    return folder, train_run(data, QUICK, folder)


@pytest.fixture(scope="module")
def usual(data: Dataset) -> tuple[np.ndarray, int]:
    """The result of the first split, for tests that change something and compare."""
    return trained(data, first_split(data))


def trained(data: Dataset, split: Split, options: TrainOptions = QUICK) -> tuple[np.ndarray, int]:
    fitted = fit(data, split, options)
    return fitted.predicted, fitted.epoch


def first_split(data: Dataset) -> Split:
    return splits("random:n=1", data.manifest.rows)[1][0]


# --- learning and leakage ---


@pytest.mark.long
@pytest.mark.parametrize("fusion", ["concat", "dynamic"])
def test_trained_head_predicts_the_quality_of_unseen_contents(
    data: Dataset, fusion: str, tmp_path: Path
) -> None:
    document = train_run(
        data, replace(QUICK, fusion=fusion, epochs=40, members=1, protocol=TWO_SPLITS), tmp_path
    )
    assert document.median.srcc > 0.8
    assert document.median.plcc > 0.8
    # far below the RMSE of 0.6 of a constant prediction
    assert document.median.rmse < 0.4


CONTENTS, VERSIONS, SHUFFLES = 24, 10, 2
# Bound on the mean SRCC over splits that together test every video: for random labels its standard
# error is at least 1 / sqrt(videos - 1) per shuffle, however much the splits overlap. This is three
# standard errors:
CHANCE_LEVEL = 3 / math.sqrt(SHUFFLES * (CONTENTS * VERSIONS - 1))


@pytest.fixture(scope="module")
def shuffled() -> list[Dataset]:
    """Two datasets of 240 videos with randomly permuted labels."""
    data = make_dataset("toy", CONTENTS, VERSIONS)
    return [
        relabelled(data, np.random.default_rng(seed).permutation(labels(data)))
        for seed in range(SHUFFLES)
    ]


@pytest.mark.long
def test_shuffled_labels_give_an_srcc_near_zero(shuffled: list[Dataset], tmp_path: Path) -> None:
    options = replace(MEMORISING, protocol="kfold:k=5")
    scores: list[float | None] = []
    for number, data in enumerate(shuffled):
        document = train_run(data, options, tmp_path / str(number))
        scores += [split.metrics.srcc for split in document.splits]
    assert len(scores) == 5 * SHUFFLES
    assert abs(np.mean(np.array(scores, float))) < CHANCE_LEVEL < 0.15


@pytest.mark.long
def test_leaked_test_labels_give_a_high_srcc_on_shuffled_labels(
    shuffled: list[Dataset],
) -> None:
    """The test above can fail: the same heads on the same data, with two kinds of leak of the test
    labels.
    """
    trained_on, chosen_by_too = [], []
    for data in shuffled:
        mos = labels(data)
        for split in splits("random:n=1", data.manifest.rows)[1]:
            train_and_test = np.concatenate([split.train, split.test])
            for leaky, scores in (
                (Split(split.seed, train_and_test, split.val, split.test), trained_on),
                (Split(split.seed, train_and_test, split.test, split.test), chosen_by_too),
            ):
                predicted, _ = trained(data, leaky, MEMORISING)
                scores.append(metrics.srcc(predicted[split.test], mos[split.test]))
    assert np.mean(trained_on) > 2 * CHANCE_LEVEL
    assert np.mean(chosen_by_too) > 0.8


def test_labels_of_the_test_part_have_no_influence(
    data: Dataset, usual: tuple[np.ndarray, int]
) -> None:
    split, mos = first_split(data), labels(data)
    mos[split.test] = 100 - 20 * mos[split.test]
    (predicted, epoch), (with_others, other_epoch) = usual, trained(relabelled(data, mos), split)
    assert np.array_equal(predicted, with_others)
    assert epoch == other_epoch


def test_features_of_the_test_part_do_not_change_scores_of_other_videos(
    data: Dataset, usual: tuple[np.ndarray, int]
) -> None:
    split = first_split(data)

    def scaled(rows: np.ndarray) -> Dataset:
        def change(array: np.ndarray) -> np.ndarray:
            array[rows] = 3 * array[rows] + 7
            return array

        return reworked(data, change)

    others = np.concatenate([split.train, split.val])
    (predicted, epoch), (moved, moved_epoch) = usual, trained(scaled(split.test), split)
    assert np.array_equal(predicted[others], moved[others])
    assert not np.array_equal(predicted[split.test], moved[split.test])
    assert epoch == moved_epoch
    # features of the training part do
    assert not np.array_equal(predicted[others], trained(scaled(split.train[:5]), split)[0][others])


@pytest.mark.long
def test_validation_part_joins_the_training_data_of_the_model_that_is_tested(
    data: Dataset, usual: tuple[np.ndarray, int]
) -> None:
    split = first_split(data)
    moved = reworked(
        data,
        lambda array: np.where(np.isin(np.arange(len(array)), split.val)[:, None, None], 1, array),
    )
    assert not np.array_equal(usual[0][split.test], trained(moved, split)[0][split.test])


def test_validation_videos_are_predicted_by_models_not_trained_on_them(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    predicted, _ = trained(data, split, replace(MEMORISING, epochs=60))
    # the training part is memorised nearly exactly, the validation part is not
    errors = np.abs(predicted - mos)
    assert errors[split.train].mean() < 0.5 * errors[split.val].mean()


def test_networks_choose_nothing_by_the_labels_of_the_validation_part(data: Dataset) -> None:
    """They are used as they are after the last epoch."""
    split, mos = first_split(data), labels(data)
    options = replace(QUICK, epochs=22, members=1, average_with="none")
    mos_inverted = mos.copy()
    mos_inverted[split.val] *= -1
    (usual, epoch), (inverted, other_epoch) = (
        trained(relabelled(data, each), split, options) for each in (mos, mos_inverted)
    )
    assert epoch == other_epoch == 22
    assert np.array_equal(usual[split.val], inverted[split.val])
    assert not np.array_equal(usual[split.test], inverted[split.test])


def test_members_differ_in_their_seeds_and_are_averaged(data: Dataset) -> None:
    split = first_split(data)
    one, two = (
        trained(data, split, replace(QUICK, members=members, epochs=1))[0] for members in (1, 2)
    )
    other = trained(
        data,
        Split(split.seed, split.train, split.val, split.test),
        replace(QUICK, members=1, epochs=1),
    )[0]
    assert np.array_equal(one, other)
    assert not np.array_equal(one, two)


@pytest.mark.long
def test_oracle_epoch_is_reported_separately_and_changes_no_result(
    run: tuple[Path, Evaluation], data: Dataset, tmp_path: Path
) -> None:
    _, honest = run
    oracle = train_run(data, replace(QUICK, oracle_epoch=True), tmp_path / "oracle")
    assert honest.oracle is None
    assert oracle.splits == honest.splits
    assert oracle.oracle is not None and oracle.oracle.srcc >= honest.median.srcc
    assert "not a result" in oracle.oracle.label
    oracle_srcc = Run(tmp_path / "oracle").record().oracle_srcc
    assert oracle_srcc is not None
    assert all(
        best >= split.metrics.srcc - 1e-12
        for best, split in zip(oracle_srcc, honest.splits, strict=True)
    )


@pytest.mark.long
def test_training_part_larger_than_a_batch_is_trained_in_several_batches(
    data: Dataset, usual: tuple[np.ndarray, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    split, mos = first_split(data), labels(data)
    monkeypatch.setattr(ensemble, "RECIPE", replace(ensemble.RECIPE, batch=15))
    (predicted, _), again = (trained(data, split) for _ in range(2))
    assert np.array_equal(predicted, again[0])
    assert metrics.srcc(predicted[split.test], mos[split.test]) > 0.7
    assert not np.array_equal(predicted, usual[0])


@pytest.mark.long
def test_parallel_splits_give_the_same_predictions_to_the_last_bit(
    data: Dataset, tmp_path: Path
) -> None:
    short = replace(QUICK, epochs=4, protocol="random:n=2")
    train_run(data, short, tmp_path / "one", workers=1)
    train_run(data, short, tmp_path / "two", workers=2)
    one, two = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("one", "two"))
    assert one == two


def test_workers_beyond_the_number_of_splits_prepare_features_and_change_no_bit(
    data: Dataset, tmp_path: Path
) -> None:
    options = replace(QUICK, epochs=2, protocol="random:n=1")
    for workers in (1, 3):
        train_run(data, options, tmp_path / str(workers), workers=workers)
    for name in ("predictions.csv", "model.safetensors"):
        one, three = ((tmp_path / workers / name).read_bytes() for workers in ("1", "3"))
        assert one == three, name


def test_training_twice_gives_the_same_predictions_to_the_last_bit(
    data: Dataset, tmp_path: Path
) -> None:
    options = replace(QUICK, fusion="dynamic", epochs=8, protocol="random:n=2")
    torch.manual_seed(1)
    first = train_run(data, options, tmp_path / "first")
    torch.manual_seed(2)
    second = train_run(data, options, tmp_path / "second")
    tables = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("first", "second")]
    assert tables[0] == tables[1]
    assert replace(first, run=second.run) == second


def test_training_does_not_change_the_random_state_of_its_caller(data: Dataset) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    trained(data, first_split(data), replace(QUICK, epochs=2))
    Plan.of(data, QUICK)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.long
def test_seed_of_a_run_is_the_seed_of_its_first_split(
    run: tuple[Path, Evaluation], data: Dataset, tmp_path: Path
) -> None:
    (_, zero), one = run, train_run(data, replace(QUICK, seed=1), tmp_path)
    assert [split.seed for split in zero.splits] == [0, 1, 2, 3]
    assert [split.seed for split in one.splits] == [1, 2, 3, 4]
    assert zero.splits[1:] == one.splits[:3]


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_training_works_for_any_number_of_epochs(data: Dataset, epochs: int) -> None:
    predicted, epoch = trained(data, first_split(data), replace(QUICK, epochs=epochs))
    assert np.isfinite(predicted).all()
    assert epoch == epochs


def test_scores_are_on_the_scale_of_the_labels(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    options = replace(QUICK, loss="smooth_l1", epochs=40)
    small, large = (
        trained(data, split, options)[0],
        trained(relabelled(data, 20 * mos), split, options)[0],
    )
    assert abs(small[split.train].mean() - mos[split.train].mean()) < 0.3
    np.testing.assert_allclose(large, 20 * small, rtol=1e-3)


def test_constant_training_labels_are_predicted_exactly(data: Dataset) -> None:
    split, mos = first_split(data), labels(data)
    mos[split.train] = mos[split.val] = 2.5
    predicted, _ = trained(relabelled(data, mos), split)
    np.testing.assert_allclose(predicted, 2.5, atol=1e-4)


# --- the contents of a run ---

KEYS = {"dataset", "fusion", "protocol", "n_videos", "splits", "median", "run"}
METRICS = {"srcc", "plcc", "krcc", "rmse"}


def test_json_document_of_a_run_has_the_documented_keys(run: tuple[Path, Evaluation]) -> None:
    folder, document = run[0], run[1].to_json()
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


def test_median_and_standard_deviation_are_over_the_splits(run: tuple[Path, Evaluation]) -> None:
    document = run[1].to_json()
    for name in METRICS:
        values = [split[name] for split in document["splits"]]
        assert document["median"][name] == pytest.approx(np.median(values))
        assert document["spread"][name] == pytest.approx(np.std(values, ddof=1))


def test_run_holds_predictions_record_model_and_plot(
    run: tuple[Path, Evaluation], data: Dataset
) -> None:
    folder, _ = run
    files = {
        "predictions.csv",
        "run.json",
        "scatter.png",
        "model.safetensors",
        "metrics.md",
        "learning.csv",
        "gates.csv",  # what each of its tracks decided
    }
    assert {file.name for file in folder.iterdir()} == files
    assert (folder / "scatter.png").read_bytes().startswith(b"\x89PNG")
    predictions, mos = Run(folder).predictions(), data.manifest.rows.set_index("id")["mos"]
    _, expected = splits(QUICK.protocol, data.manifest.rows)
    for split in expected:
        rows = predictions[predictions["split"] == split.seed]
        assert list(rows["id"]) == list(data.manifest.rows["id"])
        assert np.array_equal(rows["mos"], mos[rows["id"]])
        for part in ("train", "val", "test"):
            assert np.array_equal(np.flatnonzero(rows["part"] == part), getattr(split, part))
        assert np.array_equal(rows["predicted"], trained(data, split)[0])


def test_record_holds_everything_that_determines_the_metrics(
    run: tuple[Path, Evaluation], data: Dataset
) -> None:
    record = Run(run[0]).record()
    assert record.specs.fusion == "concat"
    assert record.options == QUICK
    assert record.identity.manifest == data.manifest.digest
    assert record.identity.temporal == data.identities.temporal
    assert any(
        spec.startswith("concat:") and "hidden=" in spec for spec in record.identity.full_specs
    )
    assert len(record.identity.splits) == len(record.chosen_epochs) == 4
    assert record.versions["torch"]
    assert record.missing == []


def test_evaluation_of_a_saved_run_equals_the_result_of_training(
    run: tuple[Path, Evaluation],
) -> None:
    folder, document = run
    assert evaluate(folder) == document


def test_evaluation_reads_the_saved_predictions(
    run: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    predictions = Run(run[0]).predictions()
    inverted = predictions.assign(predicted=-predictions["predicted"])
    (tmp_path / "predictions.csv").write_text(inverted.to_csv(index=False), encoding="utf-8")
    (tmp_path / "run.json").write_bytes((run[0] / "run.json").read_bytes())
    change_record(tmp_path)
    for split, before in zip(evaluate(tmp_path).splits, run[1].splits, strict=True):
        assert split.metrics.srcc == pytest.approx(-before.metrics.srcc)


def test_metrics_are_of_the_test_part_alone(run: tuple[Path, Evaluation]) -> None:
    folder, document = run
    for seed, rows in Run(folder).predictions().groupby("split"):
        test = rows[rows["part"] == "test"]
        (split,) = (split for split in document.splits if split.seed == seed)
        assert split.n_test == len(test) < 60
        expected = pd.Series(test["predicted"].to_numpy()).corr(
            pd.Series(test["mos"].to_numpy()), method="spearman"
        )
        assert split.metrics.srcc == pytest.approx(expected, abs=1e-12)


def test_folder_that_is_not_a_run_is_refused_with_the_command_that_creates_one(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"is not a run.*vqa-fuse train"):
        evaluate(tmp_path)


@pytest.mark.long
def test_default_run_name_depends_on_everything_that_determines_the_metrics(
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
        {"members": 1},
        {"temporal_pooling": "avg:width=8"},
        {"oracle_epoch": True},
        {"baseline": "ridge"},
    ]
    names = [Plan.of(data, replace(short, **change)).name for change in changes]
    assert len(set(names)) == len(changes)
    assert names[0].startswith("toy-concat-")
    # an explicit default value is the same experiment
    assert Plan.of(data, replace(short, fusion="concat:hidden=64")).name == names[0]
    # other labels are another experiment
    assert Plan.of(relabelled(data, labels(data) + 1), short).name not in names
    # the default folder of a run has this name
    assert train_run(data, short).run == Path("runs") / names[0]
    assert (tmp_path / "runs" / names[0] / "run.json").is_file()


def test_progress_is_reported_from_zero_to_the_total(data: Dataset, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    train_run(
        data, replace(QUICK, epochs=2), tmp_path, lambda done, total: progress.append((done, total))
    )
    assert progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fusion": "sum"},
        {"pooling": "max"},
        {"temporal_encoder": "rnn"},
        {"loss": "l3"},
        {"protocol": "loo"},
    ],
)
def test_invalid_option_leaves_no_run_behind(
    data: Dataset, wrong: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="choose from"):
        train_run(data, replace(QUICK, **wrong), tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_run_path_that_is_a_file_is_refused_before_training(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UsageError, match="notes is a file, and a run is a folder"):
        train_run(
            data, QUICK, tmp_path / "notes", lambda done, total: pytest.fail("training began")
        )
    assert (tmp_path / "notes").read_text() == "mine"


# --- options ---


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"members": 0}, "members must be a whole number of at least 1, not 0"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, or None, not 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"members": True}, "members must be a whole number of at least 1, not True"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_in_one_message(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        TrainOptions(**wrong)


def test_options_of_a_wrong_type_are_refused_in_one_message() -> None:
    """Run in a separate process, because jaxtyping would check the types first in this one."""
    code = """
from pathlib import Path
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline.errors import UsageError
for wrong in (
    {"epochs": 2.5},
    {"fusion": Path("concat")},
    {"temporal": 3},
    {"spatial": ["resnet", 3]},
    {"oracle_epoch": 1},
):
    try:
        TrainOptions(**wrong)
    except UsageError as error:
        print(error)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines() == [
        "epochs must be a whole number of at least 1, or None, not 2.5",
        f"fusion must be a string, not {Path('concat')!r}",
        "temporal must be a name, several, or None, not 3",
        "spatial must be a name, several, or None, not ('resnet', 3)",
        "oracle_epoch must be True or False, not 1",
    ]


@pytest.mark.parametrize("stream", ["spatial", "temporal"])
def test_tracks_may_be_one_name_or_several(stream: str) -> None:
    for given, kept in (
        ("resnet", ("resnet",)),
        (["resnet", "vit"], ("resnet", "vit")),
        (("all",), ("all",)),
        ([], None),
        (None, None),
    ):
        options = TrainOptions(**{stream: given})
        assert getattr(options, stream) == kept
        assert TrainOptions.from_mapping({stream: given}, "preset") == options


def test_unknown_key_in_an_options_file_is_refused_with_the_name_of_the_file() -> None:
    with pytest.raises(UsageError, match=r"preset best: unknown option epoch; options are fusion,"):
        TrainOptions.from_mapping({"epoch": 3}, "preset best")
    with pytest.raises(UsageError, match=r"preset best: epochs must be"):
        TrainOptions.from_mapping({"epochs": 0}, "preset best")
    assert TrainOptions.from_mapping({"epochs": 3}, "preset") == TrainOptions(epochs=3)


def test_train_takes_paths_as_strings(toy_cache: Path, tmp_path: Path) -> None:
    options = replace(QUICK, epochs=2, protocol="random:n=1")
    result = train(str(toy_cache), options, run=str(tmp_path / "run"))
    assert result.run == tmp_path / "run" and Run(result.run).complete


@pytest.mark.long
def test_training_from_blocks_of_the_cache_gives_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path / "cache")
    monkeypatch.setattr("vqa_twostage.fuse.data.BLOCK_BYTES", 1000)
    results = [
        train(cache, QUICK, run=tmp_path / name, resources=Resources(max_ram=max_ram))
        for name, max_ram in (("memory", None), ("blocks", 0))
    ]
    first, second = (Run(result.run).predictions() for result in results)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
