"""A run's model on another dataset, with and without a logistic that is fitted again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from vqa_twostage.fuse import metrics, opinions
from vqa_twostage.fuse.data import Dataset, load_tracks
from vqa_twostage.fuse.evaluate import reported
from vqa_twostage.fuse.leakage import check_opinions
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.matching_tracks import matching_tracks
from vqa_twostage.fuse.opinions import require_others
from vqa_twostage.fuse.results import CrossDatasetEvaluation, ScaleMetrics, VideoPrediction
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.errors import UsageError


def evaluate_on(
    run: str | Path,
    dataset: str,
    cache: str | Path | None = None,
    allow_trained_on: str | None = None,
) -> CrossDatasetEvaluation:
    """Scores every video of ``dataset`` with the model of ``run``.

    Where better quality is the higher label of the one dataset and the lower label of the other
    (MOS and DMOS), the scores are mirrored within their scale before any figure.

    ``cache``: where the features of ``dataset`` are; None is the run's own cache or
    ``$VQA_CACHE``. UsageError where they are not there, or are not of the same sampler and
    extractors, or where they learnt from the opinions of ``dataset`` and ``allow_trained_on`` does
    not name it.
    """
    source = Run(run)
    record, scorer = source.record(), saved.load(source.folder)
    data = _load_like(source, dataset, cache, Head.of(scorer.options))
    check_opinions(data, allow_trained_on)
    before = record.identity.start.learnt_from if record.identity.start else []
    joint = opinions.joint_names(record.identity)
    learnt = {str(run): [name.lower() for name in (*before, *joint)]}
    require_others(data.manifest.name, learnt, allow_trained_on)
    scores = scorer.scores(data.features)
    better, other_better = scorer.training.better, data.manifest.better
    aligned = scores if better == other_better else sum(record.scale) - scores
    measured = metrics.evaluate(aligned, data.mos)
    shown = reported(measured)
    trained_on = " and then ".join([*before, " and ".join([record.dataset, *joint])])
    error = float(np.sqrt(np.mean((aligned - data.mos) ** 2)))
    rows = zip(data.manifest.rows["id"], data.mos, scores, strict=True)
    return CrossDatasetEvaluation(
        run=source.folder,
        trained_on=trained_on,
        scale=record.scale,
        better=better,
        dataset=data.manifest.name,
        label=data.manifest.label,
        other_scale=data.manifest.scale,
        other_better=other_better,
        label_range=(float(data.mos.min()), float(data.mos.max())),
        score_range=(float(scores.min()), float(scores.max())),
        fusion=record.specs.fusion,
        protocol=f"trained on all of {trained_on}, tested on all of {data.manifest.name}",
        n_videos=len(data.mos),
        n_dataset=len(data.everything),
        missing=data.missing,
        opinions=opinions.names_of(record.identity),
        refitted=ScaleMetrics(shown.srcc, shown.krcc, shown.plcc, shown.rmse),
        as_is=ScaleMetrics(
            shown.srcc, shown.krcc, shown.plcc_raw, None if shown.rmse is None else error
        ),
        srcc_interval=None
        if shown.srcc is None
        else metrics.srcc_interval(shown.srcc, len(data.mos)),
        predictions=[VideoPrediction(name, float(mos), float(score)) for name, mos, score in rows],
    )


def _place_of(source: Run, dataset: str, cache: str | Path | None) -> tuple[Path, str]:
    """The first cache of the run that holds ``dataset``, and the name that it has there."""
    for place in source.cache_places(cache):
        with suppress(UsageError):  # another one may hold it
            return place, choose_dataset(place, dataset)
    place = source.cache() if cache is None else Path(cache)
    return place, choose_dataset(place, dataset)


def _load_like(source: Run, dataset: str, cache: str | Path | None, head: Head) -> Dataset:
    """``dataset`` with features that were made as those of the run."""
    place, name = _place_of(source, dataset, cache)
    identity = source.record().identity
    paths = matching_tracks(place, name, Streams(identity.spatial, identity.temporal))
    return load_tracks(load_cached_manifest(place, name), paths, head.reads)
