"""Metrics of a run, from the predictions that it saved and never from a model in memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from vqa_twostage.fuse import metrics, opinions
from vqa_twostage.fuse.results import Evaluation, MetricSummary, Oracle, SplitMetrics
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import PARTS, Run

SMALL_TEST_PART = 10  # videos; correlations of fewer are mostly chance


def evaluate(run: str | Path) -> Evaluation:
    """Metrics of each split's test part, their median and standard deviation over the splits.

    They are computed from ``RUN/predictions.csv``, after the Video Quality Experts Group's
    evaluation (`fuse.metrics`). UsageError where ``run`` is not a run. On another dataset:
    `fuse.cross_dataset.evaluate_on`.
    """
    folder = Run(run)
    return evaluate_predictions(folder.record(), folder.predictions(), folder.folder)


def evaluate_predictions(record: RunRecord, predictions: pd.DataFrame, run: Path) -> Evaluation:
    """Metrics of ``predictions`` (columns as `Run.predictions`), with what the record says."""
    splits = []
    for seed, rows in predictions.groupby("split"):
        counts = {f"n_{part}": int((rows["part"] == part).sum()) for part in PARTS}
        test = rows[rows["part"] == "test"]
        measured = asdict(metrics.evaluate(test["predicted"].to_numpy(), test["mos"].to_numpy()))
        splits.append(SplitMetrics(int(str(seed)), **counts, metrics=MetricSummary.of(measured)))
    table = pd.DataFrame([split.metrics.to_json() for split in splits]).astype(float)
    return Evaluation(
        dataset=record.dataset,
        fusion=record.specs.fusion,
        protocol=record.specs.protocol,
        label=record.label,
        n_videos=predictions["id"].nunique(),
        n_dataset=record.n_dataset,
        missing=record.missing,
        not_finite=record.not_finite,
        notes=[*record.notes, *_small_test_parts(splits)],
        opinions=opinions.names_of(record.identity),
        splits=splits,
        median=MetricSummary.of(table.median()),
        std=MetricSummary.of(table.std(ddof=1)),
        undefined=int(table["srcc"].isna().sum()),
        oracle=_oracle(record.oracle_srcc),
        run=run,
    )


def _small_test_parts(splits: list[SplitMetrics]) -> list[str]:
    smallest = min(split.n_test for split in splits)
    if smallest >= SMALL_TEST_PART:
        return []
    return [
        f"a test part has {smallest} videos: correlations of fewer than {SMALL_TEST_PART} are "
        "chance, whatever their median"
    ]


def _oracle(scores: list[float] | None) -> Oracle | None:
    if scores is None:
        return None
    finite = [score for score in scores if np.isfinite(score)]
    return Oracle(float(np.median(finite)) if finite else None)
