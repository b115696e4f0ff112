"""Figures of small test parts are shown nowhere; one SRCC alone has an interval everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_runs import predictions_of, write_run

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.export import card
from vqa_twostage.fuse.report import write_report
from vqa_twostage.fuse.reporting import markdown, plots
from vqa_twostage.fuse.reporting.terminal import print_comparison, print_evaluation
from vqa_twostage.fuse.results import METRICS
from vqa_twostage.fuse.runs import Run

CONFIG: dict[str, Any] = {
    "trained_on": {"title": "Clips", "videos": 70},
    "output": {"label": "opinion", "scale": [1.0, 5.0], "better": "higher"},
    "version": "0",
    "head": {"joint_with": None},
    "features": [{"kind": "spatial", "extractor": "net", "sampler": "uniform"}],
}
SMALL = [
    ([2], "n/a, 2 test videos"),
    ([19, 19, 19], "n/a, 19 test videos"),
    ([2, 5, 3], "n/a, 2 to 5 test videos"),
    ([1], "n/a, 1 test video"),
]


def run_of(folder: Path, n_test: list[int], seed: int = 0, **changes: Any) -> Path:
    return write_run(folder, predictions_of(n_test, seed), f"head{seed}", **changes)


def shown(runs: list[Path], folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What each place that shows figures says of the runs."""
    evaluation, comparison = evaluate(runs[0]), compare(runs)
    texts = {"Markdown": markdown.of_run(evaluation), "card": card(CONFIG, evaluation)}
    texts["Markdown of a comparison"] = markdown.of_comparison(comparison)
    print_evaluation(evaluation)
    texts["terminal"] = capsys.readouterr().out
    print_comparison(comparison)
    texts["terminal, comparison"] = capsys.readouterr().out
    for name, some in (("report", runs[:1]), ("report of a comparison", runs)):
        write_report(some, folder / "report.html")
        text = (folder / "report.html").read_text(encoding="utf-8")
        texts[name] = re.sub(r"<svg.*?</svg>|<[^>]*>", "", text.partition("<body>")[2], flags=re.S)
    return texts


@pytest.mark.parametrize(("n_test", "words"), SMALL)
def test_figures_of_small_test_parts_are_withheld_in_every_place_with_the_reason(
    n_test: list[int], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run_of(tmp_path / str(seed), n_test, seed) for seed in (0, 1)]
    for place, text in shown(runs, tmp_path, capsys).items():
        assert words in text, place
        assert "correlations of fewer than 20 test videos are mostly chance" in text, place
        assert not re.search(r"(?<![\d.])[-−]?0\.\d{3,4} ?(±|\[)", text), place
    raw = Run(runs[0]).predictions()
    assert np.isfinite(raw["predicted"]).all()


@pytest.mark.parametrize(("n_test", "words"), SMALL)
def test_json_of_small_test_parts_is_null_with_the_number_of_test_videos_beside_it(
    n_test: list[int], words: str, tmp_path: Path
) -> None:
    runs = [run_of(tmp_path / str(seed), n_test, seed) for seed in (0, 1)]
    document, comparison = evaluate(runs[0]).to_json(), compare(runs).to_json()
    for row in (document, *comparison["rows"]):
        assert set(row["median"].values()) == set(row["spread"].values()) == {None}
        assert row["srcc_interval"] is None
        assert row["n_test"] == [min(n_test), max(n_test)]
        assert (row["withheld"], row["undefined"]) == (len(n_test), 0)
    for split, size in zip(document["splits"], n_test, strict=True):
        assert split["n_test"] == size
        assert {split[name] for name in METRICS} == {None}
    for row in comparison["rows"]:
        assert row["difference"] is row["p_value"] is row["corrected_p_value"] is None


def test_figures_of_twenty_test_videos_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run_of(tmp_path / str(seed), [20, 20, 20], seed) for seed in (0, 1)]
    median = evaluate(runs[0]).median.srcc
    assert median is not None
    for place, text in shown(runs, tmp_path, capsys).items():
        assert f"{median:.3f}"[:4] in text and "n/a" not in text, place
        if "comparison" in place:
            assert "orrected p" in text and "believe the corrected p" in text, place


def test_median_is_of_the_splits_whose_test_parts_are_large_enough(tmp_path: Path) -> None:
    evaluation = evaluate(run_of(tmp_path, [30, 19, 25, 20]))
    sizes = {split.n_test: split.metrics.srcc for split in evaluation.splits}
    assert sizes[19] is None and None not in (sizes[30], sizes[25], sizes[20])
    expected = np.median([sizes[30], sizes[25], sizes[20]])  # type: ignore[list-item]
    assert evaluation.median.srcc == pytest.approx(expected)
    assert (evaluation.summary.withheld, evaluation.summary.undefined) == (1, 0)
    assert "figures of 1 of 4 splits are withheld" in evaluation.notes[0]
    assert "test parts have 19 to 30 videos" in evaluation.notes[0]


