"""A run, trained again from its record, and every prediction compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.streams import AVERAGES, Streams
from vqa_twostage.fuse.train import Plan, fit_all, predictions_table
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.versions import library_versions

# of videos and of keys, so many are named
SHOWN = 10


def reproduce_run(
    run: Path,
    cache: Path | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Retrains ``run`` on the cache it names (or ``cache``), writes nothing, and says what differs.

    ``equal`` is true where every prediction is equal to the last bit. Otherwise ``predictions``
    counts those that differ, ``largest`` is the largest difference in units of the labels,
    ``videos`` names the first of them, and ``changed`` lists what is not as it was: libraries, this
    program's recipe, the features, the labels.
    """
    source = Run(run)
    record, old = source.record(), source.predictions()
    options = record.options
    tracks = source.tracks(cache)
    reads = Streams(AVERAGES, AVERAGES) if options.baseline else Head.of(options).reads
    stems = tracks.spatial.stem, tracks.temporal.stem
    data = load_dataset(
        tracks.cache, record.dataset, stems[0], None if stems[0] == stems[1] else stems[1], reads
    )
    plan = Plan(data, options)
    changed = differences(record.identity.to_json(), plan.identity.to_json())
    changed += differences(record.versions, library_versions())
    if plan.identity.splits != record.identity.splits:
        raise UsageError(
            f"{run} cannot be reproduced: its splits are of other videos than the cache now holds "
            f"(N = {len(data.mos)}, then {old['id'].nunique()})"
            + "".join(f"\n  {line}" for line in changed)
        )
    fitted = []
    on_progress(0, len(plan.splits))
    for result in fit_all([(data, split, options) for split in plan.splits], workers):
        fitted.append(result)
        on_progress(len(fitted), len(plan.splits))
    new = predictions_table(data, plan.splits, fitted)
    both = old.merge(new, on=["split", "part", "id"], suffixes=("_old", "_new"), how="outer")
    difference = np.abs((both["predicted_old"] - both["predicted_new"]).to_numpy())
    wrong = ~(difference == 0)  # also where one of the two is missing
    return {
        "run": str(run),
        "equal": not wrong.any(),
        "n_predictions": len(both),
        "predictions": int(wrong.sum()),
        "largest": float(np.nanmax(difference)) if wrong.any() else 0.0,
        "videos": list(dict.fromkeys(both["id"][wrong]))[:SHOWN],
        "changed": changed,
    }


def differences(then: dict[str, Any], now: dict[str, Any], name: str = "") -> list[str]:
    """Key by key where two records differ, one line each."""
    lines = []
    for key in sorted(set(then) | set(now)):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += differences(before, after, f"{name}{key}.")
        elif before != after:
            lines.append(f"{name}{key}: {before} then, {after} now")
    return lines
