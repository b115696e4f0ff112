"""vqa-fuse train, learning-curve and ablate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vqa_twostage.fuse.cli.shared import (
    AXES,
    DEFAULTS,
    FOLDER,
    check_from,
    from_options,
    latex_option,
    options_of,
    print_result,
    resources_of,
    training_options,
    write_latex,
)
from vqa_twostage.fuse.learning.loss_spec import available_losses
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.run_folder import complete_runs
from vqa_twostage.pipeline import console, spec
from vqa_twostage.pipeline.completion import ALL, cached_datasets, plugins
from vqa_twostage.pipeline.console import engine_options
from vqa_twostage.pipeline.errors import DONE, UsageError

LISTED = ("fusion", "pooling", "temporal", "closed_form", "baselines", "protocols")
DATASET = click.option(
    "--dataset",
    shell_complete=cached_datasets(),
    metavar="NAME",
    help="A dataset in the cache; may be left out where there is only one.",
)


@click.command()
@click.option(
    "--dataset",
    "datasets",
    shell_complete=cached_datasets(),
    metavar="NAME",
    multiple=True,
    help="A dataset in the cache; may be left out where there is only one. Repeated, a run for "
    "each, which learns from the others as well.",
)
@click.option(
    "--test-on",
    shell_complete=cached_datasets(),
    metavar="NAME",
    multiple=True,
    help="A dataset that is held out: the final model scores all its videos. May be repeated.",
)
@click.option(
    "--fusion",
    shell_complete=plugins("fuse.fusion"),
    metavar="SPEC",
    help=f"How spatial and temporal features meet [default: {DEFAULTS.fusion}].",
)
@click.option(
    "--pooling",
    shell_complete=plugins("fuse.pooling"),
    metavar="SPEC",
    help=f"Stored arrays to one token a level [default: {DEFAULTS.pooling}].",
)
@click.option(
    "--temporal-encoder",
    shell_complete=plugins("fuse.temporal"),
    metavar="SPEC",
    help=f"Frame tokens to one vector [default: {DEFAULTS.temporal_encoder}].",
)
@click.option(
    "--baseline",
    shell_complete=plugins("fuse.baselines"),
    metavar="SPEC",
    help="Train this instead of a head, such as ridge or gp: without a network and without a model "
    "for scoring.",
)
@click.option(
    "--oracle-epoch",
    is_flag=True,
    help="Also print the SRCC that choosing the epoch on the test part would have given.",
)
@click.option(
    "--run",
    shell_complete=complete_runs,
    type=FOLDER,
    help="The folder to write [default: runs/<dataset>-<fusion>-<digest>]; of several datasets one "
    "with a folder for each.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Train a finished run again, and an interrupted one from the first split.",
)
@click.option(
    "--log",
    "logs",
    type=click.Choice(["tensorboard", "wandb", "mlflow"]),
    multiple=True,
    help="Also keep the run there; needs the extra of that name. May be repeated.",
)
@click.option("--tensorboard", is_flag=True, help="The same as --log tensorboard.")
@click.option(
    "--list",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda context, _, wanted: print_plugins(context) if wanted else None,
    help="List fusions, poolings, temporal encoders, baselines, protocols and losses, and stop.",
)
@click.option(
    "--labels",
    type=click.IntRange(1, 100),
    help="Percent of the training and validation videos whose labels are used; such a run has no "
    f"model for scoring [default: {DEFAULTS.labels}].",
)
@AXES
@from_options
@training_options
def train(
    datasets: tuple[str, ...],
    test_on: tuple[str, ...],
    preset: str | None,
    cache: Path,
    run: Path | None,
    as_json: bool,
    **values: Any,
) -> int:
    """Train and test a head on repeated splits of one dataset, and end with a model for scoring.

    The validation part of a split makes all choices, the head is fitted again on training and
    validation together, and the test part is used once. Prints SRCC and KRCC of the raw scores,
    PLCC and RMSE after a four-parameter logistic, each as median and standard deviation over the
    splits. After an interruption the same command goes on; a finished run is reported.

    \b
    Example
      vqa-fuse train --fusion dynamic --dataset konvid --protocol random:n=20
      vqa-fuse train --baseline ridge --dataset konvid
      vqa-fuse train --from runs/konvid-dynamic-1a2b3c4d5e --dataset livevqc
      vqa-fuse train --dataset konvid --dataset livevqc --test-on youtube_ugc
      vqa-fuse train --dataset mos --axes technical,aesthetic
    """
    again, resources = values.pop("again"), resources_of(values)
    wanted = dict.fromkeys([*values.pop("logs"), *["tensorboard"] * values.pop("tensorboard")])
    check_from(values)
    if values["baseline"] is not None:
        _refuse_head_options(values)
    options = options_of(preset, values)
    from vqa_twostage.fuse.learning.model import Head
    from vqa_twostage.fuse.reporting import terminal
    from vqa_twostage.fuse.reporting.run_log import run_log, write_logs
    from vqa_twostage.fuse.train_jointly import ChosenDatasets, train_jointly

    logs = [run_log(name) for name in wanted]  # what is not installed is told first
    if options.baseline is None:
        Head.of(options)  # a wrong spec is told before the cache is looked at
    chosen = ChosenDatasets.of(cache, datasets, test_on)
    title = f"train {options.baseline or options.start_from or options.fusion}"
    with console.progress(title) as on_progress:
        result = train_jointly(cache, chosen, options, run, resources, on_progress, again)
    for trained in result.evaluations:
        if trained.was_finished:
            click.echo(
                f"{trained.run} is finished, and is reported; --again trains it again", err=True
            )
    if len(result.evaluations) == 1 and not test_on:
        print_result(result.evaluations[0], as_json, terminal.print_evaluation)
    else:
        print_result(result, as_json, terminal.print_joint_training)
    for line in write_logs([trained.run for trained in result.evaluations], logs):
        click.echo(line, err=True)
    return DONE


@click.command()
@DATASET
@click.option(
    "--fusion",
    shell_complete=plugins("fuse.fusion"),
    metavar="SPEC",
    help=f"Of the head [default: {DEFAULTS.fusion}].",
)
@click.option(
    "--pooling",
    shell_complete=plugins("fuse.pooling"),
    metavar="SPEC",
    help=f"Of the head [default: {DEFAULTS.pooling}].",
)
@click.option(
    "--temporal-encoder",
    shell_complete=plugins("fuse.temporal"),
    metavar="SPEC",
    help=f"Of the head [default: {DEFAULTS.temporal_encoder}].",
)
@click.option(
    "--labels",
    metavar="PERCENTS",
    default="5,10,20,50,100",
    show_default=True,
    help="Of the training and validation videos; the test parts are the same for all.",
)
@click.option(
    "--output",
    type=FOLDER,
    help="The folder for tables and runs [default: runs/<dataset>-learning-curve-<protocol>].",
)
@AXES
@from_options
@engine_options
@training_options
def learning_curve(
    dataset: str | None,
    labels: str,
    output: Path | None,
    preset: str | None,
    cache: Path,
    as_json: bool,
    **values: Any,
) -> int:
    """SRCC by the number of labelled videos, from random weights; with --from, also from the heads
    of that run, with the paired difference.

    After an interruption the same command goes on: runs that are finished in --output are not
    trained again.

    \b
    Example
      vqa-fuse learning-curve --dataset livevqc --from runs/konvid-dynamic-1a2b3c4d5e
      vqa-fuse learning-curve --dataset konvid --fusion concat --labels 10,30,100
      vqa-fuse learning-curve --dataset own --axes technical,aesthetic
    """
    resources = resources_of(values)
    check_from(values)
    options = options_of(preset, values)
    from vqa_twostage.fuse import learning_curve as curves
    from vqa_twostage.fuse.reporting import terminal
    from vqa_twostage.fuse.train import load

    percents = curves.parse_percents(labels)
    data, options, source = load(cache, dataset, options, resources.max_ram)
    protocol = spec.parse(options.protocol).filename
    folder = output or Path("runs") / f"{data.manifest.name}-learning-curve-{protocol}"
    with console.progress("learning-curve") as on_progress:
        result = curves.learning_curve(
            data, options, percents, folder, source, resources.workers, on_progress
        )
    print_result(result, as_json, terminal.print_curve)
    return DONE


@click.command()
@DATASET
@click.option(
    "--fusion",
    shell_complete=plugins("fuse.fusion", ALL, ","),
    metavar="SPECS",
    default="all",
    show_default=True,
    help="Fusions: a list, or all.",
)
@click.option(
    "--pooling",
    shell_complete=plugins("fuse.pooling", ALL, ","),
    metavar="SPECS",
    default=DEFAULTS.pooling,
    show_default=True,
    help="Poolings: a list, or all.",
)
@click.option(
    "--temporal-encoder",
    shell_complete=plugins("fuse.temporal", ALL, ","),
    metavar="SPECS",
    default=DEFAULTS.temporal_encoder,
    show_default=True,
    help="Temporal encoders: a list, or all.",
)
@click.option(
    "--baselines",
    shell_complete=plugins("fuse.baselines", ALL, ","),
    metavar="SPECS",
    default="",
    help="Baselines on the same splits, without a network: a list such as ridge,gp, or all.",
)
@click.option(
    "--score",
    "scores",
    metavar="NAME",
    multiple=True,
    help="Scores of a published model (import-scores) as two more rows, as they are and re-fitted "
    "on each split; may be repeated, or be all.",
)
@click.option(
    "--reference",
    metavar="NAME",
    help="The row that differences are against [default: the first baseline].",
)
@click.option(
    "--output",
    type=FOLDER,
    help="The folder for tables and runs [default: runs/<dataset>-ablation-<protocol>].",
)
@click.option(
    "--tracks",
    metavar="MODE",
    help="What each track is worth to one head instead: leave-one-out, each (alone), or forward "
    "(the best for the validation parts first, then with it the next).",
)
@AXES
@latex_option
@engine_options
@training_options
def ablate(
    dataset: str | None,
    reference: str | None,
    output: Path | None,
    tracks: str | None,
    preset: str | None,
    cache: Path,
    as_json: bool,
    **values: Any,
) -> int:
    """Every combination of heads, and baselines, on the same splits: one sorted table with paired
    statistics.

    After an interruption the same command goes on: variants that are finished in --output are not
    run again.

    \b
    Example
      vqa-fuse ablate --dataset konvid --fusion all --baselines ridge,svr
      vqa-fuse ablate --fusion concat,dynamic:experts=2 --temporal-encoder all --reference concat
      vqa-fuse ablate --fusion concat --spatial all --temporal all --tracks leave-one-out
      vqa-fuse ablate --baselines ridge --score DOVER --score FAST-VQA --latex table.tex
    """
    if tracks is not None and values["fusion"] == "all":
        values["fusion"] = "" if values["baselines"] else DEFAULTS.fusion
    lists = [
        spec.parse_list(values.pop(name))
        for name in ("fusion", "pooling", "temporal_encoder", "baselines")
    ]
    resources, scores, latex = resources_of(values), values.pop("scores"), values.pop("latex")
    options = options_of(preset, values)
    from vqa_twostage.fuse import ablate as ablation
    from vqa_twostage.fuse.ablate_tracks import ablate_tracks
    from vqa_twostage.fuse.published_scores import load_for, rows_of_scores
    from vqa_twostage.fuse.reporting import terminal

    variants = ablation.variants(options, *lists)
    variants += rows_of_scores(cache, dataset, scores, options)
    reads = ablation.statistics_read(variants)
    data = load_for(cache, dataset, variants, reads, resources.max_ram)
    protocol = spec.parse(options.protocol).filename
    kind = "ablation" if tracks is None else "tracks"
    folder = output or Path("runs") / f"{data.manifest.name}-{kind}-{protocol}"
    if tracks is not None:
        _check_tracks_options(variants, reference, scores)
        with console.progress(f"ablate --tracks {tracks}") as on_progress:
            result = ablate_tracks(
                data, variants[0], tracks, folder, resources.workers, on_progress
            )
    else:
        with console.progress(f"ablate {len(variants)} variants") as on_progress:
            result = ablation.ablate(
                data, variants, folder, reference, resources.workers, on_progress
            )
    write_latex(result.comparison, latex)
    print_result(result, as_json, terminal.print_ablation)
    return DONE


def _check_tracks_options(
    variants: list[TrainOptions], reference: str | None, scores: tuple[str, ...]
) -> None:
    if scores:
        raise UsageError("--tracks compares the tracks of one head; leave out --score")
    if len(variants) != 1:
        raise UsageError(
            f"--tracks compares the tracks of one head, and {len(variants)} are named; name one "
            "with --fusion, --pooling and --temporal-encoder, or one of --baselines"
        )
    if reference is not None:
        raise UsageError("--tracks compares with all tracks; leave out --reference")


def print_plugins(context: click.Context) -> None:
    """Everything that a spec of train can name, with a line about each; imports none of it."""
    for kind in LISTED:
        _print_section(f"fuse/{kind}", spec.available(f"fuse.{kind}"))
    _print_section("fuse/learning/losses.py", available_losses())
    context.exit(DONE)


def _print_section(title: str, described: dict[str, str]) -> None:
    width = max(map(len, described))
    lines = "".join(f"  {name:<{width}}  {line}\n" for name, line in described.items())
    click.echo(f"{title}\n{lines}")


def _refuse_head_options(values: dict[str, Any]) -> None:
    head = ("fusion", "pooling", "temporal_pooling", "temporal_encoder", "loss", "epochs")
    chosen = [name for name in (*head, "members", "average_with") if values[name] is not None]
    if values["oracle_epoch"]:
        chosen.append("oracle_epoch")
    if chosen:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise UsageError(f"--baseline trains no head, so leave out {options}")
