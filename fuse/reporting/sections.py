"""One run in a report: metrics, plots, largest errors, gates, validation curve, identity, commands.

`RunToReport` is what is read of a run, `Section` what the page's template shows of it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from markupsafe import Markup

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.metrics import apply_logistic, fit_logistic, srcc
from vqa_twostage.fuse.options import OF_SOURCE
from vqa_twostage.fuse.reporting import charts
from vqa_twostage.fuse.reporting.formatting import (
    few_tested,
    few_videos,
    median_and_spread,
    n_videos,
    number,
    undefined_splits,
)
from vqa_twostage.fuse.reporting.thumbnails import FrameStrip
from vqa_twostage.fuse.results import (
    METRICS,
    Evaluation,
    MetricSummary,
    day_and_time,
    defined,
)
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError

LARGEST_ERRORS = 8  # videos that are listed
SELECTED = 40  # points of the first run that have frames, its largest errors among them
MAX_POINTS, MAX_POINTS_OF_RUN, MIN_POINTS_OF_RUN = 15_000, 2_000, 100  # drawn
GATE_RANGES = 5  # of the labels
FEW_IN_A_ROW = 20  # videos that a mean of gates is of

# a video of a track
VideoKey = tuple[TrackPath, str]


@dataclass(frozen=True, eq=False)
class RunToReport:
    """What a report reads of a run.

    ``videos``: columns ``id, mos, predicted`` of each tested video, the mean over the splits that
    tested it, the largest error first. ``track``: the spatial track, whose frames are shown; None
    where the cache is not found; ``cache_problem`` is the reason.
    """

    run: Run
    record: RunRecord
    evaluation: Evaluation
    videos: pd.DataFrame
    track: TrackPath | None
    cache_problem: str

    @staticmethod
    def read(folder: Path, cache: Path | None) -> RunToReport:
        """UsageError where ``folder`` is not a run."""
        run = Run(folder)
        predictions = run.predictions()
        tested = predictions[predictions["part"] == "test"]
        videos = tested.groupby("id", sort=False)[["mos", "predicted"]].mean().reset_index()
        errors = (videos["predicted"] - videos["mos"]).abs()
        order = errors.sort_values(ascending=False, kind="stable").index
        track, cache_problem = None, ""
        try:
            track = run.tracks(cache).spatial[0]
        except UsageError as error:
            cache_problem = str(error)
        return RunToReport(
            run,
            run.record(),
            evaluate(run.folder),
            videos.loc[order].reset_index(drop=True),
            track,
            cache_problem,
        )

    @property
    def cache(self) -> str:
        """The cache where it is, else where it was."""
        return self.record.cache.absolute if self.track is None else str(self.track.cache)

    def largest_errors(self) -> list[str]:
        return list(self.videos["id"][:LARGEST_ERRORS])

    def likely_selected(self) -> list[str]:
        """Videos that a reader is likely to select: those with the largest errors, the lowest and
        the highest predictions.
        """
        by_prediction = self.videos.sort_values("predicted")["id"]
        part = SELECTED // 5
        ids = [*self.videos["id"][: 3 * part], *by_prediction[:part], *by_prediction[-part:]]
        return list(dict.fromkeys(ids))


@dataclass(frozen=True)
class PlottedVideo:
    """A tested video. ``key`` names its frames in the page, None where it has none."""

    id: str
    mos: float
    predicted: float
    key: str | None


@dataclass(frozen=True)
class GateRow:
    """``label_range`` as text; ``values``: the mean of each gate over ``count`` videos, and the
    width of its bar in percent.
    """

    label_range: str
    count: int
    values: list[tuple[float, float]]


@dataclass(frozen=True)
class GateTable:
    kind: str
    columns: list[str]
    rows: list[GateRow]

    @property
    def overall(self) -> str:
        """The mean of each column over all videos: ``tsm 0.47``."""
        total = sum(row.count for row in self.rows)
        means = [
            sum(row.count * row.values[place][0] for row in self.rows) / total
            for place in range(len(self.columns))
        ]
        return ", ".join(
            f"{name} {mean:.2f}" for name, mean in zip(self.columns, means, strict=True)
        )

    @property
    def few(self) -> str:
        """A caution where each row rests on few videos."""
        least = min(row.count for row in self.rows)
        return f"Rows are means of {least} videos, which is few." if least < FEW_IN_A_ROW else ""


@dataclass(frozen=True)
class FewVideos:
    """Cautions below figures that rest on few videos; empty where there are many."""

    tested: str
    """Of the metrics."""
    plotted: str
    """Of the scatter plot."""
    validated: str
    """Of the validation curves."""


@dataclass(frozen=True)
class Section:
    """What the page shows of a run.

    ``metric_rows``: a title and each metric as text; ``axes``: the same of each further label.
    ``attention``: by the key of a video, the share of each shown frame. Charts are SVG.
    """

    name: str
    evaluation: Evaluation
    n_videos: str
    scale: str
    metric_rows: list[tuple[str, dict[str, str]]]
    axes: list[tuple[str, dict[str, str]]]
    notes: list[str]
    scatter: Markup
    logistic: str | None
    points: list[PlottedVideo]
    tested: int
    largest_errors: list[PlottedVideo]
    attends: bool
    attention: dict[str, list[float]]
    gates: list[GateTable]
    validation_curve: Markup | None
    few: FewVideos
    made: str
    """The day and time; empty where the record has none."""
    command: str
    """What was typed; empty likewise."""
    identity: str
    versions: dict[str, str]
    tracks: list[str]
    train_command: str
    reproduce_command: str


def section_of(
    run: RunToReport,
    strips: Mapping[VideoKey, FrameStrip],
    keys: Mapping[VideoKey, str],
    n_runs: int,
) -> Section:
    """The section of one of ``n_runs`` runs; ``keys`` name the ``strips`` in the page."""
    record, evaluation, videos = run.record, run.evaluation, run.videos
    key_of = {name: key for (track, name), key in keys.items() if track == run.track}
    drawn = _drawn(videos, key_of, n_runs)
    points = _points(drawn, key_of)
    name = record.specs.name
    logistic = fit_logistic(videos["predicted"].to_numpy(), videos["mos"].to_numpy())
    attention = run.run.attention()
    shares = {}
    if attention is not None and run.track is not None:
        shares = {
            key: share
            for video, key in key_of.items()
            if (share := _shares(attention, video, strips[run.track, video])) is not None
        }
    notes = [*opinions.sentences(evaluation.opinions, evaluation.dataset), *evaluation.notes]
    if evaluation.summary.undefined:
        notes.append(undefined_splits(evaluation.summary.undefined))
    return Section(
        name=name,
        evaluation=evaluation,
        n_videos=n_videos(evaluation.n_videos, evaluation.n_dataset),
        scale="{:g} to {:g}".format(*record.scale),
        metric_rows=_metric_rows(evaluation),
        axes=[
            (axis, {name: " ".join(median_and_spread(of.summary, name)) for name in METRICS})
            for axis, of in evaluation.axes.items()
        ],
        notes=notes,
        scatter=charts.scatter(
            [(point.predicted, point.mos) for point in _points(drawn, key_of, digits=None)],
            _curve(logistic, videos["predicted"]),
            [point.key is not None for point in points],
            evaluation.label,
            f"{name}: prediction and {evaluation.label} of {len(drawn)} videos; arrow keys go "
            "from point to point",
        ),
        logistic=None
        if logistic is None
        else "β₁ = {:.4g}, β₂ = {:.4g}, β₃ = {:.4g}, β₄ = {:.4g}".format(*logistic),
        points=points,
        tested=len(videos),
        largest_errors=_points(videos[:LARGEST_ERRORS], key_of, digits=None),
        attends=attention is not None,
        attention=shares,
        gates=gate_tables(run.run.gates()),
        validation_curve=_validation_curve(run, name),
        few=_few_videos(run),
        made=day_and_time(record.date),
        command=record.command,
        identity=json.dumps(record.identity.to_json(), indent=2, ensure_ascii=False),
        versions=record.versions,
        tracks=[f"{run.cache}/{file}" for file in [*record.cache.spatial, *record.cache.temporal]],
        train_command=train_command(run),
        reproduce_command=f"vqa-fuse reproduce {shlex.quote(str(run.run.folder))}",
    )


def _few_videos(run: RunToReport) -> FewVideos:
    videos, evaluation = run.videos, run.evaluation
    pooled = srcc(videos["predicted"].to_numpy(), videos["mos"].to_numpy())
    curve = run.run.validation_curve()
    best = np.nan if curve is None else curve.groupby("epoch")["srcc"].median().max()
    validated = min(split.n_val for split in evaluation.splits)
    return FewVideos(
        few_tested(evaluation.summary),
        few_videos("These are", len(videos), defined(pooled)),
        few_videos("The smallest validation part has", validated, defined(best)),
    )


def gate_tables(gates: pd.DataFrame | None) -> list[GateTable]:
    """The mean of each gate over the videos in `GATE_RANGES` equally large ranges of labels; a
    table for each kind of gate.
    """
    if gates is None or gates.empty:
        return []
    parts = np.array_split(gates["mos"].argsort().to_numpy(), min(GATE_RANGES, len(gates)))
    ranges = [gates.iloc[part] for part in parts]
    columns_of: dict[str, list[str]] = {}
    for column in gates.columns[2:]:
        columns_of.setdefault(column.rpartition(".")[0], []).append(column)
    tables = []
    for kind, columns in columns_of.items():
        means = [[float(rows[column].mean()) for column in columns] for rows in ranges]
        largest = max(abs(value) for values in means for value in values) or 1.0
        rows_of_table = [
            GateRow(
                f"{rows['mos'].min():.2f} to {rows['mos'].max():.2f}",
                len(rows),
                [(value, 100 * abs(value) / largest) for value in values],
            )
            for rows, values in zip(ranges, means, strict=True)
        ]
        names = [column.rpartition(".")[2] for column in columns]
        tables.append(GateTable(kind, names, rows_of_table))
    return tables


def train_command(run: RunToReport) -> str:
    """The command that trains such a run again, with every option: defaults may change."""
    options = asdict(run.record.options)
    oracle_epoch, source = options.pop("oracle_epoch"), options.pop("start_from")
    datasets = [run.record.dataset, *(options.pop("joint_with") or ())]
    if source is None:
        options = {name: options[name] for name in options if name not in ("tune", "preparation")}
    else:  # the head and its tracks are those of the run that it started from
        options = {name: options[name] for name in options if name not in OF_SOURCE}
        options["from"] = source
    if options.get("baseline") is not None:  # reads no option of a head
        of_heads = ("spatial", "temporal", "protocol", "seed", "labels", "baseline")
        kept = (*of_heads, "allow_trained_on", "allow_label_like", "axes")
        options = {name: options[name] for name in kept}
    words = ["vqa-fuse", "train"]
    for name in datasets:
        words += ["--dataset", name]
    for name, value in options.items():
        values = value if isinstance(value, tuple) else [] if value is None else [value]
        for each in values:
            words += [f"--{name.replace('_', '-')}", str(each)]
    words += ["--oracle-epoch"] if oracle_epoch else []
    return shlex.join([*words, "--cache", run.cache])


def _metric_rows(evaluation: Evaluation) -> list[tuple[str, dict[str, str]]]:
    summary = evaluation.summary
    median = {name: median_and_spread(summary, name)[0] for name in METRICS}
    if summary.is_withheld:
        return [("median", median)]
    if len(evaluation.splits) == 1:
        spread = {name: median_and_spread(summary, name)[1] for name in METRICS}
        return [("median", median), ("95 % interval", spread)]
    splits = pd.DataFrame([split.metrics.to_json() for split in evaluation.splits]).astype(float)
    others = {
        "spread": evaluation.std,
        "lowest": MetricSummary.of(splits.min()),
        "highest": MetricSummary.of(splits.max()),
    }
    return [("median", median)] + [
        (title, {metric: number(getattr(values, metric)) for metric in METRICS})
        for title, values in others.items()
    ]


def _drawn(videos: pd.DataFrame, key_of: Mapping[str, str], n_runs: int) -> pd.DataFrame:
    """The videos that the plot shows: where they are too many, the largest errors, those with
    frames, and a random choice of the others.
    """
    limit = min(MAX_POINTS_OF_RUN, max(MAX_POINTS // n_runs, MIN_POINTS_OF_RUN))
    if len(videos) <= limit:
        return videos
    always = (videos.index < LARGEST_ERRORS) | videos["id"].isin(key_of)
    others = videos[~always].sample(max(limit - int(always.sum()), 0), random_state=0)
    return pd.concat([videos[always], others])


def _points(
    videos: pd.DataFrame, key_of: Mapping[str, str], digits: int | None = 3
) -> list[PlottedVideo]:
    """Rounded to ``digits``: the page's program shows fewer."""
    rounded = videos if digits is None else videos.round(digits)
    rows = zip(rounded["id"], rounded["mos"].tolist(), rounded["predicted"].tolist(), strict=True)
    return [PlottedVideo(name, mos, predicted, key_of.get(name)) for name, mos, predicted in rows]


