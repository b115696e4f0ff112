"""Fits of several heads and splits, in processes of their own where there are several workers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Sequence
from contextlib import ExitStack

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.fit_groups import Fit, fit_group, fitted_group, grouped
from vqa_twostage.fuse.learning.fit_on_ray import fit_on_ray
from vqa_twostage.pipeline.ray_cluster import RayCluster, Workers


def fit_all(
    data: Dataset, fits: Sequence[Fit], workers: Workers
) -> Generator[tuple[int, Fitted], None, None]:
    """The result of each of ``fits`` and its place among them, as they come. Closing it ends its
    processes. ``workers``: how many processes of this machine, or a cluster.

    Heads on the same split share its prepared features, so they are fitted by the same worker
    unless some would have nothing to do.
    """
    if isinstance(workers, RayCluster):
        yield from fit_on_ray(data, fits, workers)
        return
    groups = grouped(fits, workers)
    if min(workers, len(groups)) <= 1:
        for group in groups:
            yield from fit_group(data, group, threads=max(1, workers))
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
                tasks = (delayed(fitted_group)(data, group) for group in groups)
                # in here: a Ctrl-C that came meanwhile is raised where this block ends
                results = parallel(tasks)
                stack.enter_context(closed_quietly(results))
            for fitted in results:
                yield from fitted
