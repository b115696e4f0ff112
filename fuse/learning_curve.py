"""What labels are worth: a head on growing parts of them, from random weights and from the heads of
another run, on the same test parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.fuse.ablate import train_missing
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reporting import markdown, plots
from vqa_twostage.fuse.results import CurvePoint, LearningCurve
from vqa_twostage.fuse.runs import CurveFiles
from vqa_twostage.fuse.source_run import SourceRun
from vqa_twostage.fuse.train import OnProgress, Plan, load, no_progress
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import sealed, write_json, write_text
from vqa_twostage.pipeline.invocation import started_as
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.ray_cluster import Workers


def parse_percents(text: str) -> list[int]:
    """``5,10,100`` as whole numbers, ascending; UsageError for anything else."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= 100 for word in words):
        raise UsageError(
            f"--labels is {text!r}; give whole percentages of the labels from 1 to 100, such as "
            "5,10,20,50,100"
        )
    return sorted({int(word) for word in words})


@started_as("Python, learning_curve")
@bar_in_notebook("learning-curve")
def learning_curve(  # noqa: PLR0913 - the options of the command
    data: Dataset | str | Path,
    options: TrainOptions,
    percents: Sequence[int],
    folder: str | Path,
    source: SourceRun | None = None,
    workers: Workers = 1,
    on_progress: OnProgress = no_progress,
    dataset: str | None = None,
) -> LearningCurve:
    """Trains a head, or baseline, on each of ``percents`` of the labels, each in a run of its own.

    What is finished in ``folder`` is not trained again, so an interrupted curve goes on.

    Args:
        data: The folder that `extract.run.extract_dataset` filled, or the features in it.
        options: The head, and what is tuned of it. With a folder, ``start_from`` names the run
            whose heads are tuned as well, and the head is that run's; with features,
            ``source.with_head`` gives its options.
        percents: Of the videos of the training and validation parts (`fuse.splits.labelled`).
        folder: ``learning_curve.csv``, ``.json``, ``.md``, ``.png`` and the runs are written here.
        source: With features, that run; None trains from random weights alone.
        workers: Processes that fit splits side by side, or a Ray cluster; changes no result.
        on_progress: Called with the number of splits that are done, and of all; left out, a
            notebook shows a bar.
        dataset: A dataset in the folder ``data``; None where there is only one.

    Returns:
        A point for each of ``percents``.

    Raises:
        UsageError: A spec does not fit, there are no such features, or the source knows videos that
            are tested; nothing was trained.
    """
    if not isinstance(data, Dataset):
        data, options, source = load(data, dataset, options)
    check_leakage(data, options)
    folder, usual = Path(folder), TrainOptions()
    scratch = replace(options, start_from=None, tune=usual.tune, preparation=usual.preparation)
    plans: dict[Path, Plan] = {}
    runs: list[list[Path]] = []
    for percent in percents:
        of_point = [Plan.of(data, replace(scratch, labels=percent))]
        if source is not None:
            of_point.append(Plan.of(data, replace(options, labels=percent), source))
        runs.append([folder / plan.name for plan in of_point])
        plans |= dict(zip(runs[-1], of_point, strict=True))
    train_missing(data, plans, workers, on_progress)
    points = [_point(percent, of_point) for percent, of_point in zip(percents, runs, strict=True)]
    curve = LearningCurve([] if source is None else source.learnt_from, points, folder)
    _write(curve)
    return curve


def _point(percent: int, runs: list[Path]) -> CurvePoint:
    counts = [split.n_train + split.n_val for split in evaluate(runs[0]).splits]
    return CurvePoint(percent, (min(counts), max(counts)), compare(runs))


def _write(curve: LearningCurve) -> None:
    files = CurveFiles(curve.folder)
    write_text(files.csv_file, as_table(curve).to_csv(index=False))
    write_text(files.markdown_file, markdown.of_curve(curve))
    plots.curve(curve, files.plot_file)
    write_json(files.json_file, sealed(curve.to_json()))


def as_table(curve: LearningCurve) -> pd.DataFrame:
    """A row for each part of the labels; empty cells where something is undefined or withheld."""
    rows: list[dict[str, Any]] = []
    for point in curve.points:
        cells: dict[str, Any] = {"labels": point.labels}
        cells["least_labelled"], cells["most_labelled"] = point.n_labelled
        for name, row in (("scratch", point.scratch), ("fine_tuned", point.tuned)):
            if row is not None:
                cells[f"srcc_{name}"] = row.summary.median.srcc
                cells[f"spread_{name}"] = row.summary.std.srcc
        for name, summary in point.scratch.axes.items():
            cells[f"srcc_scratch_{name}"] = summary.median.srcc
            cells[f"spread_scratch_{name}"] = summary.std.srcc
        if point.tuned is not None:
            document = point.tuned.to_json()
            cells |= {key: document[key] for key in ("difference", "wins", "pairs", "p_value")}
            cells["mean_difference"] = document["mean_difference"]
            low, high = document["corrected_interval"] or (None, None)
            cells |= {"corrected_low": low, "corrected_high": high}
            cells["corrected_p_value"] = document["corrected_p_value"]
        rows.append(cells)
    return pd.DataFrame(rows)
