"""What the commands of stage two print for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

METRICS = ("srcc", "plcc", "krcc", "rmse", "plcc_raw")
METRIC_TITLES = ("SRCC", "PLCC", "KRCC", "RMSE", "PLCC raw")
SHOWN = 10  # of names in one line


def said_n(document: Mapping[str, Any]) -> str:
    """On how many videos figures stand: ``N = 8 of 1200 videos``, or all of them."""
    count, of = document["n_videos"], document["n_dataset"]
    return f"N = {count} videos" if count == of else f"N = {count} of {of} videos"


def print_evaluation(document: Mapping[str, Any]) -> None:
    sizes = ", ".join(
        f"{part} {document['splits'][0][f'n_{part}']}" for part in ("train", "val", "test")
    )
    click.echo(
        f"{document['dataset']}, {document['fusion']}, {document['protocol']}: "
        f"{len(document['splits'])} splits of "
        f"{said_n(document)} (first: {sizes}), labels: {document['label']}"
    )
    print_table(["", *METRIC_TITLES], [[document["fusion"], *_metric_cells(document)]])
    click.echo(
        "median ± standard deviation over splits; PLCC and RMSE after a 4-parameter logistic"
    )
    if document["undefined"]:
        click.echo(
            f"undefined, and not in the median: SRCC of {document['undefined']} splits (constant "
            "scores)"
        )
    if document["oracle"]:
        click.echo(
            "oracle, not a result: choosing the epoch on the test part would have claimed SRCC "
            + _figure(document["oracle"]["srcc"])
        )
    _print_cautions(document)
    _print_not_finite(document)
    click.echo(f"run: {document['run']}")
    click.echo(f"plot: {document['run']}/scatter.png")


def print_comparison(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['dataset']}, {document['protocol']}: {document['n_splits']} splits of "
        f"{said_n(document)}, "
        f"labels: {document['label']}"
    )
    rows = []
    for row in document["rows"]:
        difference = wins = p_value = ""
        if row["difference"] is not None:
            low, high = row["interval"]
            difference = f"{row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
            wins, p_value = f"{row['wins']} of {row['pairs']}", f"{row['p_value']:.2g}"
        rows.append([row["name"], *_metric_cells(row), difference, wins, p_value])
    print_table(["", *METRIC_TITLES, "SRCC difference [95 %]", "wins", "Wilcoxon p"], rows)
    click.echo(
        "median ± standard deviation over splits; PLCC and RMSE after a 4-parameter logistic"
    )
    click.echo(
        f"difference: paired, median over splits, against {document['reference']} "
        f"({document['baseline']})"
    )
    for row in document["rows"]:
        if row["undefined"]:
            click.echo(
                f"undefined, and in no median or difference: SRCC of {row['name']} in "
                f"{row['undefined']} of "
                f"{document['n_splits']} splits (constant scores)"
            )
    _print_cautions(document)


def print_runs(document: dict[str, Any]) -> None:
    print_comparison(document)
    for row in document["rows"]:
        click.echo(f"plot: {row['run']}/scatter.png")


def print_ablation(document: dict[str, Any]) -> None:
    print_comparison(document)
    _print_not_finite(document)
    for name, reason in document["impossible"].items():
        click.echo(f"not run: {name}: {reason}")
    click.echo(
        f"tables: {document['folder']}/ablation.md, .csv, .json, .png; a run for each row beside "
        "them"
    )


def print_cross_dataset(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['run']}, trained on all of {document['trained_on']}; tested on "
        f"{document['dataset']}, "
        f"{said_n(document)}, labels: {document['label']}"
    )
    rows = []
    for key, title in (
        ("refitted", "logistic re-fit to its labels"),
        ("as_is", "scores as they are"),
    ):
        figures = document[key]
        cells = [_figure(figures[metric]) for metric in METRICS[:4]]
        rows.append([title, *cells])
    print_table(["", *METRIC_TITLES[:4]], rows)
    own, other = (
        f"{low:g} to {high:g}" for low, high in (document["scale"], document["other_scale"])
    )
    if document["scale"] != document["other_scale"]:
        click.echo(
            f"RMSE of the scores as they are compares the scale {own} with labels from {other}"
        )
    _print_cautions({**document, "notes": []})


def print_reproduction(document: dict[str, Any]) -> None:
    if document["equal"]:
        click.echo(
            f"{document['run']}: all {document['n_predictions']} predictions are equal to the last "
            "bit"
        )
    else:
        click.echo(
            f"{document['run']}: {document['predictions']} of {document['n_predictions']} "
            "predictions differ, by "
            f"{document['largest']:.3g} at most; videos: {_shortened(document['videos'])}"
        )
    for line in document["changed"]:
        click.echo(f"  changed: {line}")


def print_report(document: dict[str, Any]) -> None:
    if document["why_not_compared"]:
        click.echo(f"without paired differences: {document['why_not_compared']}")
    if document["frames"]:
        click.echo(f"without frames of the videos: {document['frames']}")
    for name, reason in document["unreadable"].items():
        click.echo(f"could not be opened: {name}: {reason}")
    click.echo(
        f"report: {document['report']} ({document['bytes'] / 1e6:.1f} MB, frames of "
        f"{document['pictured']} videos)"
    )


def print_export(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['output']}: {', '.join(document['files'])} ({document['bytes'] / 1e6:.1f} MB "
        "of weights)"
    )
    if graph := document["onnx"]:
        said = f"{graph['file']}: {graph['bytes'] / 1e6:.1f} MB, run by onnxruntime"
        click.echo(f"{said}; random features score as here within {graph['difference']:.1g}")
    click.echo(f"next: vqa-fuse score VIDEO --run {document['output']}")


def print_table(titles: list[str], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # a narrow terminal wraps a line, which loses nothing; rich would cut figures off
    Console(width=max(180, Console().width)).print(table)


def _print_not_finite(document: Mapping[str, Any]) -> None:
    columns = [f"{name} ({videos} videos)" for name, videos in document["not_finite"].items()]
    if columns:
        click.echo(
            f"not finite, imputed with the median of the training part: {_shortened(columns)}"
        )


def _print_cautions(document: Mapping[str, Any]) -> None:
    for note in document["notes"]:
        click.echo(f"caution: {note}")
    if document["missing"]:
        count = len(document["missing"])
        click.echo(
            f"without features, and in no figure: {count} videos: {_shortened(document['missing'])}"
        )


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", … ({len(names)} in all)" if len(names) > SHOWN else "")


def _metric_cells(document: Mapping[str, Any]) -> list[str]:
    cells = []
    for metric in METRICS:
        spread = document["spread"][metric]
        cells.append(
            _figure(document["median"][metric]) + (f" ± {spread:.3f}" if spread is not None else "")
        )
    return cells


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