def test_test_parts_of_one_size_are_said_to_have_it(tmp_path: Path) -> None:
    (note, *_) = evaluate(run_of(tmp_path, [8, 8])).notes
    assert "test parts have 8 videos" in note


def test_oracle_of_small_test_parts_is_withheld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = evaluate(run_of(tmp_path / "a", [19, 25], oracle_srcc=[0.99, 0.5]))
    assert mixed.oracle is not None and mixed.oracle.srcc == 0.5
    small = evaluate(run_of(tmp_path / "b", [2, 2], oracle_srcc=[1.0, 1.0]))
    assert small.oracle is not None and small.oracle.srcc is None
    print_evaluation(small)
    assert "would have claimed SRCC n/a, 2 test videos" in capsys.readouterr().out


def test_constant_scores_are_undefined_and_not_withheld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = predictions_of([20]).assign(predicted=3.0)
    runs = [write_run(tmp_path / name, table, name) for name in ("a", "b")]
    for place, text in shown(runs, tmp_path, capsys).items():
        assert "undefined" in text and "test video" not in text, place
    assert evaluate(runs[0]).summary.undefined == 1


def test_plots_of_withheld_figures_are_drawn_without_them(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / str(seed), [2, 3], seed) for seed in (0, 1)]
    plots.comparison(compare(runs), tmp_path / "comparison.png")
    plots.scatter(Run(runs[0]).predictions(), evaluate(runs[0]), tmp_path / "scatter.png")
    assert (tmp_path / "comparison.png").stat().st_size > 1000
    assert (tmp_path / "scatter.png").stat().st_size > 1000


# --- one split ---


def test_srcc_of_a_single_split_has_its_interval_where_the_deviation_of_several_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run_of(tmp_path / str(seed), [40], seed) for seed in (0, 1)]
    evaluation = evaluate(runs[0])
    ends = evaluation.summary.srcc_interval
    assert ends is not None and evaluation.median.srcc is not None
    assert ends == metrics.srcc_interval(evaluation.median.srcc, 40)
    assert json.loads(json.dumps(evaluation.to_json()))["srcc_interval"] == list(ends)
    words = "[{:.3f}, {:.3f}]".format(*ends)
    for place, text in shown(runs, tmp_path, capsys).items():
        assert words in text and "95 % interval" in text, place
        if "comparison" in place:
            assert "n/a" in text, place  # the corrected test has no variance of one split
    plots.comparison(compare(runs), tmp_path / "comparison.png")


def test_several_splits_have_a_deviation_and_no_interval(tmp_path: Path) -> None:
    summary = evaluate(run_of(tmp_path, [40, 40])).summary
    assert summary.std.srcc is not None and summary.srcc_interval is None


@pytest.mark.parametrize(
    ("srcc", "n", "low", "high"),
    [
        # artanh(.5) = .549306, sqrt(1.125 / 97) = .107695, times 1.959964: .211078
        (0.5, 100, np.tanh(0.549306 - 0.211078), np.tanh(0.549306 + 0.211078)),
        (-0.5, 100, -np.tanh(0.549306 + 0.211078), -np.tanh(0.549306 - 0.211078)),
        (0.0, 28, -np.tanh(0.391993), np.tanh(0.391993)),
    ],
)
def test_interval_of_an_srcc_is_the_published_formula(
    srcc: float, n: int, low: float, high: float
) -> None:
    assert metrics.srcc_interval(srcc, n) == pytest.approx((low, high), abs=1e-5)


@pytest.mark.parametrize("srcc", [1.0, -1.0, float("nan")])
def test_interval_of_an_srcc_is_undefined_without_a_variance(srcc: float) -> None:
    assert metrics.srcc_interval(srcc, 100) is None
    assert metrics.srcc_interval(0.5, 3) is None


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_interval_of_an_srcc_holds_the_true_one_in_95_of_100_samples(rho: float) -> None:
    generator, n, inside, trials = np.random.default_rng(0), 40, 0, 400
    # of two normal variables, by Pearson's formula of 1907
    true = 6 / np.pi * np.arcsin(rho / 2)
    for _ in range(trials):
        x, noise = generator.normal(size=(2, n))
        ends = metrics.srcc_interval(metrics.srcc(x, rho * x + np.sqrt(1 - rho**2) * noise), n)
        assert ends is not None
        inside += ends[0] <= true <= ends[1]
    assert 0.92 * trials <= inside <= 0.98 * trials
