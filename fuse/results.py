"""What the commands return, each with the JSON document that ``--json`` prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vqa_twostage.fuse.notebook_display import ShownInNotebooks
from vqa_twostage.fuse.paired import WHICH_TO_BELIEVE, PairedStatistics


@dataclass(frozen=True)
class MetricSummary:
    """One value a metric. None where it is undefined, as the correlation of a constant is, or
    withheld, since the test part is small (`fuse.withholding`).
    """

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

    @staticmethod
    def of(values: Mapping[str, int | float] | pd.Series) -> MetricSummary:
        """From one number a metric, of which NaN means undefined."""
        return MetricSummary(**{name: defined(values[name]) for name in METRICS})

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


METRICS = tuple(metric.name for metric in fields(MetricSummary))
MAIN_METRICS = METRICS[:4]
"""Those that every table has: all but ``plcc_raw``."""


@dataclass(frozen=True)
class SplitSummary:
    """The metrics of a run over its splits."""

    median: MetricSummary
    """Of splits whose figures are not withheld."""
    std: MetricSummary
    """Standard deviation over them; undefined of one."""
    srcc_interval: tuple[float, float] | None
    """95 % interval of the SRCC where it is of one split alone and has no deviation; else None."""
    undefined: int
    """Splits that the median leaves out: a constant prediction has no correlation."""
    withheld: int
    """Splits whose figures are withheld: their test parts have too few videos."""
    n_splits: int
    n_test: tuple[int, int]
    """Videos of the smallest and of the largest test part."""

    @property
    def is_withheld(self) -> bool:
        """Whether there are no figures at all, since every test part is small."""
        return self.withheld == self.n_splits

    def to_json(self) -> dict[str, Any]:
        return {
            "median": self.median.to_json(),
            "spread": self.std.to_json(),
            "srcc_interval": None if self.srcc_interval is None else list(self.srcc_interval),
            "undefined": self.undefined,
            "withheld": self.withheld,
            "n_test": list(self.n_test),
        }


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of the test part of one split, and how many videos its parts have."""

    seed: int
    n_train: int
    n_val: int
    n_test: int
    metrics: MetricSummary

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("seed", "n_train", "n_val", "n_test")}
        return {**counts, **self.metrics.to_json()}


@dataclass(frozen=True)
class Oracle:
    """The SRCC that choosing the epoch on the test part would have reported: not a result."""

    srcc: float | None
    label: str = "epoch chosen on the test part: optimistic, not a result"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AxisEvaluation:
    """Metrics of a further label, on the same videos and splits as those of the main one."""

    splits: list[SplitMetrics]
    summary: SplitSummary
    """Its parts are keys of the JSON document."""

    def to_json(self) -> dict[str, Any]:
        return {"splits": [split.to_json() for split in self.splits], **self.summary.to_json()}


@dataclass(frozen=True)
class Evaluation(ShownInNotebooks):
    """Metrics of a run on the test part of every split, and on which videos they stand.

    `to_json` is the document of ``vqa-fuse train --json`` and ``vqa-fuse evaluate --json``.
    """

    dataset: str
    fusion: str
    """The spec of the fusion, or of a baseline."""
    protocol: str
    label: str
    """What the labels are: ``opinion``, or the name of the metric that made them."""
    n_videos: int
    """N, the videos that were used."""
    n_dataset: int
    """The videos of the dataset's manifest."""
    missing: list[str]
    """Ids of the manifest that have no features."""
    not_finite: dict[str, int]
    """Feature columns with values that are not finite, and in how many videos."""
    notes: list[str]
    """Cautions about the splits, such as contents that straddle them."""
    opinions: list[str]
    """The datasets from whose opinions the features learnt."""
    splits: list[SplitMetrics]
    summary: SplitSummary
    """Of the splits; its parts are keys of the JSON document."""
    oracle: Oracle | None
    """None without ``oracle_epoch``."""
    run: Path
    """The folder of the run."""
    was_finished: bool = False
    """Whether `train` found the run finished and trained nothing; not in the document."""
    axes: dict[str, AxisEvaluation] = field(default_factory=dict)
    """Of further labels, by their names."""

    @property
    def median(self) -> MetricSummary:
        """Over the splits."""
        return self.summary.median

    @property
    def std(self) -> MetricSummary:
        """Standard deviation over the splits; the JSON document calls it ``spread``."""
        return self.summary.std

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "fusion": self.fusion,
            "protocol": self.protocol,
            "label": self.label,
            "n_videos": self.n_videos,
            "n_dataset": self.n_dataset,
            "missing": self.missing,
            "not_finite": self.not_finite,
            "notes": self.notes,
            "opinions": self.opinions,
            "splits": [split.to_json() for split in self.splits],
            **self.summary.to_json(),
            "axes": {name: axis.to_json() for name, axis in self.axes.items()},
            "oracle": None if self.oracle is None else self.oracle.to_json(),
            "run": str(self.run),
        }


