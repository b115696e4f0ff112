"""Every combination of fusions, poolings and temporal encoders, and baselines, on the same splits:
one table.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.learning.baseline import check_size
from vqa_twostage.fuse.learning.finished_splits import FinishedSplits
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.published_scores import load_for, read_by, score_of
from vqa_twostage.fuse.reporting import markdown, plots
from vqa_twostage.fuse.results import MAIN_METRICS, AblationResult
from vqa_twostage.fuse.runs import Ablation, Run
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import OnProgress, Plan, fit_plans, no_progress, save_run
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.features import AVERAGES
from vqa_twostage.pipeline.files import sealed, write_json, write_text
from vqa_twostage.pipeline.invocation import started_as
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.ray_cluster import Workers

logger = logging.getLogger(__name__)


def variants(
    options: TrainOptions,
    fusions: list[str],
    poolings: list[str],
    encoders: list[str],
    baselines: list[str],
) -> list[TrainOptions]:
    """The cross product of what is named, ``all`` meaning every plug-in there is, and then the
    baselines.
    """
    kinds = (fusions, "fuse.fusion"), (poolings, "fuse.pooling"), (encoders, "fuse.temporal")
    heads = [
        replace(options, fusion=fusion, pooling=pooling, temporal_encoder=encoder)
        for fusion, pooling, encoder in product(
            *(expand(names, package) for names, package in kinds)
        )
    ]
    return heads + [replace(options, baseline=name) for name in expand(baselines, "fuse.baselines")]


def expand(names: list[str], package: str) -> list[str]:
    """Each spec once, with every plug-in of ``package`` in the place of ``all`` that needs no
    option.
    """
    specs = [text for name in names for text in (_all_of(package) if name == "all" else [name])]
    return list(dict.fromkeys(specs))


def _all_of(package: str) -> list[str]:
    return [name for name in spec.available(package) if not _needs_an_option(package, name)]


def _needs_an_option(package: str, name: str) -> bool:
    try:
        return "…" in spec.defaults(package, name).values()
    except UsageError:  # of another distribution, and it cannot be imported: its row says so
        return False


def statistics_read(variants: list[TrainOptions]) -> Streams[set[str]]:
    """The statistics of each track that the variants read, all together."""
    statistics = Streams(set(AVERAGES), set(AVERAGES))
    for options in variants:
        if options.baseline is None:
            statistics = statistics.map(set.union, Head.of(options).reads)
    return statistics


@started_as("Python, ablate")
@bar_in_notebook("ablate")
def ablate(
    data: Dataset | str | Path,
    variants: list[TrainOptions],
    folder: str | Path,
    reference: str | None = None,
    workers: Workers = 1,
    on_progress: OnProgress = no_progress,
    dataset: str | None = None,
) -> AblationResult:
    """Trains every variant on the same splits; its tables and runs go into ``folder``.

    Each variant is a run of its own there. One that is finished is not run again, so an interrupted
    ablation goes on.

    Args:
        data: The folder that `extract.run.extract_dataset` filled; or what was read from it:
            features that all variants can read (`statistics_read`), and the scores of published
            models that some of them name (`fuse.published_scores.load_for`).
        variants: Options that differ in the head or the baseline.
        folder: ``ablation.csv``, ``.json``, ``.md``, ``.png`` and the runs are written here.
        reference: The name of the row that differences are against; by default the first baseline,
            else `concat`, else the first variant.
        workers: Processes that fit splits side by side, or a Ray cluster; changes no result.
        on_progress: Called with the number of splits that are done, and of all; left out, a
            notebook shows a bar.
        dataset: A dataset in the folder ``data``; None where there is only one.

    Returns:
        A row for each variant, with its difference from the reference.

    Raises:
        UsageError: No variant can be run, none is called ``reference``, or there are no such
            features; nothing was trained.
    """
    folder = Path(folder)
    if not isinstance(data, Dataset):
        data = load_for(Path(data), dataset, variants, statistics_read(variants))
    # what is allowed is the same of all
    for options in {score_of(options): options for options in variants}.values():
        check_leakage(read_by(data, options), options)
    plans, impossible = _plans(data, variants, folder)
    against = _reference(plans, reference)
    _train_each_on_its_own(data, plans, workers, on_progress)
    return compared(list(plans), against, impossible, data.not_finite, folder)


def _train_each_on_its_own(
    data: Dataset, plans: dict[Path, Plan], workers: Workers, on_progress: OnProgress
) -> None:
    """`train_missing` of plans some of which read a published score instead of the features."""
    groups: dict[str, dict[Path, Plan]] = {}
    for run, plan in plans.items():
        groups.setdefault(score_of(plan.options), {})[run] = plan
    total = sum(len(plan.splits) for plan in plans.values())
    before = 0
    for score, group in groups.items():
        of_group = read_by(data, next(iter(group.values())).options)
        # a score is read and not trained: processes would take longer to start
        share = 1 if score else workers
        train_missing(of_group, group, share, _further(on_progress, before, total))
        before += sum(len(plan.splits) for plan in group.values())


def _further(on_progress: OnProgress, before: int, total: int) -> OnProgress:
    return lambda done, _: on_progress(before + done, total)


def compared(
    runs: list[Path],
    against: Path,
    impossible: dict[str, str],
    not_finite: dict[str, int],
    folder: Path,
) -> AblationResult:
    """Writes the tables of runs that are finished."""
    result = AblationResult(
        comparison=compare(runs, against),
        seconds={run: Run(run).record().seconds for run in runs},
        impossible=impossible,
        not_finite=not_finite,
        folder=folder,
    )
    _write_tables(result)
    return result


def _plans(
    data: Dataset, variants: list[TrainOptions], folder: Path
) -> tuple[dict[Path, Plan], dict[str, str]]:
    """A plan for each run, and why other variants are impossible."""
    plans, impossible = {}, {}
    for options in variants:
        try:
            plan = Plan.of(read_by(data, options), options)
            if options.baseline is not None:
                check_size(spec.resolve("fuse.baselines", options.baseline), plan.splits)
        except UsageError as error:
            if len(variants) == 1:
                raise
            impossible[_description(options)] = str(error)
        else:
            plans[folder / plan.name] = plan
    if not plans:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in impossible.items())
        raise UsageError(f"no variant can be run:\n{reasons}")
    return plans, impossible


def train_missing(
    data: Dataset, plans: dict[Path, Plan], workers: Workers, on_progress: OnProgress = no_progress
) -> None:
    """Trains what is not finished; splits of all variants share the workers, and variants on the
    same split its prepared features. Finished splits are kept until their run is whole.
    """
    waiting = {run: plan for run, plan in plans.items() if not _finished(run, plan)}
    total = sum(len(plan.splits) for plan in plans.values())
    before = total - sum(len(plan.splits) for plan in waiting.values())
    runs = list(waiting)
    kept = [
        FinishedSplits(Run(run).finished_splits_folder, plan.identity.digest, *data.content)
        for run, plan in waiting.items()
    ]
    fits = fit_plans(
        data,
        list(waiting.values()),
        workers,
        lambda done, _: on_progress(before + done, total),
        kept,
    )
    with closing(fits):
        for number, fitted in fits:
            seconds = sum(result.seconds for result in fitted)
            save_run(runs[number], data, waiting[runs[number]], fitted, None, seconds)
            kept[number].remove()


def _write_tables(result: AblationResult) -> None:
    """Earlier tables in the same folder stay beside these, unless these hold all that they did."""
    target = Ablation(result.folder)
    if target.complete and not _holds_all_of(target, result):
        kept = target.set_aside()
        logger.warning(
            "the tables of an earlier ablation, of other rows or against another one, are now %s",
            kept.with_suffix(".*"),
        )
    write_text(target.csv_file, as_table(result).to_csv(index=False))
    write_text(target.markdown_file, markdown.of_comparison(result.comparison))
    plots.comparison(result.comparison, target.plot_file)
    write_json(target.json_file, sealed(result.to_json()))


def _holds_all_of(earlier: Ablation, result: AblationResult) -> bool:
    comparison = result.comparison
    try:
        runs, reference = earlier.runs(), earlier.reference()
    except UsageError:  # damaged: perhaps somebody can still read it
        return False
    of_result = {row.run.name for row in comparison.rows}
    return reference.name == comparison.reference_run.name and of_result >= {
        run.name for run in runs
    }


def as_table(result: AblationResult) -> pd.DataFrame:
    """A row for each variant, best first; empty cells where something is undefined."""
    rows: list[dict[str, Any]] = []
    for row in result.comparison.rows:
        document = row.to_json()
        cells = {key: document[key] for key in ("name", "fusion", "pooling", "temporal")}
        for metric in MAIN_METRICS:
            cells[metric] = document["median"][metric]
            cells[f"{metric}_spread"] = document["spread"][metric]
        cells["srcc_low"], cells["srcc_high"] = document["srcc_interval"] or (None, None)
        cells["least_test"], cells["most_test"] = document["n_test"]
        cells["difference"] = document["difference"]
        cells["low"], cells["high"] = document["interval"] or (None, None)
        cells |= {key: document[key] for key in ("p_value", "wins", "pairs", "undefined")}
        cells["mean_difference"] = document["mean_difference"]
        cells["corrected_low"], cells["corrected_high"] = document["corrected_interval"] or (
            None,
            None,
        )
        cells["corrected_p_value"] = document["corrected_p_value"]
        cells["opinions"] = " ".join(row.opinions)
        rows.append({**cells, "seconds": result.seconds[row.run]})
    return pd.DataFrame(rows)


def _reference(plans: dict[Path, Plan], wanted: str | None) -> Path:
    names = {plan.specs.name: run for run, plan in plans.items()}
    if wanted is not None:
        if wanted not in names:
            raise UsageError(
                f"no variant is called {wanted!r}; choose --reference from {', '.join(names)}"
                f"{close_to(wanted, names)}"
            )
        return names[wanted]
    baselines = [run for run, plan in plans.items() if plan.options.baseline is not None]
    if baselines:
        return baselines[0]
    return names.get("concat", next(iter(plans)))


def _finished(run: Path, plan: Plan) -> bool:
    return Run(run).complete and Run(run).record().identity == plan.identity


def _description(options: TrainOptions) -> str:
    return options.baseline or f"{options.fusion} + {options.pooling} + {options.temporal_encoder}"
