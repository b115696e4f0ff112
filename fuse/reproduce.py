"""A run, trained again from its record, and every prediction compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.fuse.data import load_tracks
from vqa_twostage.fuse.joint import with_others
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.results import Reproduction
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import Run, axes_in, label_columns
from vqa_twostage.fuse.source_run import SourceRun
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import OnProgress, Plan, fit_plan, no_progress, predictions_table
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.versions import library_versions

# of the videos whose predictions differ, so many are named
SHOWN = 10


@bar_in_notebook("reproduce")
def reproduce_run(
    run: str | Path,
    cache: str | Path | None = None,
    workers: int = 1,
    on_progress: OnProgress = no_progress,
) -> Reproduction:
    """Trains ``run`` again on the features it was trained on, and writes nothing.

    Args:
        run: The folder of a run.
        cache: Where the features are now; None is where the run or ``$VQA_CACHE`` says.
        workers: Processes that fit splits side by side; changes no result.
        on_progress: Called with the number of splits that are done, and of all; left out, a
            notebook shows a bar.

    Returns:
        Whether every prediction is equal, and what is not as it was.

    Raises:
        UsageError: The features are not there, or the splits would be of other videos.
    """
    source = Run(run)
    record, old = source.record(), source.predictions()
    options, tracks = record.options, source.tracks(cache)
    reads = Streams(AVERAGES, AVERAGES) if options.baseline else Head.of(options).reads
    manifest = load_cached_manifest(tracks.cache, record.dataset)
    data = load_tracks(manifest, Streams(tracks.spatial, tracks.temporal), reads)
    data = with_others(data, options.joint_with, reads)
    plan = Plan.of(data, options, SourceRun.of_run_started(source))
    changed = _changes(record, plan)
    if plan.identity.splits != record.identity.splits:
        raise UsageError(
            f"{run} cannot be reproduced: its splits are of other videos than the cache now holds "
            f"(N = {len(data.mos)}, then {old['id'].nunique()})"
            + "".join(f"\n  {line}" for line in changed)
        )
    fitted = fit_plan(data, plan, workers, on_progress)
    new = predictions_table(data, plan.splits, fitted)
    both = old.merge(new, on=["split", "part", "id"], suffixes=("_old", "_new"), how="outer")
    predicted = [label_columns(axis)[1] for axis in (None, *axes_in(new))]
    differences_of_labels = [
        np.abs((both[f"{name}_old"] - both[f"{name}_new"]).to_numpy()) for name in predicted
    ]
    difference = np.max(differences_of_labels, axis=0)
    different = ~(difference == 0)  # also where one of the two is missing
    return Reproduction(
        run=source.folder,
        equal=not different.any(),
        n_predictions=len(both),
        n_different=int(different.sum()),
        largest=float(np.nanmax(difference)) if different.any() else 0.0,
        videos=list(dict.fromkeys(both["id"][different]))[:SHOWN],
        changed=changed,
    )


def _changes(record: RunRecord, plan: Plan) -> list[str]:
    identities = differences(record.identity.to_json(), plan.identity.to_json())
    return identities + differences(record.versions, library_versions())


def differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str = "") -> list[str]:
    """Key by key where two records differ, one line each."""
    lines = []
    for key in sorted(set(then) | set(now)):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{name}{key}.")
        elif before != after:
            lines.append(f"{name}{key}: {before} then, {after} now")
    return lines
