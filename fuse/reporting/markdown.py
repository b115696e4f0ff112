"""Tables of metrics in Markdown, to paste: of an ablation, of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    MEANING,
    metric_cells,
    n_videos,
    titles,
)
from vqa_twostage.fuse.runs import MAIN_METRICS, Evaluation, MetricSummary

DIGITS = 4


def of_ablation(document: Mapping[str, Any]) -> str:
    """A row for each variant of the document of ``vqa-fuse ablate --json``, below a line that says
    what the table shows.
    """
    rows = []
    for row in document["rows"]:
        median, std = MetricSummary(**row["median"]), MetricSummary(**row["spread"])
        cells = [f"`{row['name']}`", *metric_cells(median, std, MAIN_METRICS, DIGITS)]
        if row["difference"] is None:
            cells += ["", "", ""]
        else:
            low, high = row["interval"]
            cells += [f"{row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"]
            cells += [f"{row['wins']} of {row['pairs']}", f"{row['p_value']:.2g}"]
        rows.append(cells)
    caption = _caption(
        document["dataset"],
        document["protocol"],
        document["n_splits"],
        n_videos(document["n_videos"], document["n_dataset"]),
        document["label"],
    )
    undefined = "".join(_undefined(row["name"], row["undefined"]) for row in document["rows"])
    paired_titles = [f"SRCC against {document['reference']} [95 %]", "wins", "Wilcoxon p"]
    table = _table(["", *titles(MAIN_METRICS), *paired_titles], rows)
    return f"{caption}; difference: paired, median.{undefined}\n\n{table}"


def of_run(evaluation: Evaluation) -> str:
    """The metrics of one run as a table of one row, below a line that says what it shows."""
    caption = _caption(
        evaluation.dataset,
        evaluation.protocol,
        len(evaluation.splits),
        n_videos(evaluation.n_videos, evaluation.n_dataset),
        evaluation.label,
    )
    undefined = _undefined(evaluation.fusion, evaluation.undefined)
    cells = metric_cells(evaluation.median, evaluation.std, digits=DIGITS)
    table = _table(["", *titles()], [[f"`{evaluation.fusion}`", *cells]])
    return f"{caption}; {AFTER_LOGISTIC}.{undefined}\n\n{table}"


def _caption(dataset: str, protocol: str, splits: int, videos: str, label: str) -> str:
    return f"{dataset}, `{protocol}`: {splits} splits of {videos}, labels: {label}; {MEANING}"


def _undefined(name: str, count: int) -> str:
    if not count:
        return ""
    return (
        f" SRCC of `{name}` is undefined in {count} splits (constant scores), which count nowhere."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines) + "\n"
