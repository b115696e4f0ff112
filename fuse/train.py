"""A run: a head on every split of a protocol, its predictions and record, and a model refitted for
scoring.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from vqa_twostage.fuse.data import Dataset, Side, check_same_frames
from vqa_twostage.fuse.evaluate import evaluate, evaluate_predictions
from vqa_twostage.fuse.joint import identity_of, with_others
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.learning.attention import attention_table, gates_table
from vqa_twostage.fuse.learning.fine_tune import Start
from vqa_twostage.fuse.learning.finished_splits import FinishedSplits
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.fit_all import fit_all
from vqa_twostage.fuse.learning.fit_groups import Fit
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.recipe import RECIPE
from vqa_twostage.fuse.learning.scorer import Scorer, refit
from vqa_twostage.fuse.learning.sides import named, track_names
from vqa_twostage.fuse.opinions import of_joint_training
from vqa_twostage.fuse.options import Resources, TrainOptions
from vqa_twostage.fuse.published_scores import load_for, read_by, score_of
from vqa_twostage.fuse.reporting import markdown
from vqa_twostage.fuse.reporting.plots import scatter
from vqa_twostage.fuse.results import Evaluation
from vqa_twostage.fuse.run_record import (
    AxisIdentity,
    CacheLocation,
    JointDataset,
    RunIdentity,
    RunRecord,
    RunSpecs,
)
from vqa_twostage.fuse.runs import Run, label_columns
from vqa_twostage.fuse.source_run import SourceRun
from vqa_twostage.fuse.splits import ChosenProtocol, Split, labelled, notes
from vqa_twostage.fuse.streams import Shapes, Streams
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES
from vqa_twostage.pipeline.files import replaced, write_text
from vqa_twostage.pipeline.invocation import invocation, started_as
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.ray_cluster import Workers
from vqa_twostage.pipeline.versions import library_versions

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Called with the number of splits that are done, and of all."""


def no_progress(done: int, total: int) -> None:
    """For who does not want to know."""


@started_as("Python, train")
@bar_in_notebook("train")
def train(
    cache: str | Path,
    options: TrainOptions | None = None,
    dataset: str | None = None,
    run: str | Path | None = None,
    resources: Resources | None = None,
    on_progress: OnProgress = no_progress,
    again: bool = False,
) -> Evaluation:
    """Trains and tests a head on the features in ``cache``, and writes a run.

    Interrupted, it keeps the splits that it finished, and the same call goes on with them. A run
    that is finished is reported, and not trained again.

    Args:
        cache: The folder that `extract.run.extract_dataset` filled.
        options: Which head, which splits, which recipe; None is the defaults.
        dataset: A dataset in the cache; None where there is only one.
        run: The folder to write; None is ``runs/<dataset>-<fusion>-<digest>``, the digest being
            that of everything that decides the predictions.
        resources: What it may take of the machine; None is one process and a quarter of the memory.
        on_progress: Called with the number of splits that are done, and of all; left out, a
            notebook shows a bar.
        again: Train a finished run again, and from the first split.

    Returns:
        The metrics. The folder ``run`` of the result also holds predictions, record, plots and the
        model.

    Raises:
        UsageError: A spec, a dataset or a track does not exist or does not fit, features know the
            labels (`fuse.leakage`), or ``run`` holds a run with other options; nothing was trained.
    """
    options, resources = options or TrainOptions(), resources or Resources()
    data, options, source = load(cache, dataset, options, resources.max_ram)
    check_leakage(data, options)
    if run is not None and Run(run).complete:
        existing = Run(run).record()
        if (existing.dataset, existing.options) != (data.manifest.name, options):
            raise UsageError(
                f"{run} holds another run ({existing.specs.fusion} on {existing.dataset}); "
                "give another --run, or remove it first"
            )
    plan = Plan.of(data, options, source)
    folder = Path("runs") / plan.name if run is None else Path(run)
    if not again and _is_finished(Run(folder), data, plan):
        return replace(evaluate(folder), was_finished=True)
    _tell_what_changed(Run(folder), data)
    return train_plan(data, plan, folder, on_progress, resources.workers, again)


