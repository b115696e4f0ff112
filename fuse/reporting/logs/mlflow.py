"""MLflow: the same curves, test metrics by split, medians, and the files that say what the run is.

Where it keeps runs is up to its own variables: ``MLFLOW_TRACKING_URI``, and
``MLFLOW_EXPERIMENT_NAME``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from vqa_twostage.fuse.reporting.run_log import PROJECT, LoggedRun
from vqa_twostage.pipeline.errors import UsageError

PACKAGES = ("mlflow",)
KEY = "vqa_twostage.run"  # the tag that finds a run again
MOST_METRICS = 1000  # of one request
LONGEST = 500  # characters of a parameter, which older servers take


def write(logged: LoggedRun) -> str:
    """One run there for a run here: logged twice, the first one is replaced."""
    # this program sends nothing that nobody asked for; who wants it sets the variable to false
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        return _write_with(MlflowClient(), logged)
    except (MlflowException, ImportError, OSError) as error:
        raise UsageError(
            f"--log mlflow: {error}; set MLFLOW_TRACKING_URI to the address of a server, as "
            f"http://localhost:5000, and give the same command again: {logged.run.folder} is "
            "finished and is not trained again"
        ) from None


def _write_with(client: Any, logged: LoggedRun) -> str:
    from mlflow.entities import Param

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if found is None else found.experiment_id
    earlier = client.search_runs([experiment], f"tags.`{KEY}` = '{logged.key}'")
    kept = client.create_run(
        experiment, run_name=logged.name, tags={KEY: logged.key, "dataset": logged.record.dataset}
    ).info.run_id
    params = [Param(key, str(value)[:LONGEST]) for key, value in logged.choices.items()]
    client.log_batch(kept, params=params)
    metrics = list(_metrics(logged))
    for first in range(0, len(metrics), MOST_METRICS):
        client.log_batch(kept, metrics=metrics[first : first + MOST_METRICS])
    for file in (logged.run.scatter_file, logged.run.metrics_file, logged.run.record_file):
        client.log_artifact(kept, str(file))
    client.set_terminated(kept)
    for run in earlier:
        client.delete_run(run.info.run_id)
    return f"mlflow: run {logged.name} of {name}, in {client.tracking_uri}"


def _metrics(logged: LoggedRun) -> Iterator[Any]:
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    for seed, curve in logged.validation.items():
        for epoch, srcc in curve.items():
            yield Metric(f"validation/srcc/split {seed}", srcc, now, epoch)
    for seed, metrics in logged.tests():
        for name, value in metrics.items():
            yield Metric(f"test/{name}/split {seed}", value, now, 0)
    for name, value in logged.medians().items():
        yield Metric(f"median over splits/{name}", value, now, 0)
