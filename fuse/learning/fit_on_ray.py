"""Fits of several heads and splits as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.learning.fit_groups import Fit, Group, fitted_group, grouped
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.ray_cluster import LostError, RayCluster, connected, enter, result_of

ATTEMPTS = 3  # of a group of fits that is lost with its process or machine
WAITING_TASKS = 2  # for each CPU of the cluster, so that none has to wait for this program


def fit_on_ray(
    data: Dataset, fits: Sequence[Fit], cluster: RayCluster
) -> Generator[tuple[int, Fitted], None, None]:
    """`fuse.learning.fit_all.fit_all` on a cluster. A task has one CPU; ``data`` travels once to
    each machine, and tracks that stay in the cache (``--max-ram``) are read there by their paths.

    UsageError where fits are lost `ATTEMPTS` times with what worked on them.
    """
    if not fits:
        return
    with connected(cluster.address) as ray:
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        groups = list(reversed(grouped(fits, cpus)))
        task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_fitted_there)
        shared, running = ray.put(data), set[Any]()
        try:
            while groups or running:
                while groups and len(running) < WAITING_TASKS * cpus:
                    running.add(task.remote(shared, groups.pop(), Path.cwd()))
                (reference,), _ = ray.wait(list(running))
                running.remove(reference)
                yield from _result(ray, reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> list[tuple[int, Fitted]]:
    try:
        return list(result_of(ray, reference))
    except LostError as error:
        raise UsageError(
            f"fits were lost {ATTEMPTS} times with the process or machine that worked on them "
            f"({error}); is there memory enough? What is finished is kept: the same "
            "command goes on"
        ) from None


def _fitted_there(data: Dataset, group: Group, folder: Path) -> list[tuple[int, Fitted]]:
    enter(folder)
    return fitted_group(data, group)
