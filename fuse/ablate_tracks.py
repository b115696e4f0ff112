"""What each track is worth to a head: alone, left out, or chosen one after the other; on the same
splits and videos, in one table with paired statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.ablate import compared, train_missing
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.results import AblationResult
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.train import OnProgress, Plan, no_progress
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.invocation import started_as
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.ray_cluster import Workers

LEAVE_ONE_OUT, EACH, FORWARD = MODES = ("leave-one-out", "each", "forward")

Tracks = tuple[TrackPath, ...]
Train = Callable[[Sequence[Tracks]], list[Path]]
"""Trains on each of these sets of tracks what is not finished; the folders of the runs."""


@started_as("Python, ablate_tracks")
@bar_in_notebook("ablate")
def ablate_tracks(
    data: Dataset,
    options: TrainOptions,
    mode: str,
    folder: str | Path,
    workers: Workers = 1,
    on_progress: OnProgress = no_progress,
) -> AblationResult:
    """Trains one head, or baseline, on several sets of the tracks of ``data``; its tables and runs
    go into ``folder``, as those of `fuse.ablate.ablate`. Differences are against all tracks.

    ``mode``: ``leave-one-out`` (all tracks but one), ``each`` (one track alone) or ``forward`` (the
    track with the highest mean SRCC of the validation parts, then with it the next, as long as that
    SRCC rises). UsageError for another mode, or where there is only one track.
    """
    if mode not in MODES:
        raise UsageError(
            f"unknown --tracks {mode!r}; choose from {', '.join(MODES)}{close_to(mode, MODES)}"
        )
    check_leakage(data, options)
    everything = tuple(track.path for track in data.tracks)
    if len(everything) == 1:
        raise UsageError(
            f"--tracks {mode} needs several tracks, and only {everything[0].stem} is read; name "
            "more with --spatial and --temporal, or all of them with --spatial all --temporal all"
        )
    runs: dict[Tracks, Path] = {}

    def train(sets: Sequence[Tracks]) -> list[Path]:
        for number, tracks in enumerate(sets):
            if tracks not in runs:
                chosen = only_tracks(data, tracks)
                plan = Plan.of(chosen, _named(options, chosen))
                run = Path(folder) / plan.name
                train_missing(chosen, {run: plan}, workers)
                runs[tracks] = run
            on_progress(number + 1, len(sets))
        return [runs[tracks] for tracks in sets]

    if mode == FORWARD:
        shown = [everything, *_forward(everything, train)]
    elif mode == EACH:
        shown = [everything, *((track,) for track in everything)]
    else:
        shown = [everything, *(_without(everything, track) for track in everything)]
    return compared(train(shown), runs[everything], {}, data.not_finite, Path(folder))


def only_tracks(data: Dataset, paths: Sequence[TrackPath]) -> Dataset:
    """The same videos with some of their tracks; where one stream is left without, both read those
    of the other.
    """
    sides = [tuple(track for track in side if track.path in paths) for side in data.features]
    spatial, temporal = sides
    return replace(data, features=type(data.features)(spatial or temporal, temporal or spatial))


def _without(tracks: Tracks, left_out: TrackPath) -> Tracks:
    return tuple(track for track in tracks if track != left_out)


def _named(options: TrainOptions, data: Dataset) -> TrainOptions:
    """The options with the names of the tracks that are read."""
    spatial, temporal = ([path.stem for path in paths] for paths in data.paths)
    return replace(options, spatial=spatial, temporal=temporal)


def _forward(everything: Tracks, train: Train) -> list[Tracks]:
    """The best sets of tracks of their size, as long as they become better."""
    chosen: Tracks = ()
    best, path = -np.inf, list[Tracks]()
    while len(chosen) < len(everything):
        candidates = [
            tuple(sorted((*chosen, track), key=everything.index))
            for track in everything
            if track not in chosen
        ]
        scores = [validation_srcc(run) for run in train(candidates)]
        if not max(scores) > best:
            break
        best, chosen = max(scores), candidates[int(np.argmax(scores))]
        path.append(chosen)
    return path


def validation_srcc(run: Path) -> float:
    """The mean over the splits of the SRCC of their validation parts; the test parts have no say in
    what is chosen.
    """
    predictions = Run(run).predictions()
    unseen = predictions[predictions["part"] == "val"]
    scores = [
        metrics.srcc(rows["predicted"].to_numpy(), rows["mos"].to_numpy())
        for _, rows in unseen.groupby("split")
    ]
    return float(np.mean(np.nan_to_num(scores, nan=-1.0)))
