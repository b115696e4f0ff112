"""vqa-fuse: parses, nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vqa_twostage.fuse.cli import models as cli_use
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline import console, presets, spec
from vqa_twostage.pipeline.console import as_json_option, show, version_option
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

DEFAULTS = TrainOptions()
FOLDER = click.Path(path_type=Path)

cache_option = click.option(
    "--cache", type=FOLDER, default=Path("cache"), show_default=True, help="Where features are."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    help="Splits fitted side by side; changes no figure [default: a core each].",
)
# of train and ablate alike
TRAINING = [
    click.option(
        "--dataset",
        metavar="NAME",
        help="A dataset in the cache; may be left out where there is only one.",
    ),
    click.option(
        "--temporal-pooling",
        metavar="SPEC",
        help="Pooling of the temporal track [default: as --pooling].",
    ),
    click.option(
        "--spatial", metavar="SPEC", help="Spatial track; may be left out where there is only one."
    ),
    click.option(
        "--temporal",
        metavar="SPEC",
        help="Temporal track; may be left out where there is only one or none.",
    ),
    click.option(
        "--protocol",
        metavar="SPEC",
        help="How videos are split: random:n=10,train=0.6,val=0.2, kfold:k=5, official, "
        "videval:n=100 or "
        f"indices:file=FILE [default: {DEFAULTS.protocol}].",
    ),
    click.option("--loss", metavar="SPEC", help=f"Losses joined by + [default: {DEFAULTS.loss}]."),
    click.option(
        "--seed", type=click.IntRange(min=0), help=f"Shifts every seed [default: {DEFAULTS.seed}]."
    ),
    click.option(
        "--epochs",
        type=click.IntRange(min=1),
        help=f"Most epochs; validation chooses among them [default: {DEFAULTS.epochs}].",
    ),
    click.option(
        "--members",
        type=click.IntRange(min=1),
        help="Models whose scores are averaged, each with a seed of its own [default: "
        f"{DEFAULTS.members}].",
    ),
    click.option("--preset", metavar="NAME", help="A set of options; those given beside it win."),
    cache_option,
    workers_option,
    as_json_option,
]


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(TRAINING):
        function = option(function)
    return function


def options_of(preset: str | None, given: dict[str, Any]) -> TrainOptions:
    chosen = {name: value for name, value in given.items() if value is not None}
    return TrainOptions(**{**presets.load(preset, "fuse"), **chosen})


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def command() -> None:
    """Stage two: train light heads on cached features, and evaluate them on unseen contents.

    \b
    Example
      vqa-fuse train --fusion dynamic
    """


@command.command()
@click.option(
    "--fusion",
    metavar="SPEC",
    help=f"How spatial and temporal features meet [default: {DEFAULTS.fusion}].",
)
@click.option(
    "--pooling",
    metavar="SPEC",
    help=f"Stored arrays to one token a level [default: {DEFAULTS.pooling}].",
)
@click.option(
    "--temporal-encoder",
    metavar="SPEC",
    help=f"Frame tokens to one vector [default: {DEFAULTS.temporal_encoder}].",
)
@click.option(
    "--oracle-epoch",
    is_flag=True,
    help="Also print what choosing the epoch on the test part would claim.",
)
@click.option(
    "--run", type=FOLDER, help="Where results go [default: runs/<dataset>-<fusion>-<digest>]."
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Also write events for TensorBoard; needs the extra tensorboard.",
)
@click.option(
    "--list",
    "list_plugins",
    is_flag=True,
    help="List fusions, poolings, temporal encoders, and stop.",
)
@training_options
def train(
    dataset: str | None,
    preset: str | None,
    cache: Path,
    run: Path | None,
    tensorboard: bool,
    list_plugins: bool,
    workers: int,
    as_json: bool,
    **given: Any,
) -> int:
    """Train and test a head on repeated splits of one dataset, and end with a model for scoring.

    The validation part of a split chooses the epoch, the head is fitted again on training and
    validation together, and the test part is looked at once. Prints SRCC and KRCC of the raw
    scores, PLCC and RMSE after a four-parameter logistic, each as median and spread over the
    splits.

    \b
    Example
      vqa-fuse train --fusion dynamic --dataset konvid --protocol random:n=20
    """
    if list_plugins:
        for kind in ("fusion", "pooling", "temporal", "baselines"):
            found = spec.available(f"fuse.{kind}")
            width = max(map(len, found))
            click.echo(
                f"fuse/{kind}\n"
                + "".join(f"  {name:<{width}}  {line}\n" for name, line in found.items())
            )
        return DONE
    options = options_of(preset, given)
    from vqa_twostage.fuse import train as training
    from vqa_twostage.fuse.reporting import tensorboard as events
    from vqa_twostage.fuse.reporting import terminal as tables

    if tensorboard:
        events.require_package()
    with console.progress(f"train {options.fusion}") as on_progress:
        evaluation = training.train(cache, options, dataset, run, workers, on_progress)
    if tensorboard:
        click.echo(f"tensorboard --logdir {events.write_events(evaluation.run)}", err=True)
    show(evaluation.to_json() if as_json else evaluation, as_json, tables.print_evaluation)
    return DONE


@command.command()
@click.option(
    "--fusion", metavar="SPECS", default="all", show_default=True, help="Fusions, a list, or all."
)
@click.option(
    "--pooling", metavar="SPECS", default=DEFAULTS.pooling, show_default=True, help="Poolings."
)
@click.option(
    "--temporal-encoder",
    metavar="SPECS",
    default=DEFAULTS.temporal_encoder,
    show_default=True,
    help="Temporal encoders.",
)
@click.option(
    "--baselines",
    metavar="NAMES",
    default="",
    help="ridge,svr: without a network, on the same splits.",
)
@click.option(
    "--reference",
    metavar="NAME",
    help="The row that differences are against [default: first baseline].",
)
@click.option(
    "--output",
    type=FOLDER,
    help="Where tables and runs go [default: runs/<dataset>-ablation-<protocol>].",
)
@training_options
def ablate(
    dataset: str | None,
    fusion: str,
    pooling: str,
    temporal_encoder: str,
    baselines: str,
    reference: str | None,
    output: Path | None,
    preset: str | None,
    cache: Path,
    workers: int,
    as_json: bool,
    **given: Any,
) -> int:
    """Every combination of heads, and baselines, on the same splits: one sorted table with paired
    statistics.

    Interrupted, the same command goes on: variants that are finished in --output are not run again.

    \b
    Example
      vqa-fuse ablate --dataset konvid --fusion all --baselines ridge,svr
      vqa-fuse ablate --fusion concat,dynamic:experts=2 --temporal-encoder all --reference concat
    """
    options = options_of(preset, given)
    from vqa_twostage.fuse import ablate as ablation
    from vqa_twostage.fuse.data import load_dataset
    from vqa_twostage.fuse.reporting import terminal as tables

    names = (ablation.listed(text) for text in (fusion, pooling, temporal_encoder, baselines))
    chosen = ablation.variants(options, *names)
    data = load_dataset(cache, dataset, options.spatial, options.temporal, ablation.reads(chosen))
    folder = (
        output
        or Path("runs") / f"{data.manifest.name}-ablation-{spec.parse(options.protocol).filename}"
    )
    with console.progress(f"ablate {len(chosen)} variants") as on_progress:
        document = ablation.ablate(data, chosen, folder, reference, workers, on_progress)
    show(document, as_json, tables.print_ablation)
    return DONE


@command.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--dataset",
    metavar="OTHER",
    help="Score all of another dataset in the cache with the run's model.",
)
@click.option("--cache", type=FOLDER, help="Where OTHER's features are [default: the run's cache].")
@as_json_option
def evaluate(run: Path, dataset: str | None, cache: Path | None, as_json: bool) -> int:
    """Metrics of a run, from its saved predictions; with --dataset, of its model on another
    dataset.

    \b
    Example
      vqa-fuse evaluate runs/demo-dynamic-1a2b3c4d5e
      vqa-fuse evaluate runs/konvid-dynamic-1a2b3c4d5e --dataset livevqc
    """
    # imports pandas, which --help does not wait for
    from vqa_twostage.fuse.reporting import terminal as tables

    if dataset is not None:
        from vqa_twostage.fuse.cross_dataset import evaluate_on

        show(evaluate_on(run, dataset, cache), as_json, tables.print_cross_dataset)
        return DONE
    if cache is not None:
        raise UsageError("--cache is where the features of --dataset OTHER are; give --dataset too")
    from vqa_twostage.fuse import evaluate as evaluation

    metrics = evaluation.evaluate(run)
    show(metrics.to_json() if as_json else metrics, as_json, tables.print_evaluation)
    return DONE


@command.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@as_json_option
def compare(runs: tuple[Path, ...], as_json: bool) -> int:
    """Runs on the same splits in one table, with paired statistics against the first of them.

    \b
    Example
      vqa-fuse compare runs/demo-concat-* runs/demo-dynamic-*
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; vqa-fuse train makes them")
    from vqa_twostage.fuse.compare import compare_runs
    from vqa_twostage.fuse.reporting import terminal as tables

    show(compare_runs(list(runs)), as_json, tables.print_runs)
    return DONE


@command.command()
@click.argument("run", type=FOLDER)
@click.option("--cache", type=FOLDER, help="Where the features are [default: the run's cache].")
@workers_option
@as_json_option
def reproduce(run: Path, cache: Path | None, workers: int, as_json: bool) -> int:
    """Train a run again from its record and compare every prediction; exit code 3 where one
    differs.

    On the same machine they are equal to the last bit. Nothing is written.

    \b
    Example
      vqa-fuse reproduce runs/demo-dynamic-1a2b3c4d5e
    """
    from vqa_twostage.fuse.reporting import terminal as tables
    from vqa_twostage.fuse.reproduce import reproduce_run

    with console.progress("reproduce") as on_progress:
        document = reproduce_run(run, cache, workers, on_progress)
    show(document, as_json, tables.print_reproduction)
    return DONE if document["equal"] else SOME_FAILED


for use in (cli_use.report, cli_use.score, cli_use.export):
    command.add_command(use)


def main() -> None:
    console.run(command)