def load(
    cache: str | Path, dataset: str | None, options: TrainOptions, max_ram: int | None = None
) -> tuple[Dataset, TrainOptions, SourceRun | None]:
    """The features that ``options`` ask for, with the other datasets that they name; where they
    start from a run, also that run, and the options with its head. UsageError as `train`.
    """
    if options.start_from is not None:
        source = SourceRun.read(options.start_from)
        options = source.with_head(options)
        return source.load_dataset(Path(cache), dataset, max_ram), options, source
    reads = Head.of(options).reads if options.baseline is None else Streams(AVERAGES, AVERAGES)
    data = read_by(load_for(Path(cache), dataset, [options], reads, max_ram), options)
    return with_others(data, options.joint_with, reads, max_ram), options, None


def train_run(
    data: Dataset,
    options: TrainOptions,
    run: Path | None = None,
    on_progress: OnProgress = no_progress,
    workers: Workers = 1,
    again: bool = False,
) -> Evaluation:
    """`train_plan` from random weights."""
    plan = Plan.of(data, options)
    folder = run or Path("runs") / plan.name
    return train_plan(data, plan, folder, on_progress, workers, again)


def train_plan(
    data: Dataset,
    plan: Plan,
    run: Path,
    on_progress: OnProgress = no_progress,
    workers: Workers = 1,
    again: bool = False,
) -> Evaluation:
    """`train` on features that are loaded, whether the run is finished or not: every split of the
    protocol, then a model refitted on all videos. Splits of an interrupted training are taken up
    unless ``again``.
    """
    start = time.perf_counter()
    if run.exists() and not run.is_dir():
        raise UsageError(f"{run} is a file, and a run is a folder; give another --run")
    finished = FinishedSplits(Run(run).finished_splits_folder, plan.identity.digest, *data.content)
    if again:
        finished.remove()
    fitted = fit_plan(data, plan, workers, on_progress, finished)
    keeps = plan.options.keeps_model
    threads = workers if isinstance(workers, int) else 1
    scorer = refit(data, plan.options, plan.splits, fitted, plan.start, threads) if keeps else None
    evaluation = save_run(run, data, plan, fitted, scorer, time.perf_counter() - start)
    finished.remove()
    return evaluation


def _is_finished(run: Run, data: Dataset, plan: Plan) -> bool:
    """Whether the folder holds the very run that the plan would give."""
    files = [run.record_file, run.predictions_file]
    files += [run.model_file] if plan.options.keeps_model else []
    if not all(file.is_file() for file in files):
        return False
    record = run.record()
    same_features = record.content == data.content
    return same_features and record.identity.digest == plan.identity.digest


def _tell_what_changed(run: Run, data: Dataset) -> None:
    """Warns where a run of the same name is replaced because its labels or features changed."""
    if not (run.complete and run.predictions_file.is_file()):
        return
    old = run.predictions().drop_duplicates("id").set_index("id")["mos"]
    new = pd.Series(data.mos, index=data.manifest.rows["id"])
    both = old.index.intersection(new.index)
    changes = []
    if count := int((old[both] != new[both]).sum()):
        changes.append(f"{count} label{'s' if count > 1 else ''} changed")
    if count := len(old.index.symmetric_difference(new.index)):
        changes.append(f"{count} video{'s' if count > 1 else ''} came or went")
    if run.record().content != data.content:
        changes.append("features changed")
    if changes:
        log.warning("%s is trained again: %s since", run.folder, ", ".join(changes))


def fit_plan(
    data: Dataset,
    plan: Plan,
    workers: Workers,
    on_progress: OnProgress = no_progress,
    finished: FinishedSplits | None = None,
) -> list[Fitted]:
    """Every split of a plan, in order; those that are ``finished`` are taken from there, and the
    others kept there.
    """
    kept = [] if finished is None else [finished]
    ((_, fitted),) = fit_plans(data, [plan], workers, on_progress, kept)
    return fitted


