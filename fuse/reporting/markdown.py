"""Tables to paste: of an ablation, of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vqa_twostage.fuse.reporting.terminal import METRIC_TITLES, METRICS, said_n


def of_ablation(document: dict[str, Any]) -> str:
    """A row a variant, with the line that says what the table is of."""
    titles = [f"SRCC against {document['reference']} [95 %]", "wins", "Wilcoxon p"]
    rows = []
    for row in document["rows"]:
        cells = [f"`{row['name']}`", *_figures(row, METRICS[:4])]
        if row["difference"] is None:
            cells += ["", "", ""]
        else:
            low, high = row["interval"]
            cells += [f"{row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"]
            cells += [f"{row['wins']} of {row['pairs']}", f"{row['p_value']:.2g}"]
        rows.append(cells)
    undefined = "".join(_undefined(row["name"], row["undefined"]) for row in document["rows"])
    about = _about(document, document["n_splits"]) + "; difference: paired, median."
    return about + undefined + "\n\n" + _table(["", *METRIC_TITLES[:4], *titles], rows)


def of_run(document: Mapping[str, Any]) -> str:
    """The same of one run, whose document is that of ``vqa-fuse evaluate --json``."""
    about = (
        _about(document, len(document["splits"])) + "; PLCC and RMSE after a 4-parameter logistic."
    )
    about += _undefined(document["fusion"], document["undefined"])
    return (
        about
        + "\n\n"
        + _table(["", *METRIC_TITLES], [[f"`{document['fusion']}`", *_figures(document, METRICS)]])
    )


def _about(document: Mapping[str, Any], splits: int) -> str:
    return (
        f"{document['dataset']}, `{document['protocol']}`: {splits} splits of {said_n(document)}, "
        f"labels: {document['label']}; median ± standard deviation over splits"
    )


def _undefined(name: str, count: int) -> str:
    return (
        f" SRCC of `{name}` is undefined in {count} splits (constant scores), which count nowhere."
        if count
        else ""
    )


def _figures(row: Mapping[str, Any], metrics: tuple[str, ...]) -> list[str]:
    cells = []
    for metric in metrics:
        median, spread = row["median"][metric], row["spread"][metric]
        cells.append(
            "undefined"
            if median is None
            else f"{median:.4f}" + (f" ± {spread:.3f}" if spread else "")
        )
    return cells


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
    return "\n".join(lines) + "\n"
