"""Finished runs side by side, on identical splits, with paired statistics against one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vqa_twostage.fuse.paired import PairedStatistics, paired_statistics
from vqa_twostage.fuse.runs import Evaluation, MetricSummary, Run, RunRecord
from vqa_twostage.pipeline.errors import UsageError


@dataclass(frozen=True)
class ComparisonRow:
    """One run of a comparison."""

    name: str
    """The fusion, and of the other parts those that are not the default."""
    fusion: str
    pooling: str
    temporal: str
    """The temporal encoder."""
    median: MetricSummary
    std: MetricSummary
    """Over the splits; the JSON document calls it ``spread``."""
    undefined: int
    """Splits without an SRCC, the scores being constant."""
    paired: PairedStatistics | None
    """Against the reference; None for the reference itself."""
    run: Path

    def to_json(self) -> dict[str, Any]:
        paired = self.paired
        return {
            "name": self.name,
            "fusion": self.fusion,
            "pooling": self.pooling,
            "temporal": self.temporal,
            "median": self.median.to_json(),
            "spread": self.std.to_json(),
            "undefined": self.undefined,
            "difference": None if paired is None else paired.difference,
            "interval": None if paired is None else list(paired.interval),
            "p_value": None if paired is None else paired.p_value,
            "wins": None if paired is None else paired.wins,
            "pairs": None if paired is None else paired.pairs,
            "run": str(self.run),
        }


@dataclass(frozen=True)
class Comparison:
    """Runs on the same splits, by median SRCC, best first.

    `to_json` is the document of ``vqa-fuse compare --json``.
    """

    dataset: str
    label: str
    protocol: str
    n_videos: int
    n_dataset: int
    missing: list[str]
    n_splits: int
    notes: list[str]
    reference_run: Path
    """The run that differences are against; the JSON document calls it ``baseline``."""
    reference: str
    """Its name."""
    rows: list[ComparisonRow]

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "label": self.label,
            "protocol": self.protocol,
            "n_videos": self.n_videos,
            "n_dataset": self.n_dataset,
            "missing": self.missing,
            "n_splits": self.n_splits,
            "notes": self.notes,
            "baseline": str(self.reference_run),
            "reference": self.reference,
            "rows": [row.to_json() for row in self.rows],
        }


def compare_runs(runs: Sequence[str | Path], reference: str | Path | None = None) -> Comparison:
    """Runs against ``reference``, by default the first of them; see `PairedStatistics`.

    UsageError where a folder is not a run, or where labels or splits differ: such results must not
    be compared.
    """
    if not runs:
        raise UsageError("compare needs a run or more; vqa-fuse train writes runs")
    folders = [Path(run) for run in runs]
    against = folders[0] if reference is None else Path(reference)
    records = {run: Run(run).record() for run in dict.fromkeys([against, *folders])}
    for run in folders:
        _require_comparable(against, records[against], run, records[run])
    evaluations = {run: Run(run).metrics() for run in records}
    baseline, rows = _scores(evaluations[against]), []
    for run in folders:
        evaluation, specs = evaluations[run], records[run].specs
        differences = _scores(evaluation) - baseline
        rows.append(
            ComparisonRow(
                name=specs.name,
                fusion=specs.fusion,
                pooling=specs.pooling,
                temporal=specs.temporal_encoder,
                median=evaluation.median,
                std=evaluation.std,
                undefined=evaluation.undefined,
                paired=None if run == against else paired_statistics(differences),
                run=run,
            )
        )
    rows.sort(key=_median_srcc, reverse=True)
    shared = evaluations[against]
    return Comparison(
        dataset=shared.dataset,
        label=shared.label,
        protocol=shared.protocol,
        n_videos=shared.n_videos,
        n_dataset=shared.n_dataset,
        missing=shared.missing,
        n_splits=len(shared.splits),
        notes=shared.notes,
        reference_run=against,
        reference=records[against].specs.name,
        rows=rows,
    )


def _require_comparable(one: Path, first: RunRecord, other: Path, second: RunRecord) -> None:
    if second.identity.manifest != first.identity.manifest:
        raise UsageError(
            f"{one} ({first.dataset}) and {other} ({second.dataset}) have other labels; "
            "train both on the same dataset"
        )
    if second.identity.splits != first.identity.splits:
        raise UsageError(
            f"{one} and {other} differ in their splits "
            f"({first.dataset}, {first.specs.protocol} against "
            f"{second.dataset}, {second.specs.protocol}); "
            "train both with the same dataset, protocol and seed"
        )


def _scores(evaluation: Evaluation) -> Float[np.ndarray, " splits"]:
    """The SRCC of each split, NaN where it is undefined."""
    return np.array([split.metrics.srcc for split in evaluation.splits], float)


def _median_srcc(row: ComparisonRow) -> float:
    return -1.0 if row.median.srcc is None else row.median.srcc