def defined(value: float) -> float | None:
    """JSON has no NaN: an undefined metric is null there."""
    return None if np.isnan(value) else float(value)


@dataclass(frozen=True)
class ComparisonRow:
    """One run of a comparison."""

    name: str
    """The fusion, and of the other parts those that are not the default."""
    fusion: str
    pooling: str
    temporal: str
    """The temporal encoder."""
    summary: SplitSummary
    """Its parts are keys of the JSON document."""
    opinions: list[str]
    """The datasets from whose opinions the features learnt."""
    paired: PairedStatistics | None
    """Against the reference; None for the reference itself."""
    run: Path
    axes: dict[str, SplitSummary] = field(default_factory=dict)
    """Of further labels, by their names; without paired statistics."""

    def to_json(self) -> dict[str, Any]:
        paired = self.paired
        corrected = None if paired is None else paired.corrected
        return {
            "name": self.name,
            "fusion": self.fusion,
            "pooling": self.pooling,
            "temporal": self.temporal,
            **self.summary.to_json(),
            "opinions": self.opinions,
            "difference": None if paired is None else paired.difference,
            "interval": None if paired is None else list(paired.interval),
            "p_value": None if paired is None else paired.p_value,
            "wins": None if paired is None else paired.wins,
            "pairs": None if paired is None else paired.pairs,
            "mean_difference": None if corrected is None else corrected.difference,
            "corrected_interval": None if corrected is None else list(corrected.interval),
            "corrected_p_value": None if corrected is None else corrected.p_value,
            "axes": {name: summary.to_json() for name, summary in self.axes.items()},
            "run": str(self.run),
        }


@dataclass(frozen=True)
class Comparison(ShownInNotebooks):
    """Runs on the same splits, by median SRCC, best first.

    `to_json` is the document of ``vqa-fuse compare --json``.
    """

    dataset: str
    label: str
    protocol: str
    n_videos: int
    n_dataset: int
    missing: list[str]
    n_splits: int
    notes: list[str]
    reference_run: Path
    """The run that differences are against; the JSON document calls it ``baseline``."""
    reference: str
    """Its name."""
    rows: list[ComparisonRow]
    winner: Path | None
    """The run whose SRCC is higher than that of every other row, corrected p < .05 against each;
    None where there is none."""

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "label": self.label,
            "protocol": self.protocol,
            "n_videos": self.n_videos,
            "n_dataset": self.n_dataset,
            "missing": self.missing,
            "n_splits": self.n_splits,
            "notes": self.notes,
            "baseline": str(self.reference_run),
            "reference": self.reference,
            "winner": None if self.winner is None else str(self.winner),
            "which_p_value": WHICH_TO_BELIEVE,
            "rows": [row.to_json() for row in self.rows],
        }


