"""Tables of metrics in Markdown, to paste: of an ablation, of a run."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.paired import WHICH_TO_BELIEVE
from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    MEANING,
    PAIRED_TITLES,
    metric_cells,
    n_videos,
    paired_cells,
    titles,
)
from vqa_twostage.fuse.results import MAIN_METRICS, Comparison, Evaluation

DIGITS = 4


def of_comparison(comparison: Comparison) -> str:
    """A row for each variant of an ablation, below a line that says what the table shows."""
    rows = []
    for row in comparison.rows:
        cells = metric_cells(row.median, row.std, MAIN_METRICS, DIGITS)
        rows.append([f"`{row.name}`", *cells, *paired_cells(row.paired)])
    caption = _caption(
        comparison.dataset,
        comparison.protocol,
        comparison.n_splits,
        n_videos(comparison.n_videos, comparison.n_dataset),
        comparison.label,
    )
    undefined = "".join(_undefined(row.name, row.undefined) for row in comparison.rows)
    paired_titles = [f"SRCC against {comparison.reference} [95 %]", *PAIRED_TITLES]
    table = _table(["", *titles(MAIN_METRICS), *paired_titles], rows)
    learnt = opinions.sentences_of_rows(
        {f"`{row.name}`": row.opinions for row in comparison.rows}, comparison.dataset
    )
    said = "".join(f" {sentence}." for sentence in learnt)
    return f"{caption}; difference: paired, median; {WHICH_TO_BELIEVE}.{undefined}{said}\n\n{table}"


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
    learnt = opinions.sentences(evaluation.opinions, evaluation.dataset)
    said = "".join(f" `{evaluation.fusion}`: {sentence}." for sentence in learnt)
    return f"{caption}; {AFTER_LOGISTIC}.{undefined}{said}\n\n{table}"


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
