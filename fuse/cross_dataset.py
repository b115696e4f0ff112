"""A run's model on another dataset: cross-dataset metrics, with and without a re-fitted scale."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import choose_dataset, load_dataset
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, datasets, tracks
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import OF_ANOTHER_DATASET, TrackIdentity


def evaluate_on(run: Path, dataset: str, cache: Path | None = None) -> dict[str, Any]:
    """The document of ``vqa-fuse evaluate RUN --dataset OTHER --json``.

    ``refitted``: PLCC and RMSE after a logistic fitted on the other dataset's labels, as the field
    reports them. ``as_is``: PLCC and RMSE of the scores as they come, on the scale of the run's own
    dataset. SRCC and KRCC are the same for both. UsageError where the other dataset's features are
    not of the same sampler and extractors.
    """
    source = Run(run)
    record, scorer = source.record(), saved.load(run)
    name = Path(dataset).stem if dataset.endswith((".csv", ".toml")) else dataset
    holding = [place for place in source.cache_places(cache) if name in datasets(place)]
    where = holding[0] if holding else source.cache() if cache is None else Path(cache)
    name = choose_dataset(where, dataset)
    first, second = (
        _same_track(where, name, wanted)
        for wanted in (record.identity.spatial, record.identity.temporal)
    )
    temporal = None if first == second else second.stem
    data = load_dataset(where, name, first.stem, temporal, Head.of(scorer.options).reads)
    scores = scorer.scores(data.features)
    figures = asdict(metrics.evaluate(scores, data.mos))
    rank = {key: _number(figures[key]) for key in ("srcc", "krcc")}
    rmse = float(np.sqrt(np.mean((scores - data.mos) ** 2)))
    return {
        "run": str(run),
        "trained_on": record.dataset,
        "scale": list(record.scale),
        "dataset": name,
        "label": data.manifest.label,
        "other_scale": list(data.manifest.scale),
        "fusion": record.specs.fusion,
        "protocol": f"trained on all of {record.dataset}, tested on all of {name}",
        "n_videos": len(data.mos),
        "n_dataset": len(data.everything),
        "missing": data.missing,
        "refitted": {**rank, "plcc": _number(figures["plcc"]), "rmse": _number(figures["rmse"])},
        "as_is": {**rank, "plcc": _number(figures["plcc_raw"]), "rmse": rmse},
        "predictions": [
            {"id": video, "mos": float(mos), "predicted": float(score)}
            for video, mos, score in zip(data.manifest.rows["id"], data.mos, scores, strict=True)
        ],
    }


def _same_track(cache: Path, dataset: str, wanted: TrackIdentity) -> TrackPath:
    """The track of ``dataset`` that was made as the run's was."""
    differing = {}
    for path in tracks(cache, dataset):
        with cached.open_track(path) as track:
            differences = wanted.differences(track.identity, ignoring=OF_ANOTHER_DATASET)
            same_kind = track.identity.kind == wanted.kind
        if not differences:
            return path
        if same_kind:
            differing[path.stem] = ", ".join(difference.field for difference in differences)
    listed = "".join(f"\n  {stem} differs in {keys}" for stem, keys in differing.items()) or " none"
    raise UsageError(
        f"{cache / dataset} has no {wanted.kind} track made as the run's; extract it with the same "
        f"options. It has:{listed}"
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