def fit_plans(
    data: Dataset,
    plans: Sequence[Plan],
    workers: Workers,
    on_progress: OnProgress = no_progress,
    finished: Sequence[FinishedSplits] = (),
) -> Generator[tuple[int, list[Fitted]], None, None]:
    """`fit_plan` of several plans: the number of each plan and its splits, as soon as they are
    done.

    ``finished``: of each plan, or of none.
    """
    done: list[dict[int, Fitted]] = [{} for _ in plans]
    for number, kept in enumerate(finished):
        done[number] = kept.load(len(plans[number].splits))
    total = sum(len(plan.splits) for plan in plans)
    on_progress(sum(map(len, done)), total)
    missing = [
        (number, place)
        for number, plan in enumerate(plans)
        for place in range(len(plan.splits))
        if place not in done[number]
    ]
    for number, plan in enumerate(plans):
        if len(done[number]) == len(plan.splits):
            yield number, [done[number][place] for place in range(len(plan.splits))]
    fits = [
        Fit(plans[number].splits[place], plans[number].options, plans[number].start)
        for number, place in missing
    ]
    with closing(fit_all(data, fits, workers)) as results:
        for which, fitted in results:
            number, place = missing[which]
            done[number][place] = fitted
            if finished:
                finished[number].save(place, fitted)
            on_progress(sum(map(len, done)), total)
            if len(done[number]) == len(plans[number].splits):
                yield number, [done[number][place] for place in range(len(done[number]))]


@dataclass(frozen=True)
class Plan:
    """What a run will do, checked before anything is trained."""

    options: TrainOptions
    splits: list[Split]
    notes: list[str]
    """Cautions about the splits."""
    specs: RunSpecs
    identity: RunIdentity
    name: str
    """The default name of the run's folder; its digest is that of the identity."""
    source: SourceRun | None = None
    """What training starts from; None is random weights."""
    start: Start | None = None
    """The heads of ``source``."""

    @staticmethod
    def of(data: Dataset, options: TrainOptions, source: SourceRun | None = None) -> Plan:
        """UsageError where a spec is wrong, or does not fit the videos or the tracks, or where the
        heads of ``source`` know videos that are tested.
        """
        if source is None and options.start_from is not None:
            raise UsageError(
                f"only train and learning-curve start from a run; leave out {options.start_from}"
            )
        protocol = ChosenProtocol.of(options.protocol)
        divided, cautions = _split(data, protocol, options.seed)
        rows = data.manifest.rows
        divided = [labelled(split, rows, options.labels) for split in divided]
        if source is not None:
            source.require_unseen(data, divided, options)
        model = _plan_head(data, options) if options.baseline is None else _plan_baseline(options)
        short = model.short_specs
        identity = RunIdentity(
            full_specs=[str(plugin.full_spec) for plugin in model.plugins],
            plugin_versions=[plugin.version for plugin in (*model.plugins, protocol.plugin)],
            recipe=model.recipe,
            loss=short["loss"],
            protocol=protocol.identity,
            seed=options.seed,
            oracle_epoch=options.oracle_epoch,
            manifest=data.manifest.digest,
            splits=[split.digest(rows["id"]) for split in divided],
            spatial=data.identities.spatial,
            temporal=data.identities.temporal,
            start=None if source is None else source.identity(options),
            joint=_joint(data, options),
            axes=_axes(data, options),
        )
        fusion = model.plugins[0].short_spec.filename
        return Plan(
            options=options,
            splits=divided,
            notes=cautions,
            specs=RunSpecs(**short, protocol=protocol.full_spec),
            identity=identity,
            name=f"{data.manifest.name}-{fusion}-{identity.digest}",
            source=source,
            start=None if source is None else source.start(data, options),
        )


