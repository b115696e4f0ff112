"""Plots that runs and ablations leave beside their metrics.

A `Figure` is made without pyplot, which would choose a backend for the whole process that imports
this: ``savefig`` alone picks the renderer that the file's extension asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vqa_twostage.fuse.metrics import apply_logistic, fit_logistic
from vqa_twostage.fuse.reporting.terminal import said_n


def scatter(predictions: pd.DataFrame, document: Mapping[str, Any], path: Path) -> None:
    """Prediction against label for every test video of every split, with the fitted logistic, as
    PNG.
    """
    test = predictions[predictions["part"] == "test"]
    predicted, mos = test["predicted"].to_numpy(), test["mos"].to_numpy()
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(predicted, mos, s=9, alpha=0.35, linewidths=0, color="#2a6fbb")
    x = np.linspace(predicted.min(), predicted.max(), 200)
    axes.plot(
        x,
        apply_logistic(fit_logistic(predicted, mos), x),
        color="#c2410c",
        linewidth=1.8,
        label="fitted logistic",
    )
    median, splits = document["median"], len(document["splits"])
    axes.set_xlabel("predicted score")
    axes.set_ylabel(document["label"])
    axes.set_title(
        f"{document['dataset']}, {document['fusion']}: test videos of {splits} splits, "
        f"{said_n(document)}\n"
        f"median SRCC {_shown(median['srcc'])}, PLCC {_shown(median['plcc'])}, RMSE "
        f"{_shown(median['rmse'])}",
        fontsize=10,
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def ablation(document: dict[str, Any], path: Path) -> None:
    """Median SRCC of each variant and its spread over the splits, the best on top, as PNG."""
    rows = [row for row in document["rows"] if row["median"]["srcc"] is not None][::-1]
    figure = Figure(figsize=(7, 1.4 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        color = "#c2410c" if row["run"] == document["baseline"] else "#2a6fbb"
        spread = row["spread"]["srcc"] or 0.0
        axes.errorbar(
            row["median"]["srcc"],
            place,
            xerr=spread,
            fmt="o",
            color=color,
            markersize=5,
            linewidth=1.4,
        )
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], parse_math=False)
    axes.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    axes.set_xlabel("SRCC: median ± standard deviation over splits")
    axes.set_title(
        f"{document['dataset']}, {document['protocol']}: {document['n_splits']} splits, "
        f"{said_n(document)}\n"
        f"orange: {document['reference']}, the reference of the paired differences",
        fontsize=9,
        parse_math=False,
    )
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=150)


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
