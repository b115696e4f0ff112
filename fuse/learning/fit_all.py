"""Fits of several heads and splits, in processes of their own where there are several workers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.baseline import fit_baseline
from vqa_twostage.fuse.learning.fine_tune import Start
from vqa_twostage.fuse.learning.fit import AxisFit, Fitted, fit_split
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.threads import keep_freed_memory
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.pipeline import spec


class Fit(NamedTuple):
    """A head, or the baseline that ``options`` names instead, on one split; ``start`` is what the
    head starts from, None random weights.
    """

    split: Split
    options: TrainOptions
    start: Start | None = None


def fit_all(
    data: Dataset, fits: Sequence[Fit], workers: int
) -> Generator[tuple[int, Fitted], None, None]:
    """The result of each of ``fits`` and its place among them, as they come. Closing it ends its
    processes.

    Heads on the same split share its prepared features, so they are fitted by the same worker
    unless some would have nothing to do.
    """
    groups = _groups(fits, workers)
    if min(workers, len(groups)) <= 1:
        for group in groups:
            yield from _fit_group(data, group)
        return
    from joblib import Parallel, delayed  # large arrays reach its processes by memory mapping

    from vqa_twostage.pipeline.process_context import closed_quietly, ctrl_c_stays_here, end_with

    with warnings.catch_warnings():
        # a worker whose memory has grown is replaced, and no result is lost
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        # closed early: the tasks that nobody waits for any more
        warnings.filterwarnings("ignore", r"\d+ tasks (which were still|have been successfully)")
        with ExitStack() as stack:
            with ctrl_c_stays_here():
                parallel = Parallel(
                    min(workers, len(groups)),
                    return_as="generator_unordered",
                    initializer=end_with,
                    initargs=(os.getpid(),),
                )
                tasks = (delayed(_fitted_group)(data, group) for group in groups)
                # in here: a Ctrl-C that came meanwhile is raised where this block ends
                results = parallel(tasks)
                stack.enter_context(closed_quietly(results))
            for fitted in results:
                yield from fitted


Group = list[tuple[int, Fit]]


def _groups(fits: Sequence[Fit], workers: int) -> list[Group]:
    """Fits of one split and start together, in several parts where there are more workers than
    splits.
    """
    of_split: dict[tuple[bytes, int], Group] = {}
    for place, fit in enumerate(fits):
        key = fit.split.train.tobytes(), id(fit.start)
        of_split.setdefault(key, []).append((place, fit))
    parts = -(-workers // max(1, len(of_split)))
    return [
        part
        for group in of_split.values()
        for part in (group[first::parts] for first in range(parts))
        if part
    ]


def _fit_group(data: Dataset, group: Group) -> Generator[tuple[int, Fitted], None, None]:
    first = group[0][1]
    features = PreparedFeatures(data, first.split.train)
    if first.start is not None:
        features = PreparedFeatures.from_start(
            data, first.split.train, Head.of(first.options), first.start
        )
    for place, fit in group:
        yield place, fit_one(features, fit)


def fit_one(features: PreparedFeatures, fit: Fit) -> Fitted:
    """``features``: prepared from the split's training part."""
    split, options, start = fit
    if options.baseline is None:
        return fit_split(features, split, options, start)
    data, plugin = features.data, spec.resolve("fuse.baselines", options.baseline)
    fitted = fit_baseline(data, split, plugin)
    axes = {
        name: AxisFit(fit_baseline(data.of_axis(name), split, plugin).predicted, {})
        for name in options.axes or ()
    }
    return replace(fitted, axes=axes)


def _fitted_group(data: Dataset, group: Group) -> list[tuple[int, Fitted]]:
    """In a process of its own."""
    keep_freed_memory()
    return list(_fit_group(data, group))
