"""Metrics of a run, from the predictions that it saved."""

from __future__ import annotations

from pathlib import Path

from vqa_twostage.fuse.runs import Evaluation, Run


def evaluate(run: str | Path) -> Evaluation:
    """Metrics of each split's test part, their median and standard deviation over the splits.

    They are computed from ``RUN/predictions.csv``, after the Video Quality Experts Group's
    evaluation (`fuse.metrics`). UsageError where ``run`` is not a run. On another dataset:
    `fuse.cross_dataset.evaluate_on`.
    """
    return Run(run).metrics()
