"""Plots that runs and ablations leave beside their metrics.

A `Figure` is made without pyplot, which would choose a backend for the whole process that imports
this: ``savefig`` alone picks the renderer that the file's extension asks for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vqa_twostage.fuse.metrics import apply_logistic, fit_logistic
from vqa_twostage.fuse.reporting.formatting import (
    METRIC_TITLES,
    meaning,
    median_and_spread,
    n_videos,
    test_videos,
)
from vqa_twostage.fuse.results import Comparison, Evaluation, LearningCurve, SplitSummary

BLUE, ORANGE = "#2a6fbb", "#c2410c"


def scatter(predictions: pd.DataFrame, evaluation: Evaluation, path: Path) -> None:
    """Prediction against label for every test video of every split, with the fitted logistic, as
    PNG.
    """
    test = predictions[predictions["part"] == "test"]
    predicted, mos = test["predicted"].to_numpy(), test["mos"].to_numpy()
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(predicted, mos, s=9, alpha=0.35, linewidths=0, color=BLUE)
    x = np.linspace(predicted.min(), predicted.max(), 200)
    axes.plot(
        x,
        apply_logistic(fit_logistic(predicted, mos), x),
        color=ORANGE,
        linewidth=1.8,
        label="fitted logistic",
    )
    summary = evaluation.summary
    figures = ", ".join(
        f"{METRIC_TITLES[name]} {median_and_spread(summary, name)[0]}"
        for name in ("srcc", "plcc", "rmse")
    )
    axes.set_xlabel("predicted score")
    axes.set_ylabel(evaluation.label)
    axes.set_title(
        f"{evaluation.dataset}, {evaluation.fusion}: test videos of {len(evaluation.splits)} "
        f"splits, {n_videos(evaluation.n_videos, evaluation.n_dataset)}\n"
        + (test_videos(*summary.n_test) if summary.is_withheld else f"median {figures}"),
        fontsize=10,
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def comparison(comparison: Comparison, path: Path) -> None:
    """Median SRCC of each variant and its standard deviation over the splits, the best on top, as
    PNG.
    """
    rows = [
        (row, srcc)
        for row in reversed(comparison.rows)
        if (srcc := row.summary.median.srcc) is not None
    ]
    figure = Figure(figsize=(7, 1.4 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for height, (row, srcc) in enumerate(rows):
        axes.errorbar(
            srcc,
            height,
            xerr=_reach(row.summary, srcc),
            fmt="o",
            color=ORANGE if row.run == comparison.reference_run else BLUE,
            markersize=5,
            linewidth=1.4,
        )
    axes.set_yticks(range(len(rows)), [row.name for row, _ in rows], parse_math=False)
    axes.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    axes.set_xlabel(f"SRCC: {meaning(comparison.rows[0].summary)}")
    axes.set_title(
        f"{comparison.dataset}, {comparison.protocol}: {comparison.n_splits} splits, "
        f"{n_videos(comparison.n_videos, comparison.n_dataset)}\n"
        f"orange: {comparison.reference}, the reference of the paired differences",
        fontsize=9,
        parse_math=False,
    )
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def curve(curve: LearningCurve, path: Path) -> None:
    """SRCC by the number of labelled videos, from random weights and fine-tuned, as PNG."""
    whole = curve.points[-1].comparison
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    lines = (
        ("from random weights", BLUE, [(point, point.scratch) for point in curve.points]),
        ("fine-tuned", ORANGE, [(point, point.tuned) for point in curve.points]),
    )
    for name, colour, rows in lines:
        shown = [
            (sum(point.n_labelled) / 2, srcc, row.summary.std.srcc or 0.0)
            for point, row in rows
            if row is not None and (srcc := row.summary.median.srcc) is not None
        ]
        if shown:
            counts, srccs, reach = zip(*shown, strict=True)
            axes.errorbar(
                counts,
                srccs,
                yerr=reach,
                marker="o",
                markersize=5,
                capsize=2,
                color=colour,
                label=name,
            )
            axes.legend(frameon=False)
    axes.set_xscale("log")
    axes.set_xticks(
        [sum(point.n_labelled) / 2 for point in curve.points],
        [f"{sum(point.n_labelled) / 2:.0f}\n{point.labels} %" for point in curve.points],
    )
    axes.minorticks_off()
    axes.set_xlabel("labelled videos, for training and validation together")
    axes.set_ylabel(f"SRCC: {meaning(curve.points[-1].scratch.summary)}")
    axes.set_title(
        f"{whole.dataset}, {whole.protocol}: {whole.n_splits} splits, "
        f"{n_videos(whole.n_videos, whole.n_dataset)}",
        fontsize=9,
        parse_math=False,
    )
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def _reach(summary: SplitSummary, srcc: float) -> list[list[float]]:
    """How far the bar goes to both sides: the deviation over splits, or the interval of one."""
    if summary.srcc_interval is not None:
        low, high = summary.srcc_interval
        return [[srcc - low], [high - srcc]]
    return [[summary.std.srcc or 0.0]] * 2
