"""Saved predictions to metrics: every figure comes from ``RUN/predictions.csv``, never from a model
in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from vqa_twostage.fuse import metrics
from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.errors import UsageError

COLUMNS = {"split": int, "part": str, "id": str, "group": str, "mos": float, "predicted": float}
NAMES = ["srcc", "plcc", "krcc", "rmse"]
FEW = 10  # videos of a test part, below which its figures mean nothing
NAMES_AND_RAW = [*NAMES, "plcc_raw"]


class Figures(TypedDict):
    """Each None where it is undefined, as the correlation of a constant is."""

    srcc: float | None
    """Spearman's rank correlation of the scores as they come."""
    plcc: float | None
    """Pearson's correlation after the four-parameter logistic."""
    krcc: float | None
    """Kendall's rank correlation (tau-b) of the scores as they come."""
    rmse: float | None
    """Root of the mean squared error after the logistic, on the scale of the labels."""
    plcc_raw: float | None
    """Pearson's correlation of the scores as they come."""


class SplitFigures(Figures):
    """Of the test part of one split."""

    seed: int
    n_train: int
    n_val: int
    n_test: int


class Oracle(TypedDict):
    """What choosing the epoch on the test part would have claimed: no honest figure."""

    srcc: float | None
    label: str


class Evaluation(TypedDict):
    """The document of ``vqa-fuse train --json`` and ``vqa-fuse evaluate --json``."""

    dataset: str
    fusion: str
    """The spec of the fusion head, or the name of a baseline."""
    protocol: str
    label: str
    """What the labels are: ``opinion``, or which pseudo-MOS."""
    n_videos: int
    """N, the videos that were used."""
    n_dataset: int
    """The videos of the manifest."""
    missing: list[str]
    """Ids of the manifest that have no features."""
    not_finite: dict[str, int]
    """Columns of features that hold values that are no numbers, and in how many videos."""
    notes: list[str]
    """What to know about the splits, such as contents that straddle them."""
    splits: list[SplitFigures]
    median: Figures
    """Over the splits."""
    spread: Figures
    """The standard deviation over the splits."""
    undefined: int
    """Splits that the median cannot count: a constant prediction has no correlation."""
    oracle: Oracle | None
    """None without ``oracle_epoch``."""
    run: str
    """The folder of the run."""


def save_predictions(run: Path, predictions: pd.DataFrame) -> None:
    # floats as their shortest exact text: what is read back is what was predicted, to the last bit
    records.write_text(run / "predictions.csv", predictions[list(COLUMNS)].to_csv(index=False))


def load_predictions(run: Path) -> pd.DataFrame:
    """Columns ``split, part, id, group, mos, predicted``; UsageError where ``run`` is no run."""
    path = run / "predictions.csv"
    if not path.is_file():
        raise UsageError(f"{run} is no run: {path} does not exist; vqa-fuse train makes runs")
    # read as text: ids keep their zeros, and Python's own float() is exact where pandas' fast
    # parser may not be
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: table[name].map(convert) for name, convert in COLUMNS.items()})


def evaluate(run: Path) -> Evaluation:
    """Metrics of each split's test part, their median and spread, from the predictions that a run
    saved.

    Source of the metrics: `fuse.metrics`, after the Video Quality Experts Group's evaluation.
    UsageError where ``run`` is no run. Another dataset: `fuse.cross_dataset.evaluate_on`.
    """
    predictions = load_predictions(run)
    record = records.read_json(run / "run.json")
    ids = predictions["id"].unique()
    splits: list[SplitFigures] = []
    for seed, rows in predictions.groupby("split"):
        parts = rows["part"].value_counts()
        test = rows[rows["part"] == "test"]
        figures = asdict(metrics.evaluate(test["predicted"].to_numpy(), test["mos"].to_numpy()))
        splits.append(
            {
                "seed": int(str(seed)),
                "n_train": int(parts["train"]),
                "n_val": int(parts["val"]),
                "n_test": int(parts["test"]),
                **_figures({name: figures[name] for name in NAMES_AND_RAW}),
            }
        )
    table = pd.DataFrame(splits)[NAMES_AND_RAW].astype(float)
    return {
        "dataset": record["dataset"],
        "fusion": record["specs"]["fusion"],
        "protocol": record["specs"]["protocol"],
        "label": record["label"],
        "n_videos": len(ids),
        # runs of earlier versions did not record it
        "n_dataset": record.get("n_dataset", len(ids) + len(record["missing"])),
        "missing": record["missing"],
        "not_finite": record["not_finite"],
        "notes": [*record["notes"], *_on_few(splits)],
        "splits": splits,
        "median": _figures(table.median()),
        "spread": _figures(table.std(ddof=1)),
        "undefined": int(table["srcc"].isna().sum()),
        "oracle": _oracle(record["oracle_srcc"]),
        "run": str(run),
    }


def _on_few(splits: list[SplitFigures]) -> list[str]:
    """A caution where test parts are so small that their correlations are chance."""
    smallest = min(split["n_test"] for split in splits)
    if smallest >= FEW:
        return []
    return [
        f"a test part has {smallest} videos: correlations of fewer than {FEW} are chance, whatever "
        "their median"
    ]


def _oracle(scores: list[float] | None) -> Oracle | None:
    if scores is None:
        return None
    known = [score for score in scores if np.isfinite(score)]
    return {
        "srcc": float(np.median(known)) if known else None,
        "label": "best epoch chosen on the test part: no honest figure",
    }


def _figures(row: Mapping[str, float] | pd.Series) -> Figures:
    # JSON has no NaN: an undefined metric is null
    srcc, plcc, krcc, rmse, plcc_raw = (
        None if np.isnan(row[name]) else float(row[name]) for name in NAMES_AND_RAW
    )
    return {"srcc": srcc, "plcc": plcc, "krcc": krcc, "rmse": rmse, "plcc_raw": plcc_raw}