def _curve(logistic: Float[np.ndarray, " 4"] | None, predicted: pd.Series) -> charts.Points:
    """The logistic over the range of the predictions."""
    if logistic is None:
        return []
    x = np.linspace(predicted.min(), predicted.max(), 120)
    return list(zip(x.tolist(), apply_logistic(logistic, x).tolist(), strict=True))


def _shares(attention: pd.DataFrame, video: str, strip: FrameStrip) -> list[float] | None:
    """The attention on each frame of a strip; None where it is of other frames."""
    importance = attention.loc[attention["id"] == video, "importance"].tolist()
    if len(importance) != strip.of:
        return None
    return [round(importance[row], 4) for row in strip.rows]


def _validation_curve(run: RunToReport, name: str) -> Markup | None:
    table = run.run.validation_curve()
    if table is None:
        return None
    table = table.dropna().astype({"epoch": float})  # undefined where scores were constant
    if table.empty:
        return None
    curves = {
        int(str(seed)): list(zip(rows["epoch"].tolist(), rows["srcc"].tolist(), strict=True))
        for seed, rows in table.groupby("split")
    }
    seeds = [split.seed for split in run.evaluation.splits]
    chosen_epoch = dict(zip(seeds, run.record.chosen_epochs, strict=True))
    chosen = [
        point
        for seed, points in curves.items()
        for point in points
        if point[0] == chosen_epoch.get(seed)
    ]
    medians = table.groupby("epoch")["srcc"].median()
    median = list(zip(medians.index.tolist(), medians.tolist(), strict=True))
    title = f"{name}: SRCC on validation by epoch, {len(curves)} splits and their median"
    return charts.learning(curves, median, chosen, title)
