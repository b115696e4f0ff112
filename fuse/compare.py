"""Finished runs side by side, on identical splits, with paired statistics against the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from fuse.evaluate import evaluate_run
from pipeline import records
from pipeline.errors import UsageError

# of the bootstrap over splits
RESAMPLES = 10_000
LEVEL = 0.95
NOTHING: dict[str, Any] = {"difference": None, "interval": None, "p_value": None}


def compare_runs(runs: list[Path]) -> dict[str, Any]:
    """The document of ``vqa-fuse compare --json``: a row a run, sorted by median SRCC, best first.

    ``difference`` is the median over splits of SRCC minus that of the first run on the same split, ``interval`` its
    95 % bootstrap interval, ``p_value`` Wilcoxon's signed-rank test; null for the first run itself. Splits of one
    dataset overlap, so the interval and the p-value are optimistic: read them as a guide.

    UsageError where the splits differ: such figures must not be compared.
    """
    kept = [records.read_json(run / "run.json") for run in runs]
    for run, record in zip(runs, kept, strict=True):
        if record["identity"]["manifest"] != kept[0]["identity"]["manifest"]:
            raise UsageError(
                f"{runs[0]} ({kept[0]['dataset']}) and {run} ({record['dataset']}) have other labels; "
                "train both on the same dataset"
            )
        if record["split_digests"] != kept[0]["split_digests"]:
            raise UsageError(
                f"{runs[0]} and {run} differ in their splits "
                f"({kept[0]['dataset']}, {kept[0]['specs']['protocol']} against "
                f"{record['dataset']}, {record['specs']['protocol']}); "
                "train both with the same dataset, protocol and seed"
            )
    documents = [evaluate_run(run) for run in runs]
    scores = [np.array([split["srcc"] for split in document["splits"]], float) for document in documents]
    rows = []
    for record, document, score in zip(kept, documents, scores, strict=True):
        rows.append(
            {
                "name": document["fusion"],
                **{key: record["specs"][key] for key in ("fusion", "pooling")},
                "temporal": record["specs"]["temporal_encoder"],
                "median": document["median"],
                "spread": document["spread"],
                **(_paired(score - scores[0]) if score is not scores[0] else NOTHING),
                "run": document["run"],
            }
        )
    first = documents[0]
    rows.sort(key=lambda row: -1.0 if row["median"]["srcc"] is None else row["median"]["srcc"], reverse=True)
    about = {key: first[key] for key in ("dataset", "label", "protocol", "n_videos")}
    return {**about, "n_splits": len(first["splits"]), "baseline": str(runs[0]), "rows": rows}


def _paired(differences: np.ndarray) -> dict[str, Any]:
    differences = differences[np.isfinite(differences)]  # splits where both SRCC are defined
    if not len(differences):
        return NOTHING
    drawn = np.random.default_rng(0).choice(differences, (RESAMPLES, len(differences)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "difference": float(np.median(differences)),
        "interval": [float(low), float(high)],
        "p_value": float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0,
    }
