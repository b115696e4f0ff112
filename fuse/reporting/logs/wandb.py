"""Weights & Biases: the same curves, with test metrics as a table and medians as the summary.

Where it keeps runs is up to its own variables: ``WANDB_MODE=offline`` writes below ``./wandb``,
``WANDB_PROJECT`` and ``WANDB_ENTITY`` name the place on a server.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from vqa_twostage.fuse.reporting.run_log import PROJECT, LoggedRun
from vqa_twostage.fuse.results import MAIN_METRICS
from vqa_twostage.pipeline.errors import UsageError

PACKAGES = ("wandb",)


def write(logged: LoggedRun) -> str:
    """One run there for a run here: logged twice, it is the same one."""
    import wandb
    from wandb.errors import Error

    try:
        kept = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=logged.key,
            resume="allow",
            name=logged.name,
            group=logged.record.dataset,
            config=logged.choices,
            settings=wandb.Settings(silent=True),
        )
        with kept:
            _write_into(kept, logged)
        return kept.url or f"wandb sync {os.path.dirname(kept.dir)}"
    except Error as error:
        raise UsageError(
            f"--log wandb: {error}; run wandb login, or set WANDB_MODE=offline, and give the same "
            f"command again: {logged.run.folder} is finished and is not trained again"
        ) from None


def _write_into(kept: Any, logged: LoggedRun) -> None:
    import wandb

    kept.define_metric("epoch")
    kept.define_metric("validation/*", step_metric="epoch")
    for epoch in sorted({epoch for curve in logged.validation.values() for epoch in curve}):
        points = {
            f"validation/srcc split {seed}": curve[epoch]
            for seed, curve in logged.validation.items()
            if epoch in curve
        }
        kept.log({"epoch": epoch, **points})
    columns: list[str | int] = ["split", *MAIN_METRICS]
    rows: list[Iterable[Any]] = [
        [seed, *map(metrics.get, MAIN_METRICS)] for seed, metrics in logged.tests()
    ]
    kept.log({"test": wandb.Table(columns=columns, data=rows)})
    kept.log({"scatter": wandb.Image(str(logged.run.scatter_file))})
    for name, value in logged.medians().items():
        kept.summary[f"median over splits/{name}"] = value
