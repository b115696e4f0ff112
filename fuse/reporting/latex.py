"""A comparison as a LaTeX table (booktabs), to include in a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.paired import PairedStatistics
from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    OF_AXES,
    meaning,
    median_and_spread,
    n_videos,
    titles,
)
from vqa_twostage.fuse.results import MAIN_METRICS, Comparison, SplitSummary

# in text; a backslash first, so that those of the others stay
ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}
COLUMNS = 3 + len(MAIN_METRICS)  # the name, the metrics, the difference and its p


def of_comparison(comparison: Comparison) -> str:
    """A ``table*`` with a row for each run. Its caption has N, the protocol and what the figures
    are; an SRCC is bold only where it is better than that of every other row.
    """
    rows = [
        _row(
            row.name,
            _metrics(row.summary, row.run == comparison.winner),
            _difference(row.paired, row.run == comparison.reference_run),
        )
        for row in comparison.rows
    ]
    for label in dict.fromkeys(name for row in comparison.rows for name in row.axes):
        rows.append(rf"\midrule \multicolumn{{{COLUMNS}}}{{@{{}}l}}{{\emph{{{escape(label)}}}}} \\")
        rows += [
            _row(row.name, _metrics(row.axes[label]), ["", ""])
            for row in comparison.rows
            if label in row.axes
        ]
    head = _cells(["", *titles(MAIN_METRICS), r"Mean difference [95\,\%]", "$p$"])
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{_caption(comparison)}}}",
        rf"\label{{tab:{_key(comparison.dataset)}}}",
        rf"\begin{{tabular}}{{@{{}}l{'c' * len(MAIN_METRICS)}cc@{{}}}}",
        rf"\toprule {head}",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Any text as it is to be read; a line of its own would end a caption."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    escaped = "".join(ESCAPED.get(character, character) for character in plain)
    return re.sub("-(?=-)", "-{}", escaped)  # two would be joined to one dash


def _caption(comparison: Comparison) -> str:
    summary = comparison.rows[0].summary
    videos = n_videos(comparison.n_videos, comparison.n_dataset)
    bold = (
        "Bold: better than every other row, corrected p < .05 against each"
        if comparison.winner is not None
        else "No row is better than every other one, corrected p < .05 against each"
    )
    sentences = [
        f"{comparison.dataset}, {comparison.protocol}: {summary.n_splits} splits of {videos}, "
        f"labels: {comparison.label}",
        f"Figures: {meaning(summary)}; {AFTER_LOGISTIC}",
        f"Mean difference: of a row's SRCC minus that of {comparison.reference} on the same split; "
        "its sign can be another than the medians suggest",
        "The interval and p are those of the corrected resampled t-test",
        bold,
    ]
    sentences += [
        f"SRCC of {row.name} is undefined in {row.summary.undefined} splits, which count nowhere"
        for row in comparison.rows
        if row.summary.undefined
    ]
    if any(row.axes for row in comparison.rows):
        sentences.append(f"Below: {OF_AXES}")
    learnt = {row.name: row.opinions for row in comparison.rows}
    sentences += opinions.sentences_of_rows(learnt, comparison.dataset)
    sentences += [f"Caution: {note}" for note in comparison.notes]
    return " ".join(f"{escape(text)}." for text in sentences)


def _row(name: str, metrics: Sequence[str], difference: Sequence[str]) -> str:
    return _cells([escape(name), *metrics, *difference])


def _cells(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _metrics(summary: SplitSummary, best: bool = False) -> list[str]:
    cells = []
    for metric in MAIN_METRICS:
        median, spread = median_and_spread(summary, metric)
        if getattr(summary.median, metric) is None:
            cells.append(escape(median))
            continue
        number = rf"\mathbf{{{median}}}" if best and metric == "srcc" else median
        cells.append(f"${number} {spread}$".replace("± ", r"\pm ").replace(" $", "$"))
    return cells


def _difference(paired: PairedStatistics | None, is_reference: bool) -> list[str]:
    if paired is None:
        return ["reference" if is_reference else "undefined", ""]
    corrected = paired.corrected
    if corrected is None:
        return ["n/a", "n/a"]
    low, high = corrected.interval
    return [f"${corrected.difference:+.4f}$ $[{low:+.4f}, {high:+.4f}]$", _p(corrected.p_value)]


def _p(value: float) -> str:
    return "$<.0001$" if value < 1e-4 else f"${value:.2g}$"


def _key(name: str) -> str:
    """Of a label; references to it are typed."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "comparison"
