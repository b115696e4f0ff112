"""vqa-fuse runs: a table of runs, and their removal."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_twostage.fuse.cli.shared import FOLDER
from vqa_twostage.fuse.run_folder import complete_runs
from vqa_twostage.pipeline.completion import cached_datasets
from vqa_twostage.pipeline.console import as_json_option, removal_agreed, show
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

RUNS = Path("runs")


@click.command()
@click.argument(
    "folders", shell_complete=complete_runs, type=FOLDER, nargs=-1, metavar="[FOLDER|RUN]…"
)
@click.option(
    "--filter",
    "filters",
    metavar="KEY=VALUE",
    multiple=True,
    help="Only runs with this choice, as fusion=dynamic, protocol=kfold or seed=3; may be "
    "repeated. A run has to fit every key, and of one key any of the values.",
)
@click.option(
    "--dataset",
    "datasets",
    shell_complete=cached_datasets(),
    metavar="NAME",
    multiple=True,
    help="Only runs on this dataset; may be repeated.",
)
@click.option(
    "--sort",
    type=click.Choice(["date", "srcc", "name"]),
    default="date",
    show_default=True,
    help="The newest first, the best first, or by folder.",
)
@click.option(
    "--remove",
    is_flag=True,
    help="Remove the runs that are named, also interrupted and damaged ones; asks first.",
)
@click.option("--yes", is_flag=True, help="With --remove: without asking.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a row for each finished run.")
@as_json_option
def runs(
    folders: tuple[Path, ...],
    filters: tuple[str, ...],
    datasets: tuple[str, ...],
    sort: str,
    remove: bool,
    **flags: bool,
) -> int:
    """What was run, when, on what, and what came of it; exit code 3 where a run is damaged.

    Without FOLDER, the runs in runs/; those of ablations are in it. Interrupted and damaged runs
    are listed below the table, with the reason, whatever the filter. With --json and --csv every
    run also has the command that made it.

    \b
    Example
      vqa-fuse runs
      vqa-fuse runs --filter fusion=dynamic --dataset konvid --sort srcc
      vqa-fuse runs --remove runs/demo-concat-1a2b3c4d5e
    """
    yes, as_csv, as_json = (flags[name] for name in ("yes", "as_csv", "as_json"))
    if remove:
        if filters or datasets or as_csv or as_json:
            raise UsageError(
                "--remove takes the folders of runs, and no --filter, --dataset, --csv or --json"
            )
        return _remove(folders, yes)
    if yes:
        raise UsageError("--yes is about runs that are removed; give --remove too")
    if as_csv and as_json:
        raise UsageError("choose one of --json and --csv")
    from vqa_twostage.fuse.reporting import terminal
    from vqa_twostage.fuse.run_filter import RunFilter
    from vqa_twostage.fuse.run_list import list_runs

    chosen = RunFilter.of([*filters, *(f"dataset={name}" for name in datasets)])
    result = list_runs(folders or [RUNS], chosen, sort)
    if as_json:
        show(result.to_json(), as_json, click.echo)
    elif as_csv:
        click.echo(result.to_csv(), nl=False)
        terminal.print_other_runs(result, err=True)
    else:
        terminal.print_run_list(result)
    return SOME_FAILED if result.damaged else DONE


def _remove(folders: tuple[Path, ...], yes: bool) -> int:
    from vqa_twostage.fuse.run_removal import plan_removal
    from vqa_twostage.fuse.run_removal import remove as remove_runs

    removal = plan_removal(folders)
    question = "Remove it?" if len(folders) == 1 else "Remove them?"
    if not yes and not removal_agreed(removal, question):
        return DONE
    kept = remove_runs(removal)
    click.echo(f"removed {removal}")
    for folder in kept:
        click.echo(f"kept {folder}: it holds files that no run writes", err=True)
    return DONE
