"""Metrics of a run, from the predictions that it saved and never from a model in memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from vqa_twostage.fuse import metrics, opinions
from vqa_twostage.fuse.metrics import Metrics
from vqa_twostage.fuse.results import (
    METRICS,
    AxisEvaluation,
    Evaluation,
    MetricSummary,
    Oracle,
    SplitMetrics,
    SplitSummary,
)
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import PARTS, Run, axes_in, label_columns
from vqa_twostage.fuse.withholding import REASON, is_withheld
from vqa_twostage.pipeline.wording import between


def evaluate(run: str | Path) -> Evaluation:
    """Metrics of each split's test part, their median and standard deviation over the splits.

    They are computed from ``RUN/predictions.csv``, after the Video Quality Experts Group's
    evaluation (`fuse.metrics`). UsageError where ``run`` is not a run. On another dataset:
    `fuse.cross_dataset.evaluate_on`.
    """
    folder = Run(run)
    return evaluate_predictions(folder.record(), folder.predictions(), folder.folder)


def reported(measured: Metrics) -> MetricSummary:
    """The metrics as they may be shown: none where `fuse.withholding` says so."""
    values = asdict(measured)
    if is_withheld(measured.n):
        values = dict.fromkeys(values, float("nan"))
    return MetricSummary.of(values)


def evaluate_predictions(record: RunRecord, predictions: pd.DataFrame, run: Path) -> Evaluation:
    """Metrics of ``predictions`` (columns as `Run.predictions`), with what the record says."""
    splits = _splits(predictions, *label_columns())
    summary = summarise(splits)
    axes = {}
    for name in axes_in(predictions):
        of_axis = _splits(predictions, *label_columns(name))
        axes[name] = AxisEvaluation(of_axis, summarise(of_axis))
    return Evaluation(
        dataset=record.dataset,
        fusion=record.specs.fusion,
        protocol=record.specs.protocol,
        label=record.label,
        n_videos=predictions["id"].nunique(),
        n_dataset=record.n_dataset,
        missing=record.missing,
        not_finite=record.not_finite,
        notes=[
            *record.notes,
            *_withheld(summary),
            *opinions.sentences_of_start(record.identity.start),
        ],
        opinions=opinions.names_of(record.identity),
        splits=splits,
        summary=summary,
        oracle=_oracle(record.oracle_srcc, splits),
        run=run,
        axes=axes,
    )


def _splits(predictions: pd.DataFrame, mos: str, predicted: str) -> list[SplitMetrics]:
    """The metrics of each split; ``mos`` and ``predicted`` are columns."""
    splits = []
    for seed, rows in predictions.groupby("split"):
        counts = {f"n_{part}": int((rows["part"] == part).sum()) for part in PARTS}
        test = rows[rows["part"] == "test"]
        measured = metrics.evaluate(test[predicted].to_numpy(), test[mos].to_numpy())
        splits.append(SplitMetrics(int(str(seed)), **counts, metrics=reported(measured)))
    return splits


def summarise(splits: list[SplitMetrics]) -> SplitSummary:
    """Median and deviation over the splits that have figures."""
    shown = [split for split in splits if not is_withheld(split.n_test)]
    table = pd.DataFrame(
        [split.metrics.to_json() for split in shown], columns=list(METRICS), dtype=float
    )
    defined = [split for split in shown if split.metrics.srcc is not None]
    interval = None
    if len(defined) == 1 and defined[0].metrics.srcc is not None:
        interval = metrics.srcc_interval(defined[0].metrics.srcc, defined[0].n_test)
    sizes = [split.n_test for split in splits]
    return SplitSummary(
        median=MetricSummary.of(table.median()),
        std=MetricSummary.of(table.std(ddof=1)),
        srcc_interval=interval,
        undefined=len(shown) - len(defined),
        withheld=len(splits) - len(shown),
        n_splits=len(splits),
        n_test=(min(sizes), max(sizes)),
    )


def _withheld(summary: SplitSummary) -> list[str]:
    if not summary.withheld:
        return []
    return [
        f"figures of {summary.withheld} of {summary.n_splits} splits are withheld: {REASON}, and "
        f"test parts have {between(*summary.n_test)} videos; predictions are kept"
    ]


def _oracle(scores: list[float] | None, splits: list[SplitMetrics]) -> Oracle | None:
    if scores is None:
        return None
    finite = [
        score
        for score, split in zip(scores, splits, strict=True)
        if np.isfinite(score) and not is_withheld(split.n_test)
    ]
    return Oracle(float(np.median(finite)) if finite else None)
