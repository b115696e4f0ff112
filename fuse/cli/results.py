"""vqa-fuse evaluate, compare and reproduce: the results of finished runs."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_twostage.fuse.cli.shared import (
    ALLOW_TRAINED_ON,
    FOLDER,
    latex_option,
    print_result,
    run_cache_option,
    workers_option,
    write_latex,
)
from vqa_twostage.fuse.run_folder import complete_runs
from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.completion import cached_datasets
from vqa_twostage.pipeline.console import as_json_option
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError


@click.command()
@click.argument("run", shell_complete=complete_runs, type=FOLDER)
@click.option(
    "--dataset",
    shell_complete=cached_datasets(),
    metavar="OTHER",
    help="Score all videos of another dataset in the cache with the run's model.",
)
@ALLOW_TRAINED_ON
@run_cache_option
@as_json_option
def evaluate(
    run: Path,
    dataset: str | None,
    allow_trained_on: str | None,
    cache: Path | None,
    as_json: bool,
) -> int:
    """Metrics of a run, from its saved predictions; with --dataset, of its model on another
    dataset.

    \b
    Example
      vqa-fuse evaluate runs/demo-dynamic-1a2b3c4d5e
      vqa-fuse evaluate runs/konvid-dynamic-1a2b3c4d5e --dataset livevqc
    """
    # imports pandas, which --help does not wait for
    from vqa_twostage.fuse.reporting import terminal

    if dataset is not None:
        from vqa_twostage.fuse.cross_dataset import evaluate_on

        result = evaluate_on(run, dataset, cache, allow_trained_on)
        print_result(result, as_json, terminal.print_cross_dataset)
        return DONE
    if allow_trained_on is not None:
        raise UsageError("--allow-trained-on is about the dataset that is tested; give --dataset")
    if cache is not None:
        raise UsageError(
            "--cache names the features of --dataset OTHER; give --dataset too, or leave out "
            "--cache: metrics of the run itself come from its saved predictions"
        )
    from vqa_twostage.fuse import evaluate as evaluation

    print_result(evaluation.evaluate(run), as_json, terminal.print_evaluation)
    return DONE


@click.command()
@click.argument("runs", shell_complete=complete_runs, type=FOLDER, nargs=-1, required=True)
@latex_option
@as_json_option
def compare(runs: tuple[Path, ...], latex: Path | None, as_json: bool) -> int:
    """Runs on the same splits in one table, with paired statistics against the first of them.

    \b
    Example
      vqa-fuse compare runs/demo-concat-* runs/demo-dynamic-*
      vqa-fuse compare runs/demo-concat-* runs/demo-dynamic-* --latex table.tex
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more; vqa-fuse train writes runs")
    from vqa_twostage.fuse import compare as comparison
    from vqa_twostage.fuse.reporting import terminal

    result = comparison.compare(runs)
    write_latex(result, latex)
    print_result(result, as_json, terminal.print_runs)
    return DONE


@click.command()
@click.argument("run", shell_complete=complete_runs, type=FOLDER)
@run_cache_option
@workers_option
@as_json_option
def reproduce(run: Path, cache: Path | None, workers: int, as_json: bool) -> int:
    """Train a run again from its record and compare every prediction.

    On the same machine they are equal to the last bit. Nothing is written. The exit code is 3 where
    a prediction differs.

    \b
    Example
      vqa-fuse reproduce runs/demo-dynamic-1a2b3c4d5e
    """
    from vqa_twostage.fuse.reporting import terminal
    from vqa_twostage.fuse.reproduce import reproduce_run

    with console.progress("reproduce") as on_progress:
        result = reproduce_run(run, cache, workers, on_progress)
    print_result(result, as_json, terminal.print_reproduction)
    return DONE if result.equal else SOME_FAILED
