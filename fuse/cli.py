"""vqa-fuse: parses, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fuse.options import TrainOptions
from pipeline import console, presets, spec
from pipeline.errors import DONE, UsageError

DEFAULTS = TrainOptions()
METRICS = ("srcc", "plcc", "krcc", "rmse", "plcc_raw")
METRIC_TITLES = ("SRCC", "PLCC", "KRCC", "RMSE", "PLCC raw")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Stage two: train light heads on cached features, and evaluate them on unseen contents.

    \b
    Example
      vqa-fuse train --fusion dynamic
    """


@command.command()
@click.option("--fusion", metavar="SPEC", help=f"How spatial and temporal features meet [default: {DEFAULTS.fusion}].")
@click.option("--dataset", metavar="NAME", help="A dataset in the cache; may be left out where there is only one.")
@click.option("--pooling", metavar="SPEC", help=f"Stored arrays to one token a frame [default: {DEFAULTS.pooling}].")
@click.option(
    "--temporal-encoder", metavar="SPEC", help=f"Frame tokens to one vector [default: {DEFAULTS.temporal_encoder}]."
)
@click.option("--spatial", metavar="SPEC", help="Spatial track; may be left out where there is only one.")
@click.option("--temporal", metavar="SPEC", help="Temporal track; may be left out where there is only one.")
@click.option("--protocol", metavar="SPEC", help=f"How videos are split [default: {DEFAULTS.protocol}].")
@click.option("--loss", metavar="SPEC", help=f"Losses joined by + [default: {DEFAULTS.loss}].")
@click.option("--seed", type=click.IntRange(min=0), help=f"Shifts every seed [default: {DEFAULTS.seed}].")
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help=f"Most epochs; validation chooses among them [default: {DEFAULTS.epochs}].",
)
@click.option("--preset", metavar="NAME", help="A set of options; those given beside it win.")
@click.option(
    "--cache", type=click.Path(path_type=Path), default=Path("cache"), show_default=True, help="Where features are."
)
@click.option(
    "--run", type=click.Path(path_type=Path), help="Where results go [default: runs/<dataset>-<fusion>-<digest>]."
)
@click.option("--list", "list_plugins", is_flag=True, help="List fusions, poolings and temporal encoders, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, everything else on stderr.")
def train(
    dataset: str | None,
    preset: str | None,
    cache: Path,
    run: Path | None,
    list_plugins: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Train and test a head on repeated content-disjoint splits of one dataset.

    The validation part of a split chooses the epoch; the test part is looked at once. Prints SRCC and KRCC of the raw
    scores, PLCC and RMSE after a four-parameter logistic, each as median and spread over the splits.

    \b
    Example
      vqa-fuse train --fusion dynamic --dataset konvid --protocol random:n=20
    """
    if list_plugins:
        for kind in ("fusion", "pooling", "temporal"):
            found = spec.available(f"fuse.{kind}")
            width = max(map(len, found))
            click.echo(f"fuse/{kind}\n" + "".join(f"  {name:<{width}}  {line}\n" for name, line in found.items()))
        return DONE
    chosen = {name: value for name, value in given.items() if value is not None}
    options = TrainOptions(**{**presets.load(preset, "fuse"), **chosen})
    from fuse.data import load_dataset
    from fuse.train import train_run

    data = load_dataset(cache, dataset, options.spatial, options.temporal)
    with console.progress(f"train {options.fusion}") as on_progress:
        document = train_run(data, options, run, on_progress)
    show(document, as_json, lambda: print_evaluation(document))
    return DONE


@command.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, everything else on stderr.")
def evaluate(run: Path, as_json: bool) -> int:
    """Metrics of a run, computed again from its saved predictions.

    \b
    Example
      vqa-fuse evaluate runs/demo-dynamic-1a2b3c4d5e
    """
    from fuse.evaluate import evaluate_run

    document = evaluate_run(run)
    show(document, as_json, lambda: print_evaluation(document))
    return DONE


@command.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, everything else on stderr.")
def compare(runs: tuple[Path, ...], as_json: bool) -> int:
    """Runs on the same splits in one table, with paired statistics against the first of them.

    \b
    Example
      vqa-fuse compare runs/demo-concat-* runs/demo-dynamic-*
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; vqa-fuse train makes them")
    from fuse.compare import compare_runs

    document = compare_runs(list(runs))
    show(document, as_json, lambda: print_comparison(document))
    return DONE


def show(document: dict[str, Any], as_json: bool, print_text: Callable[[], None]) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        print_text()


def print_evaluation(document: dict[str, Any]) -> None:
    sizes = ", ".join(f"{part} {document['splits'][0][f'n_{part}']}" for part in ("train", "val", "test"))
    click.echo(
        f"{document['dataset']}, {document['fusion']}, {document['protocol']}: {len(document['splits'])} splits of "
        f"N = {document['n_videos']} videos (first: {sizes}), labels: {document['label']}"
    )
    print_table(["", *METRIC_TITLES], [[document["fusion"], *metric_cells(document)]])
    print_missing(document)
    click.echo(f"run: {document['run']}")
    click.echo(f"plot: {document['run']}/scatter.png")


def print_comparison(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['dataset']}, {document['protocol']}: {document['n_splits']} splits of N = {document['n_videos']} "
        f"videos, labels: {document['label']}"
    )
    rows = []
    for row in document["rows"]:
        difference = p_value = ""
        if row["difference"] is not None:
            low, high = row["interval"]
            difference, p_value = f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]", f"{row['p_value']:.3f}"
        rows.append([row["name"], *metric_cells(row), difference, p_value])
    print_table(["", *METRIC_TITLES, "SRCC difference [95 %]", "Wilcoxon p"], rows)
    click.echo(f"difference: paired, median over splits, against {document['baseline']}")
    for row in document["rows"]:
        click.echo(f"plot: {row['run']}/scatter.png")


def metric_cells(document: dict[str, Any]) -> list[str]:
    return [_cell(document["median"][metric], document["spread"][metric]) for metric in METRICS]


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
    Console(width=max(160, Console().width)).print(table)
    click.echo("median ± standard deviation over splits; PLCC and RMSE after a 4-parameter logistic")


def print_missing(document: dict[str, Any]) -> None:
    missing = document["missing"]
    if missing:
        named = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        click.echo(f"without features, and in no figure: {len(missing)} videos: {named}")


def _cell(median: float | None, spread: float | None) -> str:
    return "undefined" if median is None else f"{median:.3f} ± {spread:.3f}" if spread is not None else f"{median:.3f}"


def main() -> None:
    console.run(command)
