"""A machine whose features would be others is told before anything is extracted."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vqa_twostage.extract.cluster.job import Job
from vqa_twostage.extract.extraction.plan import plan_tracks
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError

OPTIONS = ExtractOptions(
    spatial="efficientnet_lite0:resolutions=64", temporal=(), engine="ray", runtime="torch"
)


@pytest.fixture(scope="module")
def job() -> Job:
    runtime = Runtime.of("torch", "cpu", "fp32", videos=1)
    plan = plan_tracks("toy", Path("cache"), OPTIONS, runtime)
    return Job.of(plan, plan.tracks)


def recorded_as(job: Job, **changed: Any) -> Job:
    """As if the program that was started had found another identity."""
    ((place, identity),) = job.tracks.items()
    other = replace(identity, **changed)
    return replace(job, tracks={TrackPath.of(job.cache, job.dataset, place.name, other): other})


def test_job_that_travelled_is_planned_as_it_was(job: Job) -> None:
    arrived = pickle.loads(pickle.dumps(job))
    plan = arrived.plan(arrived.runtime_on(gpu=False), "192.0.2.7")
    assert {track.path: track.identity for track in plan.tracks} == job.tracks


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"weights": "0" * 64}, "weights"),
        ({"decoding_version": 1000}, "decoding version"),
        ({"precision": "bf16 torch"}, "precision"),
    ],
)
def test_machine_that_would_compute_other_features_is_refused(
    job: Job, changed: dict[str, Any], difference: str
) -> None:
    with pytest.raises(UsageError, match=f"192.0.2.7 would compute other.*{difference}"):
        recorded_as(job, **changed).plan(job.runtime_on(gpu=False), "192.0.2.7")


def test_runtime_that_a_machine_lacks_is_refused(job: Job) -> None:
    on_gpus = replace(job, options=replace(OPTIONS, device="cuda"))
    with pytest.raises(UsageError, match="cuda"):
        on_gpus.runtime_on(gpu=True)