@dataclass(frozen=True)
class AblationResult(ShownInNotebooks):
    """The comparison of every variant; `to_json` is the document of ``vqa-fuse ablate --json``."""

    comparison: Comparison
    seconds: dict[Path, float]
    """How long each run took."""
    impossible: dict[str, str]
    """Variants that the tracks cannot feed, with the reason."""
    not_finite: dict[str, int]
    """Feature columns with values that are not finite, and in how many videos."""
    folder: Path

    def to_json(self) -> dict[str, Any]:
        document = self.comparison.to_json()
        document["rows"] = [
            {**row.to_json(), "seconds": self.seconds[row.run]} for row in self.comparison.rows
        ]
        return {
            **document,
            "impossible": self.impossible,
            "folder": str(self.folder),
            "not_finite": self.not_finite,
        }


@dataclass(frozen=True)
class CurvePoint:
    """A head trained on a part of the labels, from random weights and perhaps from a run's heads.

    ``comparison``: of both, or of the one, on the same splits.
    """

    labels: int
    """Percent of the training and validation videos of each split."""
    n_labelled: tuple[int, int]
    """The videos of both parts in the smallest and in the largest split."""
    comparison: Comparison

    @property
    def scratch(self) -> ComparisonRow:
        """From random weights."""
        (row,) = (row for row in self.comparison.rows if row.run == self.comparison.reference_run)
        return row

    @property
    def tuned(self) -> ComparisonRow | None:
        """From a run's heads, with the paired difference to `scratch`."""
        reference = self.comparison.reference_run
        return next((row for row in self.comparison.rows if row.run != reference), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "n_labelled": list(self.n_labelled),
            "scratch": self.scratch.to_json(),
            "fine_tuned": None if self.tuned is None else self.tuned.to_json(),
        }


@dataclass(frozen=True)
class LearningCurve(ShownInNotebooks):
    """What labels are worth; `to_json` is the document of ``vqa-fuse learning-curve --json``.

    ``source``: the datasets that the heads learnt from before, none from random weights.
    """

    source: list[str]
    points: list[CurvePoint]
    folder: Path

    def to_json(self) -> dict[str, Any]:
        shared = self.points[-1].comparison
        return {
            "dataset": shared.dataset,
            "label": shared.label,
            "protocol": shared.protocol,
            "n_videos": shared.n_videos,
            "n_dataset": shared.n_dataset,
            "missing": shared.missing,
            "notes": shared.notes,
            "from": self.source,
            "which_p_value": WHICH_TO_BELIEVE,
            "rows": [point.to_json() for point in self.points],
            "folder": str(self.folder),
        }


@dataclass(frozen=True)
class ScaleMetrics:
    """Metrics on one scale of the scores; None where undefined or withheld. RMSE is in units of the
    labels.
    """

    srcc: float | None
    krcc: float | None
    plcc: float | None
    rmse: float | None


@dataclass(frozen=True)
class VideoPrediction:
    """The label of a video and the score of the model, each on its own scale."""

    id: str
    mos: float
    predicted: float


@dataclass(frozen=True)
class CrossDatasetEvaluation:
    """A model on all videos of a dataset that it was not trained on.

    `to_json` is the document of ``vqa-fuse evaluate RUN --dataset OTHER --json``.
    """

    run: Path
    trained_on: str
    scale: tuple[float, float]
    """Of the labels that it was trained on."""
    better: str
    """Which end of it is the better quality: ``higher`` or ``lower``."""
    dataset: str
    label: str
    other_scale: tuple[float, float]
    """Of the other dataset's labels."""
    other_better: str
    """Which end of that is the better quality."""
    label_range: tuple[float, float]
    """Lowest and highest label of the videos that were scored."""
    score_range: tuple[float, float]
    """Lowest and highest score as it comes."""
    fusion: str
    protocol: str
    n_videos: int
    n_dataset: int
    missing: list[str]
    opinions: list[str]
    """The datasets from whose opinions the features learnt."""
    refitted: ScaleMetrics
    """After a logistic that is fitted on the other dataset's labels, as the field reports them."""
    as_is: ScaleMetrics
    """Of the scores as they come, on the scale of the run's own dataset; mirrored within that scale
    where the directions of the labels are opposite, as for ``refitted``.
    """
    srcc_interval: tuple[float, float] | None
    """95 % interval of the SRCC."""
    predictions: list[VideoPrediction]
    """Scores as they come, never mirrored."""

    @property
    def is_mirrored(self) -> bool:
        """Whether better quality is the higher label of one dataset and the lower of the other."""
        return self.better != self.other_better

    def to_json(self) -> dict[str, Any]:
        ranges = ("scale", "other_scale", "label_range", "score_range", "srcc_interval")
        lists = {name: value and list(value) for name in ranges for value in [getattr(self, name)]}
        return {**asdict(self), "run": str(self.run), **lists}


