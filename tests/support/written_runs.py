"""Runs that no training wrote: predictions that a test chose, and a record that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.run_record import CacheLocation, RunIdentity, RunRecord, RunSpecs
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec

NET = TrackIdentity("spatial", Spec("net"), Spec("uniform"))


def write_run(
    folder: Path,
    predictions: pd.DataFrame,
    name: str = "head",
    splits: str = "same",
    cache: Path = Path("cache"),
    **changes: Any,
) -> Path:
    """``predictions``: columns as `Run.predictions`; ``splits``: runs with the same text are on the
    same splits; ``changes``: of the record.
    """
    count = predictions["split"].nunique()
    Run(folder).write_predictions(predictions)
    identity = RunIdentity(
        full_specs=[],
        plugin_versions=[],
        recipe={},
        loss="l1",
        protocol=f"random:n={count}",
        seed=0,
        oracle_epoch=False,
        manifest="labels",
        splits=[f"{splits} {split}" for split in range(count)],
        spatial=[NET],
        temporal=[NET],
    )
    track = TrackPath.of(cache, "clips", "net", NET)
    record = RunRecord(
        dataset="clips",
        label="opinion",
        scale=(1.0, 5.0),
        specs=RunSpecs(name, "avg", "avg", "mean", "l1", f"random:n={count}"),
        options=TrainOptions(fusion="concat"),
        identity=identity,
        content=["", ""],
        cache=CacheLocation.of(folder, [track], [track]),
        n_dataset=predictions["id"].nunique(),
        missing=[],
        not_finite={},
        notes=[],
        chosen_epochs=[4] * count,
        oracle_srcc=None,
        versions={"torch": "1"},
        seconds=1.0,
    )
    Run(folder).write_record(replace(record, **changes))
    return folder


def predictions_of(n_test: Sequence[int], seed: int = 0, noise: float = 0.5) -> pd.DataFrame:
    """A split for each of ``n_test``, which is the size of its test part, of 60 videos or more,
    whose labels are predicted with a deviation of ``noise``.
    """
    generator = np.random.default_rng(seed)
    count = max(60, *n_test) + 10
    mos = np.random.default_rng(9).permutation(np.linspace(1, 5, count))
    tables = []
    for split, size in enumerate(n_test):
        part = np.array(["test"] * size + ["val"] * 5 + ["train"] * (count - size - 5))
        ids = [f"video {number}" for number in range(count)]
        columns = {"split": split, "part": part, "id": ids, "group": ids, "mos": mos}
        predicted = mos + generator.normal(0, noise, count)
        tables.append(pd.DataFrame({**columns, "predicted": predicted}))
    return pd.concat(tables, ignore_index=True)
