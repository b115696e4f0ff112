"""Comparisons and ablations use the same splits and paired statistics, and drop no result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fitting import fit
from forging import change_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_cache import labels, make_dataset, relabelled

from vqa_twostage.fuse.ablate import ablate, expand, variants
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.paired import corrected_test
from vqa_twostage.fuse.reporting.formatting import PAIRED_TITLES, TUNED_TITLES, paired_cells
from vqa_twostage.fuse.reporting.markdown import of_comparison
from vqa_twostage.fuse.reporting.terminal import print_comparison
from vqa_twostage.fuse.reporting.terminal_width import print_table
from vqa_twostage.fuse.results import Evaluation
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.splits import splits
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import unsealed

QUICK = TrainOptions(fusion="concat", epochs=6, members=1, protocol="random:n=4,train=0.5,val=0.15")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(toy_data: Dataset) -> Dataset:
    return toy_data


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    folder = tmp_path_factory.mktemp("runs") / "one"
    return folder, train_run(data, QUICK, folder)


@pytest.fixture(scope="module")
def dynamic(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    folder = tmp_path_factory.mktemp("runs") / "dynamic"
    return folder, train_run(data, replace(QUICK, fusion="dynamic", epochs=4), folder)


def test_comparison_gives_the_paired_difference(
    run: tuple[Path, Evaluation], dynamic: tuple[Path, Evaluation]
) -> None:
    (folder, first), (other, second) = run, dynamic
    document = compare([folder, other]).to_json()
    rows = {row["name"]: row for row in document["rows"]}
    assert document["dataset"] == "toy"
    assert document["n_videos"] == 60
    assert set(rows) == {"concat", "dynamic"}
    assert (
        rows["concat"]["difference"]
        is rows["concat"]["interval"]
        is rows["concat"]["p_value"]
        is None
    )
    paired = [
        b.metrics.srcc - a.metrics.srcc  # type: ignore[operator]
        for a, b in zip(first.splits, second.splits, strict=True)
    ]
    dynamic_row = rows["dynamic"]
    assert dynamic_row["difference"] == pytest.approx(np.median(paired), abs=1e-12)
    assert (
        min(paired)
        <= dynamic_row["interval"][0]
        <= dynamic_row["difference"]
        <= dynamic_row["interval"][1]
        <= max(paired)
    )
    assert 0 < dynamic_row["p_value"] <= 1
    # the tested models were fitted on training and validation together
    ratio = sum(split.n_test for split in first.splits) / sum(
        split.n_train + split.n_val for split in first.splits
    )
    corrected = corrected_test(np.array(paired), ratio)
    assert corrected is not None
    assert dynamic_row["mean_difference"] == pytest.approx(corrected.difference)
    assert dynamic_row["corrected_interval"] == pytest.approx(list(corrected.interval))
    assert dynamic_row["corrected_p_value"] == pytest.approx(corrected.p_value)
    assert rows["concat"]["corrected_p_value"] is None
    assert document["which_p_value"].startswith("believe the corrected p")
    for row, evaluated in ((rows["concat"], first), (dynamic_row, second)):
        assert row["median"] == evaluated.median.to_json()
        assert row["spread"] == evaluated.std.to_json()
    medians = [row["median"]["srcc"] for row in document["rows"]]
    assert medians == sorted(medians, reverse=True)


def test_comparison_baseline_is_the_first_run(
    run: tuple[Path, Evaluation], dynamic: tuple[Path, Evaluation]
) -> None:
    forward_rows, reversed_rows = (
        {row["name"]: row["difference"] for row in compare(runs).to_json()["rows"]}
        for runs in ([run[0], dynamic[0]], [dynamic[0], run[0]])
    )
    assert forward_rows["dynamic"] == pytest.approx(-reversed_rows["concat"], abs=1e-12)
    assert reversed_rows["dynamic"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"protocol": "random:n=3,train=0.5,val=0.15"},
        {"protocol": "random:n=4,train=0.4,val=0.15"},
    ],
)
def test_runs_on_other_splits_are_not_compared(
    run: tuple[Path, Evaluation], data: Dataset, change: dict[str, Any], tmp_path: Path
) -> None:
    train_run(data, replace(QUICK, epochs=2, **change), tmp_path)
    with pytest.raises(
        UsageError, match=r"differ in their splits.*same dataset, protocol and seed"
    ):
        compare([run[0], tmp_path])


def test_runs_on_other_datasets_are_not_compared(
    run: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    train_run(make_dataset("other", 12, 5), replace(QUICK, epochs=2), tmp_path)
    with pytest.raises(UsageError, match=r"toy.*other"):
        compare([run[0], tmp_path])


# --- ablations ---


@pytest.fixture(scope="module")
def ablation(
    data: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "ablation"
    options = variants(
        QUICK, ["concat", "gated"], ["avg", "fpn"], ["mean", "attention"], ["ridge", "svr"]
    )
    assert len(options) == 2 * 2 * 2 + 2
    return folder, ablate(data, options, folder).to_json()


@pytest.mark.long
def test_ablation_is_sorted_and_names_variants_by_their_non_default_options(
    ablation: tuple[Path, dict[str, Any]],
) -> None:
    _, document = ablation
    names = [row["name"] for row in document["rows"]]
    assert set(names) == {
        "concat",
        "gated",
        "concat + attention",
        "gated + attention",
        "ridge",
        "svr",
    }
    medians = [row["median"]["srcc"] for row in document["rows"]]
    assert medians == sorted(medians, reverse=True)
    assert document["reference"] == "ridge"
    for row in document["rows"]:
        assert set(row) >= {
            "fusion",
            "pooling",
            "temporal",
            "median",
            "spread",
            "difference",
            "interval",
            "p_value",
        }
        assert (row["difference"] is None) == (row["name"] == "ridge")
    assert json.loads(json.dumps(document, allow_nan=False)) == document


@pytest.mark.long
def test_variants_without_the_required_features_are_listed_with_the_reason(
    ablation: tuple[Path, dict[str, Any]],
) -> None:
    impossible = ablation[1]["impossible"]
    assert len(impossible) == 4
    assert all("fpn" in name and "grid" in reason for name, reason in impossible.items())


@pytest.mark.long
def test_every_row_of_an_ablation_is_a_run_on_the_same_splits(
    ablation: tuple[Path, dict[str, Any]],
) -> None:
    _, document = ablation
    runs = [Path(row["run"]) for row in document["rows"]]
    compared = compare(runs, document["baseline"]).to_json()
    for row, again in zip(document["rows"], compared["rows"], strict=True):
        assert {**again, "seconds": row["seconds"]} == row
        assert evaluate(row["run"]).median.to_json() == row["median"]


@pytest.mark.long
def test_ablation_tables_in_all_formats_are_equal(ablation: tuple[Path, dict[str, Any]]) -> None:
    folder, document = ablation
    assert unsealed(json.loads((folder / "ablation.json").read_text())) == document
    table = pd.read_csv(folder / "ablation.csv")
    assert list(table["name"]) == [row["name"] for row in document["rows"]]
    assert table["srcc"].to_numpy() == pytest.approx(
        [row["median"]["srcc"] for row in document["rows"]]
    )
    text = (folder / "ablation.md").read_text()
    assert "4 splits of N = 60 videos" in text
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(
        table["name"]
    )


@pytest.mark.long
def test_ablation_resumes_after_an_interruption(
    ablation: tuple[Path, dict[str, Any]], data: Dataset
) -> None:
    folder, document = ablation
    best = Path(document["rows"][0]["run"])
    (best / "run.json").unlink()  # as if interrupted before its record
    progress: list[tuple[int, int]] = []
    chosen = variants(
        QUICK, ["concat", "gated"], ["avg", "fpn"], ["mean", "attention"], ["ridge", "svr"]
    )
    again = ablate(
        data, chosen, folder, on_progress=lambda done, total: progress.append((done, total))
    ).to_json()
    assert progress == [(20, 24), (21, 24), (22, 24), (23, 24), (24, 24)]
    for row in (*again["rows"], *document["rows"]):
        row.pop("seconds")
    assert again == document


def test_unknown_reference_of_an_ablation_is_refused_with_the_valid_choices(
    data: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=r"no variant is called 'svr'; choose --reference from concat, ridge"
    ):
        ablate(data, variants(QUICK, ["concat"], ["avg"], ["mean"], ["ridge"]), tmp_path, "svr")


@pytest.mark.long
def test_ridge_and_svr_baselines_learn_the_quality(ablation: tuple[Path, dict[str, Any]]) -> None:
    scores = {row["name"]: row["median"]["srcc"] for row in ablation[1]["rows"]}
    assert scores["ridge"] > 0.6 and scores["svr"] > 0.6


def test_baselines_do_not_depend_on_the_labels_of_the_test_part(data: Dataset) -> None:
    (split,) = splits("random:n=1", data.manifest.rows)[1]
    mos = labels(data)
    mos[split.test] = 9 - mos[split.test]
    for name in expand(["all"], "fuse.baselines"):
        options = replace(QUICK, baseline=name)
        one, other = fit(data, split, options), fit(relabelled(data, mos), split, options)
        assert np.array_equal(one.predicted, other.predicted)


@pytest.mark.long
def test_every_table_shows_first_what_is_to_be_believed(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A narrow window cuts off the last columns."""
    made = variants(QUICK, [], [], [], ["ridge", "svr"])
    comparison = ablate(data, made, tmp_path).comparison
    print_comparison(comparison)
    tables = [capsys.readouterr().out, of_comparison(comparison), " ".join(TUNED_TITLES)]
    for table in tables:
        titles = next(line for line in table.splitlines() if "[95 %, corrected]" in line)
        names = ("[95 %, corrected]", "corrected p", "wins", "Wilcoxon p")
        places = [titles.index(name) for name in names]
        assert places == sorted(places)
    shown = [row.paired for row in comparison.rows if row.paired is not None]
    assert shown and shown[0].corrected is not None
    assert paired_cells(shown[0])[0].startswith(f"{shown[0].corrected.difference:+.4f} [")
    assert paired_cells(shown[0])[-2].startswith(f"{shown[0].difference:+.4f} [")
    assert paired_cells(None) == [""] * (1 + len(PAIRED_TITLES))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(1, 400),
    columns=st.integers(1, 12),
    window=st.sampled_from([None, "20", "80", "400"]),
)
def test_no_figure_of_a_table_is_cut_off_whatever_names_and_windows(
    length: int, columns: int, window: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        if window is not None:
            patch.setenv("COLUMNS", window)
        figures = [f"+0.{number:04d} [-0.0000, +0.9999]" for number in range(columns)]
        print_table(
            ["", *(f"title {number}" for number in range(columns))], [["x" * length, *figures]]
        )
    shown = capsys.readouterr().out
    assert all(figure in shown for figure in figures)
    # in each of the tables that a narrow window is given
    assert shown.count("x") in range(length, length * (columns + 1), length)
    assert "…" not in shown


@pytest.mark.long
def test_splits_with_undefined_correlation_are_counted_and_reported(
    data: Dataset, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        train_run(data, replace(QUICK, epochs=2), tmp_path / name)
    table = Run(tmp_path / "two").predictions()
    table.loc[table["split"] == 1, "predicted"] = 3.0
    Run(tmp_path / "two").write_predictions(table)
    change_record(tmp_path / "two")
    document = compare([tmp_path / "one", tmp_path / "two"]).to_json()
    rows = {row["run"]: row for row in document["rows"]}
    assert rows[str(tmp_path / "one")]["undefined"] == 0
    row_of_two = rows[str(tmp_path / "two")]
    assert (row_of_two["undefined"], row_of_two["pairs"], row_of_two["wins"]) == (1, 3, 0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("average_with", "others", "said"),
    [("ridge", [], True), ("none", [], False), ("none", ["ridge"], True)],
)
def test_table_says_what_the_rows_of_heads_are_averaged_with(
    average_with: str, others: list[str], said: bool, data: Dataset, tmp_path: Path
) -> None:
    """Else the regressors' merit passes for the head's."""
    runs = []
    for number, averaged in enumerate([average_with, *others]):
        options = replace(QUICK, average_with=averaged)
        train_run(data, options, tmp_path / str(number))
        runs.append(tmp_path / str(number))
    train_run(data, replace(QUICK, baseline="ridge"), tmp_path / "baseline")
    notes = compare([*runs, tmp_path / "baseline"]).notes
    assert any("(--average-with ridge)" in note for note in notes) == said
    assert any("networks by themselves" in note for note in notes) == said
    assert any(note.startswith("a row called alone") for note in notes) == bool(others)


@pytest.mark.long
def test_tables_of_an_earlier_ablation_stay_unless_the_new_ones_hold_all_of_them(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def rows(*baselines: str, reference: str) -> str:
        ablate(data, variants(QUICK, [], [], [], list(baselines)), tmp_path, reference)
        return (tmp_path / "ablation.md").read_text()

    first = rows("ridge", reference="ridge")
    more = rows("ridge", "gp", reference="ridge")  # the same rows and one besides
    assert more != first and not list(tmp_path.glob("ablation-*"))
    against_another = rows("ridge", "gp", reference="gp")
    assert (tmp_path / "ablation-1.md").read_text() == more
    assert "are now" in caplog.text and "ablation-1.*" in caplog.text
    fewer = rows("gp", reference="gp")
    assert (tmp_path / "ablation-2.md").read_text() == against_another
    assert fewer not in (more, against_another)
    for number in (1, 2):
        names = {path.suffix for path in tmp_path.glob(f"ablation-{number}.*")}
        assert names == {".csv", ".md", ".png", ".json"}