@dataclass(frozen=True)
class JointTraining:
    """Runs on several datasets at once, one for each, and their models on held-out datasets.

    `to_json` is the document of ``vqa-fuse train --json`` with several ``--dataset`` or with
    ``--test-on``.
    """

    evaluations: list[Evaluation]
    """Of each dataset; the JSON document calls them ``datasets``."""
    held_out: list[CrossDatasetEvaluation]
    """Of each run on each held-out dataset."""

    def to_json(self) -> dict[str, Any]:
        return {
            "datasets": [evaluation.to_json() for evaluation in self.evaluations],
            "held_out": [evaluation.to_json() for evaluation in self.held_out],
        }


@dataclass(frozen=True)
class Reproduction:
    """What differs between a run and the same training done again.

    `to_json` is the document of ``vqa-fuse reproduce --json``.
    """

    run: Path
    equal: bool
    """Whether every prediction is equal to the last bit."""
    n_predictions: int
    n_different: int
    """The JSON document calls it ``predictions``."""
    largest: float
    """The largest difference, in units of the labels."""
    videos: list[str]
    """The first of those that differ."""
    changed: list[str]
    """What is not as it was: libraries, the recipe, the features, the labels."""

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run),
            "equal": self.equal,
            "n_predictions": self.n_predictions,
            "predictions": self.n_different,
            "largest": self.largest,
            "videos": self.videos,
            "changed": self.changed,
        }


@dataclass(frozen=True)
class ListedRun:
    """A finished run. ``date`` and ``command`` are empty where an early version made it; ``srcc``
    and ``plcc`` are medians over ``splits``, None where undefined or withheld.
    """

    run: Path
    name: str
    """Its fusion, and those other parts that are not the default."""
    date: str
    command: str
    dataset: str
    protocol: str
    """As it was asked for."""
    n_videos: int
    n_dataset: int
    splits: int
    srcc: float | None
    plcc: float | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "run": str(self.run)}


@dataclass(frozen=True)
class OtherRun:
    """A folder of a run without results, and why it has none."""

    run: Path
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"run": str(self.run), "reason": self.reason}


@dataclass(frozen=True)
class RunList:
    """What `list_runs` found; ``left_out`` counts the finished runs that the filter leaves out.

    `to_json` is the document of ``vqa-fuse runs --json``.
    """

    folders: list[Path]
    runs: list[ListedRun]
    left_out: int
    unfinished: list[OtherRun]
    damaged: list[OtherRun]

    def to_json(self) -> dict[str, Any]:
        return {
            "folders": [str(folder) for folder in self.folders],
            "runs": [run.to_json() for run in self.runs],
            "left_out": self.left_out,
            "unfinished": [run.to_json() for run in self.unfinished],
            "damaged": [run.to_json() for run in self.damaged],
        }

    def to_csv(self) -> str:
        """A row for each finished run, with the keys of its JSON object as columns."""
        text = io.StringIO()
        columns = [field.name for field in fields(ListedRun)]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.to_json() for run in self.runs)
        return text.getvalue()


def moment_of(date: str) -> datetime:
    """The earliest there is where a date is missing, or is none."""
    try:
        moment = datetime.fromisoformat(date)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def day_and_time(date: str) -> str:
    """``2026-11-30 14:05`` in UTC; empty where there is no date."""
    moment = moment_of(date)
    return "" if moment.year == 1 else moment.strftime("%Y-%m-%d %H:%M")