def _joint(data: Dataset, options: TrainOptions) -> list[JointDataset] | None:
    """UsageError where ``options`` name other datasets than were loaded, or none can be used."""
    if options.joint_with is None:
        return None
    if options.baseline is not None:
        raise UsageError(
            f"--baseline {options.baseline} is trained on one dataset; leave it out to train a "
            "head on several"
        )
    if len(data.others) != len(options.joint_with):
        raise UsageError("joint_with is of train alone: ablate compares heads on one dataset")
    return identity_of(data)


def _axes(data: Dataset, options: TrainOptions) -> list[AxisIdentity] | None:
    """UsageError where a further label is not there, lacks labels, or cannot be learnt so."""
    if options.axes is None:
        return None
    listed = ", ".join(options.axes)
    if options.joint_with is not None:
        raise UsageError(
            f"heads learn from several datasets by their main labels alone; leave out --axes "
            f"{','.join(options.axes)}, or train on {data.manifest.name} alone"
        )
    if score_of(options):
        raise UsageError(
            f"{options.baseline} is the score of a model for one label, and says nothing of "
            f"{listed}; leave out --axes"
        )
    for name in options.axes:
        data.of_axis(name)
    return [AxisIdentity(name, data.manifest.axis_digest(name)) for name in options.axes]


class _PlannedModel(NamedTuple):
    """What of a head or a baseline goes into a plan; the first plug-in names the run."""

    plugins: tuple[spec.Plugin, ...]
    short_specs: dict[str, str]
    recipe: dict[str, int | float]


def _plan_head(data: Dataset, options: TrainOptions) -> _PlannedModel:
    head = Head.of(options)
    parse_loss(options.loss)
    # a head that does not fit these tracks is refused here, before an hour of training
    with torch.random.fork_rng(devices=[]):
        head.build(data.features.map(_shapes, head.reads))
    if head.reads_frames:
        check_same_frames(data)
    short = {
        "fusion": str(head.fusion.short_spec),
        "pooling": str(head.pooling.short_spec),
        "temporal_pooling": str(head.temporal_pooling.short_spec),
        "temporal_encoder": str(head.temporal_encoder.short_spec),
        "loss": options.loss,
        "average_with": options.average_with,
    }
    chosen = {} if options.epochs is None else {"epochs": options.epochs}
    recipe = {**asdict(RECIPE), **chosen, "members": options.members}
    return _PlannedModel(head.plugins, short, recipe)


def _plan_baseline(options: TrainOptions) -> _PlannedModel:
    plugin = spec.resolve("fuse.baselines", str(options.baseline))
    parts = ("pooling", "temporal_pooling", "temporal_encoder", "loss", "average_with")
    unused = dict.fromkeys(parts, "")
    return _PlannedModel((plugin,), {"fusion": str(plugin.short_spec), **unused}, {})


def _split(data: Dataset, protocol: ChosenProtocol, seed: int) -> tuple[list[Split], list[str]]:
    """The splits as rows of ``data``, and cautions about them."""
    # random divisions are of the videos that have features; in a published division a missing
    # video moves no other
    published = not protocol.content_disjoint
    rows = data.everything if published else data.manifest.rows
    splits = protocol.splits(rows, seed)
    cautions = notes(splits, rows)
    if published:
        splits = [with_features(split, data) for split in splits]
    return splits, cautions


def with_features(split: Split, data: Dataset) -> Split:
    """A split of the whole manifest, restricted to the N videos that have features; their row
    numbers.
    """
    row_of = pd.Series(np.arange(len(data.mos)), index=data.manifest.rows["id"])
    parts = {}
    for name in ("train", "val", "test"):
        ids = data.everything["id"].iloc[getattr(split, name)]
        parts[name] = np.array(row_of[ids[ids.isin(row_of.index)]])
        if not len(parts[name]):
            raise UsageError(
                f"split {split.seed}: no video of its {name} part has features; extract more"
            )
    return Split(split.seed, **parts)


