"""Every combination of fusions, poolings and temporal encoders, and baselines, on the same splits:
one table.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.fuse.compare import compare_runs
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reporting import markdown, plots
from vqa_twostage.fuse.runs import MAIN_METRICS, Ablation, Run
from vqa_twostage.fuse.streams import AVERAGES, Streams
from vqa_twostage.fuse.train import Plan, fit_all, save_run
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import write_text


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


def listed(text: str) -> list[str]:
    """Specs of a list, separated by spaces or commas: ``concat,dynamic:experts=2,hidden=32`` are
    two.
    """
    return [name for name in re.split(r"\s+|,(?![a-z0-9_]+=)", text) if name]


def expand(names: list[str], package: str) -> list[str]:
    found = [
        chosen
        for name in names
        for chosen in (spec.available(package) if name == "all" else [name])
    ]
    return list(dict.fromkeys(found))


def reads(chosen: list[TrainOptions]) -> Streams[set[str]]:
    """The statistics of each track that the variants read, all together."""
    statistics = Streams(set(AVERAGES), set(AVERAGES))
    for options in chosen:
        if options.baseline is None:
            statistics = statistics.map(set.union, Head.of(options).reads)
    return statistics


def ablate(
    data: Dataset,
    chosen: list[TrainOptions],
    folder: Path,
    reference: str | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Runs every variant that the cache can feed; ``ablation.csv``, ``.json``, ``.md`` and ``.png``
    go into ``folder``.

    Each variant is a run of its own in ``folder``. One that is finished there is not run again, so
    an interrupted ablation goes on. ``reference``: the row that differences are against, by name;
    by default the first baseline, else `concat`, else the first variant. Variants that the tracks
    cannot feed are in ``impossible``, with the reason. Returns the document of ``vqa-fuse ablate
    --json``.
    """
    plans: dict[Path, Plan] = {}
    impossible = {}
    for options in chosen:
        try:
            plan = Plan(data, options)
        except UsageError as error:
            if len(chosen) == 1:
                raise
            impossible[_asked(options)] = str(error)
        else:
            plans[folder / plan.name] = plan
    if not plans:
        raise UsageError(
            "no variant can be run:\n"
            + "\n".join(f"  {name}: {why}" for name, why in impossible.items())
        )
    compared_with = _reference(plans, reference)
    waiting = {run: plan for run, plan in plans.items() if not _finished(run, plan)}
    total = sum(len(plan.splits) for plan in plans.values())
    done = total - sum(len(plan.splits) for plan in waiting.values())
    on_progress(done, total)
    results = fit_all(
        [(data, split, plan.options) for plan in waiting.values() for split in plan.splits], workers
    )
    for run, plan in waiting.items():
        start, fitted = time.perf_counter(), []
        for _ in plan.splits:
            fitted.append(next(results))
            done += 1
            on_progress(done, total)
        save_run(run, data, plan, fitted, None, time.perf_counter() - start)
    document = {
        **compare_runs(list(plans), compared_with),
        "impossible": impossible,
        "folder": str(folder),
    }
    document["not_finite"] = data.not_finite
    document["rows"] = [
        {**row, "seconds": Run(row["run"]).record().seconds} for row in document["rows"]
    ]
    target = Ablation(folder)
    write_text(target.csv_file, as_table(document).to_csv(index=False))
    write_text(target.markdown_file, markdown.of_ablation(document))
    plots.ablation(document, target.plot_file)
    write_text(target.json_file, json.dumps(document, indent=2, allow_nan=False) + "\n")
    return document


def as_table(document: dict[str, Any]) -> pd.DataFrame:
    """A row a variant, in the order of the document; empty cells where something is undefined."""
    rows = []
    for row in document["rows"]:
        low, high = row["interval"] or (None, None)
        figures = {
            name: row[kind][metric] for metric in MAIN_METRICS for kind, name in _named(metric)
        }
        about = {key: row[key] for key in ("name", "fusion", "pooling", "temporal")}
        paired = {"difference": row["difference"], "low": low, "high": high}
        rest = {key: row[key] for key in ("p_value", "wins", "pairs", "undefined", "seconds")}
        rows.append({**about, **figures, **paired, **rest})
    return pd.DataFrame(rows)


def _named(metric: str) -> list[tuple[str, str]]:
    return [("median", metric), ("spread", f"{metric}_spread")]


def _reference(plans: dict[Path, Plan], wanted: str | None) -> Path:
    names = {plan.specs.name: run for run, plan in plans.items()}
    if wanted is None:
        baselines = [run for run, plan in plans.items() if plan.options.baseline is not None]
        return (baselines or [names[name] for name in ("concat",) if name in names] or list(plans))[
            0
        ]
    if wanted not in names:
        raise UsageError(
            f"no variant is called {wanted!r}; choose --reference from {', '.join(names)}"
        )
    return names[wanted]


def _finished(run: Path, plan: Plan) -> bool:
    return Run(run).complete and Run(run).record().identity == plan.identity


def _asked(options: TrainOptions) -> str:
    return options.baseline or f"{options.fusion} + {options.pooling} + {options.temporal_encoder}"
