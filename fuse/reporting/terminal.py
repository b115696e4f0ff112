"""Results of the commands of stage two as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    MEANING,
    metric_cells,
    n_videos,
    number,
    shortened,
    titles,
    undefined_splits,
)
from vqa_twostage.fuse.runs import MAIN_METRICS, Evaluation, MetricSummary


def print_evaluation(evaluation: Evaluation) -> None:
    first = evaluation.splits[0]
    click.echo(
        f"{evaluation.dataset}, {evaluation.fusion}, {evaluation.protocol}: "
        f"{len(evaluation.splits)} splits of "
        f"{n_videos(evaluation.n_videos, evaluation.n_dataset)} "
        f"(first: train {first.n_train}, val {first.n_val}, test {first.n_test}), "
        f"labels: {evaluation.label}"
    )
    cells = metric_cells(evaluation.median, evaluation.std)
    print_table(["", *titles()], [[evaluation.fusion, *cells]])
    click.echo(f"{MEANING}; {AFTER_LOGISTIC}")
    if evaluation.undefined:
        click.echo(undefined_splits(evaluation.undefined))
    if evaluation.oracle:
        click.echo(
            "oracle, not a result: choosing the epoch on the test part would have claimed SRCC "
            + number(evaluation.oracle.srcc)
        )
    _print_cautions(evaluation.notes, evaluation.missing)
    _print_not_finite(evaluation.not_finite)
    click.echo(f"run: {evaluation.run}")
    click.echo(f"plot: {evaluation.run}/scatter.png")


def print_comparison(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['dataset']}, {document['protocol']}: {document['n_splits']} splits of "
        f"{_n_videos(document)}, "
        f"labels: {document['label']}"
    )
    rows = []
    for row in document["rows"]:
        difference = wins = p_value = ""
        if row["difference"] is not None:
            low, high = row["interval"]
            difference = f"{row['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
            wins, p_value = f"{row['wins']} of {row['pairs']}", f"{row['p_value']:.2g}"
        cells = metric_cells(MetricSummary(**row["median"]), MetricSummary(**row["spread"]))
        rows.append([row["name"], *cells, difference, wins, p_value])
    print_table(["", *titles(), "SRCC difference [95 %]", "wins", "Wilcoxon p"], rows)
    click.echo(f"{MEANING}; {AFTER_LOGISTIC}")
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
    _print_cautions(document["notes"], document["missing"])


def print_runs(document: dict[str, Any]) -> None:
    print_comparison(document)
    for row in document["rows"]:
        click.echo(f"plot: {row['run']}/scatter.png")


def print_ablation(document: dict[str, Any]) -> None:
    print_comparison(document)
    _print_not_finite(document["not_finite"])
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
        f"{_n_videos(document)}, labels: {document['label']}"
    )
    rows = []
    for key, title in (
        ("refitted", "logistic re-fit to its labels"),
        ("as_is", "scores as they are"),
    ):
        rows.append([title, *(number(document[key][metric]) for metric in MAIN_METRICS)])
    print_table(["", *titles(MAIN_METRICS)], rows)
    own, other = (
        f"{low:g} to {high:g}" for low, high in (document["scale"], document["other_scale"])
    )
    if document["scale"] != document["other_scale"]:
        click.echo(
            f"RMSE of the scores as they are compares the scale {own} with labels from {other}"
        )
    _print_cautions([], document["missing"])


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
            f"{document['largest']:.3g} at most; videos: {shortened(document['videos'])}"
        )
    for line in document["changed"]:
        click.echo(f"  changed: {line}")


def print_table(titles: list[str], rows: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="right" if title else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # a narrow terminal wraps a line, which loses nothing; rich would cut numbers off
    Console(width=max(180, Console().width)).print(table)


def _print_not_finite(not_finite: Mapping[str, int]) -> None:
    columns = [f"{name} ({videos} videos)" for name, videos in not_finite.items()]
    if columns:
        click.echo(
            f"not finite, imputed with the median of the training part: {shortened(columns)}"
        )


def _print_cautions(notes: Sequence[str], missing: Sequence[str]) -> None:
    for note in notes:
        click.echo(f"caution: {note}")
    if missing:
        click.echo(
            f"without features, which no metric counts: {len(missing)} videos: {shortened(missing)}"
        )


def _n_videos(document: Mapping[str, Any]) -> str:
    return n_videos(document["n_videos"], document["n_dataset"])