def save_run(
    run: Path,
    data: Dataset,
    plan: Plan,
    fitted: list[Fitted],
    scorer: Scorer | None,
    seconds: float,
) -> Evaluation:
    """Writes the predictions, the tables, the model and the plot, and last the record.

    The metrics are those of the predictions as they were saved.
    """
    target = Run(run)
    helped = sum(result.joint for result in fitted)
    record = RunRecord(
        dataset=data.manifest.name,
        label=data.manifest.label,
        scale=data.manifest.scale,
        specs=plan.specs,
        options=plan.options,
        identity=plan.identity,
        content=data.content,
        cache=CacheLocation.of(run, *data.paths),
        n_dataset=len(data.everything),
        missing=data.missing,
        not_finite=data.not_finite,
        notes=[*plan.notes, *of_joint_training(plan.identity, helped)],
        chosen_epochs=[result.epoch for result in fitted],
        oracle_srcc=[result.oracle_srcc for result in fitted]
        if plan.options.oracle_epoch
        else None,
        versions=library_versions(),
        seconds=round(seconds, 3),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=invocation(),
    )
    target.clear()  # what an earlier run left in this folder
    if plan.source is not None:
        with replaced(target.source_model_file) as aside:
            aside.write_bytes(plan.source.model)
    target.write_predictions(predictions_table(data, plan.splits, fitted))
    for path, rows in (
        (target.attention_file, attention_table(data, plan.splits, fitted)),
        (target.gates_file, gates_table(data, plan.splits, fitted)),
        (target.validation_curve_file, validation_table(plan.splits, fitted)),
    ):
        if rows is not None:
            write_text(path, rows.to_csv(index=False))
    if scorer is not None:
        scorer_file.save(scorer, run)
    predictions = target.written_predictions()
    evaluation = evaluate_predictions(record, predictions, run)
    scatter(predictions, evaluation, target.scatter_file)
    write_text(target.metrics_file, markdown.of_run(evaluation))
    medians = evaluation.median.to_json()
    record = replace(record, n_videos=evaluation.n_videos, medians=medians)
    target.write_record(record)  # last: a folder with a record is a whole run
    return evaluation


def predictions_table(data: Dataset, divided: list[Split], fitted: list[Fitted]) -> pd.DataFrame:
    """A row for each video and split, without videos that are in no part: ``split, part, id, group,
    mos, predicted``, and two columns for each further label (`fuse.runs.label_columns`).
    """
    rows, tables = data.manifest.rows, []
    for split, result in zip(divided, fitted, strict=True):
        part = np.full(len(rows), "", object)
        for name, members in (("train", split.train), ("val", split.val), ("test", split.test)):
            part[members] = name
        columns = {
            "split": split.seed,
            "part": part,
            "id": rows["id"],
            "group": rows["group"],
            "mos": rows["mos"],
            "predicted": result.predicted,
        }
        for name, of_axis in result.axes.items():
            labels, predicted = label_columns(name)
            columns |= {
                labels: rows[data.manifest.axis(name).column],
                predicted: of_axis.predicted,
            }
        tables.append(pd.DataFrame(columns)[part != ""])
    return pd.concat(tables, ignore_index=True)


def validation_table(divided: list[Split], fitted: list[Fitted]) -> pd.DataFrame | None:
    """The SRCC of the validation part by epoch: ``split, epoch, srcc``; None of a baseline, which
    has no epochs.
    """
    rows = [
        (split.seed, epoch, score)
        for split, result in zip(divided, fitted, strict=True)
        for epoch, score in result.validation_curve.items()
    ]
    return pd.DataFrame(rows, columns=["split", "epoch", "srcc"]) if rows else None


def _shapes(side: Side, statistics: tuple[str, ...]) -> Shapes:
    """Of all tracks of a stream."""
    names = track_names([track.identity for track in side])
    return {
        named(label, name): tuple(array.shape[2:])
        for label, track in zip(names, side, strict=True)
        for name, array in track.only(statistics).arrays.items()
    }
