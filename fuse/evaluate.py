"""Saved predictions to metrics: every figure comes from ``RUN/predictions.csv``, never from a model in memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fuse import metrics
from pipeline import records
from pipeline.errors import UsageError

COLUMNS = {"split": int, "part": str, "id": str, "group": str, "mos": float, "predicted": float}
NAMES = ["srcc", "plcc", "krcc", "rmse"]


def save_predictions(run: Path, predictions: pd.DataFrame) -> None:
    # floats as their shortest exact text: what is read back is what was predicted, to the last bit
    records.write_text(run / "predictions.csv", predictions[list(COLUMNS)].to_csv(index=False))


def load_predictions(run: Path) -> pd.DataFrame:
    """Columns ``split, part, id, group, mos, predicted``; UsageError where ``run`` is no run."""
    path = run / "predictions.csv"
    if not path.is_file():
        raise UsageError(f"{run} is no run: {path} does not exist; vqa-fuse train makes runs")
    # read as text: ids keep their zeros, and Python's own float() is exact where pandas' fast parser may not be
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.DataFrame({name: table[name].map(convert) for name, convert in COLUMNS.items()})


def evaluate_run(run: Path) -> dict[str, Any]:
    """The document of ``vqa-fuse evaluate --json``: metrics of each split's test part, their median and spread.

    ``spread`` is the standard deviation over the splits. UsageError where ``run`` is no run.
    """
    predictions = load_predictions(run)
    record = records.read_json(run / "run.json")
    ids = predictions["id"].unique()
    counts, scores = [], []
    for seed, rows in predictions.groupby("split"):
        parts = rows["part"].value_counts()
        counts.append({"seed": int(str(seed)), **{f"n_{part}": int(parts[part]) for part in ("train", "val", "test")}})
        test = rows[rows["part"] == "test"]
        scores.append(asdict(metrics.evaluate(test["predicted"].to_numpy(), test["mos"].to_numpy())))
    table = pd.DataFrame(scores)[[*NAMES, "plcc_raw"]]
    splits = [{**count, **_numbers(row)} for count, (_, row) in zip(counts, table.iterrows(), strict=True)]
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
        "notes": record["notes"],
        "splits": splits,
        "median": _numbers(table.median()),
        "spread": _numbers(table.std(ddof=1)),
        # splits that the median cannot count: a constant prediction has no correlation
        "undefined": int(table["srcc"].isna().sum()),
        "oracle": _oracle(record["oracle_srcc"]),
        "run": str(run),
    }


def _oracle(scores: list[float] | None) -> dict[str, Any] | None:
    if scores is None:
        return None
    known = [score for score in scores if np.isfinite(score)]
    return {
        "srcc": float(np.median(known)) if known else None,
        "label": "best epoch chosen on the test part: no honest figure",
    }


def _numbers(row: pd.Series) -> dict[str, float | None]:
    # JSON has no NaN: an undefined metric is null
    return {str(name): None if np.isnan(value) else float(value) for name, value in row.items()}
