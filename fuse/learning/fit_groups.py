"""Fits that share the prepared features of a split are done together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
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


Group = list[tuple[int, Fit]]


def grouped(fits: Sequence[Fit], workers: int) -> list[Group]:
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


def fit_group(
    data: Dataset, group: Group, threads: int = 1
) -> Generator[tuple[int, Fitted], None, None]:
    """``threads``: that prepare features."""
    first = group[0][1]
    features = PreparedFeatures(data, first.split.train, threads=threads)
    if first.start is not None:
        features = PreparedFeatures.from_start(
            data, first.split.train, Head.of(first.options), first.start, threads
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


def fitted_group(data: Dataset, group: Group) -> list[tuple[int, Fitted]]:
    """`fit_group`, in a process of its own."""
    keep_freed_memory()
    return list(fit_group(data, group))
