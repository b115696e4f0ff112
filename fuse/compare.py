"""Finished runs side by side, on identical splits, with paired statistics against one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError

# of the bootstrap over splits
RESAMPLES = 10_000
LEVEL = 0.95
NOTHING: dict[str, Any] = {
    "difference": None,
    "interval": None,
    "p_value": None,
    "wins": None,
    "pairs": None,
}


def compare_runs(runs: list[Path], reference: Path | None = None) -> dict[str, Any]:
    """The document of ``vqa-fuse compare --json``: a row a run, sorted by median SRCC, best first.

    ``difference`` is the median over splits of SRCC minus that of the reference (the first run,
    unless another is named) on the same split, ``interval`` its 95 % bootstrap interval,
    ``p_value`` Wilcoxon's signed-rank test, two-sided, ``wins`` in how many splits the run is
    better, of ``pairs`` in which both have an SRCC; null for the reference itself. ``undefined``:
    splits in which a run has no SRCC, its scores being constant. Splits of one dataset overlap, so
    the interval and the p-value are optimistic: read them as a guide.

    UsageError where the splits differ: such figures must not be compared.
    """
    reference = reference or runs[0]
    kept = {run: Run(run).record() for run in [reference, *runs]}
    first = kept[reference]
    for run, record in kept.items():
        if record.identity.manifest != first.identity.manifest:
            raise UsageError(
                f"{reference} ({first.dataset}) and {run} ({record.dataset}) have other "
                "labels; "
                "train both on the same dataset"
            )
        if record.identity.splits != first.identity.splits:
            raise UsageError(
                f"{reference} and {run} differ in their splits "
                f"({first.dataset}, {first.specs.protocol} against "
                f"{record.dataset}, {record.specs.protocol}); "
                "train both with the same dataset, protocol and seed"
            )
    documents = {run: Run(run).metrics().to_json() for run in kept}
    scores = {
        run: np.array([split["srcc"] for split in doc["splits"]], float)
        for run, doc in documents.items()
    }
    rows = []
    for run in runs:
        document, specs = documents[run], kept[run].specs
        rows.append(
            {
                "name": specs.name,
                "fusion": specs.fusion,
                "pooling": specs.pooling,
                "temporal": specs.temporal_encoder,
                "median": document["median"],
                "spread": document["spread"],
                "undefined": document["undefined"],
                **(paired(scores[run] - scores[reference]) if run != reference else NOTHING),
                "run": document["run"],
            }
        )
    rows.sort(
        key=lambda row: -1.0 if row["median"]["srcc"] is None else row["median"]["srcc"],
        reverse=True,
    )
    about = {
        key: documents[reference][key]
        for key in ("dataset", "label", "protocol", "n_videos", "n_dataset", "missing")
    }
    about |= {
        "n_splits": len(documents[reference]["splits"]),
        "notes": documents[reference]["notes"],
    }
    return {**about, "baseline": str(reference), "reference": first.specs.name, "rows": rows}


def paired(differences: np.ndarray) -> dict[str, Any]:
    """Median, bootstrap interval, Wilcoxon p-value and wins of differences over the same splits."""
    differences = differences[np.isfinite(differences)]  # splits where both SRCC are defined
    if not len(differences):
        return NOTHING
    drawn = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "difference": float(np.median(differences)),
        "interval": [float(low), float(high)],
        "p_value": float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0,
        "wins": int((differences > 0).sum()),
        "pairs": len(differences),
    }
