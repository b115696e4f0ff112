"""Tables of metrics in Markdown, to paste: of an ablation, of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.paired import WHICH_TO_BELIEVE
from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    MEAN_TITLE,
    OF_AXES,
    PAIRED_TITLES,
    axes_rows,
    curve_axes,
    curve_cells,
    curve_titles,
    meaning,
    meaning_of_difference,
    metric_cells,
    n_videos,
    paired_cells,
    titles,
)
from vqa_twostage.fuse.results import (
    MAIN_METRICS,
    Comparison,
    Evaluation,
    LearningCurve,
    SplitSummary,
)

DIGITS = 4


def of_comparison(comparison: Comparison) -> str:
    """A row for each variant of an ablation, below a line that says what the table shows."""
    rows = []
    for row in comparison.rows:
        cells = metric_cells(row.summary, MAIN_METRICS, DIGITS)
        rows.append([f"`{row.name}`", *cells, *paired_cells(row.paired)])
    caption = _caption(comparison, comparison.rows[0].summary)
    undefined = "".join(_undefined(row.name, row.summary.undefined) for row in comparison.rows)
    table = _table(["", *titles(MAIN_METRICS), MEAN_TITLE, *PAIRED_TITLES], rows)
    learnt = opinions.sentences_of_rows(
        {f"`{row.name}`": row.opinions for row in comparison.rows}, comparison.dataset
    )
    said = "".join(f" {sentence}." for sentence in learnt)
    difference = meaning_of_difference(f"`{comparison.reference}`")
    caption = f"{caption}; {difference}; {WHICH_TO_BELIEVE}.{undefined}{said}"
    of_axes = _axes([(f"`{row.name}`", row.axes) for row in comparison.rows])
    return f"{caption}\n\n{table}{of_axes}{_notes(comparison)}"


def of_curve(curve: LearningCurve) -> str:
    """A row for each part of the labels of a learning curve, below a line that says what it is."""
    whole = curve.points[-1].comparison
    caption = _caption(whole, curve.points[-1].scratch.summary)
    rows = [curve_cells(point, DIGITS) for point in curve.points]
    learnt = opinions.sentences_of_rows(
        {f"`{row.name}`": row.opinions for row in whole.rows}, whole.dataset
    )
    said = "".join(f" {sentence}." for sentence in learnt)
    difference = meaning_of_difference("random weights", "SRCC fine-tuned")
    paired = f"; {difference}; {WHICH_TO_BELIEVE}" if curve.source else ""
    table = _table(curve_titles(curve), rows) + _axes(curve_axes(curve))
    return f"{caption}{paired}.{said}\n\n{table}{_notes(whole)}"


def of_run(evaluation: Evaluation) -> str:
    """The metrics of one run as a table of one row, below a line that says what it shows."""
    caption = _caption(evaluation, evaluation.summary)
    undefined = _undefined(evaluation.fusion, evaluation.summary.undefined)
    cells = metric_cells(evaluation.summary, digits=DIGITS)
    table = _table(["", *titles()], [[f"`{evaluation.fusion}`", *cells]])
    learnt = opinions.sentences(evaluation.opinions, evaluation.dataset)
    said = "".join(f" `{evaluation.fusion}`: {sentence}." for sentence in learnt)
    of_axes = {name: axis.summary for name, axis in evaluation.axes.items()}
    table += _axes([(f"`{evaluation.fusion}`", of_axes)])
    return f"{caption}; {AFTER_LOGISTIC}.{undefined}{said}\n\n{table}{_notes(evaluation)}"


def _caption(result: Comparison | Evaluation, summary: SplitSummary) -> str:
    return (
        f"{result.dataset}, `{result.protocol}`: {summary.n_splits} splits of "
        f"{n_videos(result.n_videos, result.n_dataset)}, labels: {result.label}; {meaning(summary)}"
    )


def _undefined(name: str, count: int) -> str:
    if not count:
        return ""
    return (
        f" SRCC of `{name}` is undefined in {count} splits (constant scores), which count nowhere."
    )


def _axes(runs: Sequence[tuple[str, Mapping[str, SplitSummary]]]) -> str:
    """A table of the further labels of runs; empty where they have none."""
    rows = axes_rows(runs, DIGITS)
    if not rows:
        return ""
    undefined = "".join(
        _undefined(f"{run}, {axis}", summary.undefined)
        for run, of_run in runs
        for axis, summary in of_run.items()
    )
    return f"\n{OF_AXES.capitalize()}.{undefined}\n\n{_table(['', *titles()], rows)}"


def _notes(result: Comparison | Evaluation) -> str:
    """Cautions below a table, such as why figures are withheld."""
    return "".join(f"\nCaution: {note}.\n" for note in result.notes)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines) + "\n"
