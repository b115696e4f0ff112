"""The commands report and export of vqa-fuse: they parse, and nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from vqa_twostage.fuse.cli.shared import FOLDER
from vqa_twostage.fuse.run_folder import complete_runs
from vqa_twostage.pipeline.console import as_json_option, show
from vqa_twostage.pipeline.errors import DONE


@click.command()
@click.argument("runs", shell_complete=complete_runs, type=FOLDER, nargs=-1, required=True)
@click.option(
    "--output",
    type=FOLDER,
    default=Path("report.html"),
    show_default=True,
    help="The page, one file that needs no other.",
)
@click.option("--root", type=FOLDER, help="Where the videos are, to show their sampled frames.")
@click.option("--cache", type=FOLDER, help="Where the features are [default: the runs' cache].")
@as_json_option
def report(
    runs: tuple[Path, ...], output: Path, root: Path | None, cache: Path | None, as_json: bool
) -> int:
    """Runs, or an ablation's folder, as one HTML page to open without a network.

    It shows metrics, a table to compare runs, predictions against labels, the largest errors,
    gates, validation curves, and the commands that reproduce the runs.

    \b
    Example
      vqa-fuse report runs/demo-concat runs/demo-dynamic --root demo
    """
    from vqa_twostage.fuse.report import write_report

    result = write_report(runs, output, root, cache)
    show(result.to_json() if as_json else result.to_text(), as_json, click.echo)
    return DONE


@click.command()
@click.argument("run", shell_complete=complete_runs, type=FOLDER)
@click.option("--output", type=FOLDER, required=True, help="The folder that is written.")
@click.option(
    "--onnx",
    is_flag=True,
    help="Also head.onnx: features in, scores out, checked; needs the extra onnx.",
)
@as_json_option
def export(run: Path, output: Path, onnx: bool, as_json: bool) -> int:
    """The model of RUN as a folder for others: weights, configuration, and a card with data,
    protocol, metrics and limits.

    `vqa-fuse score --run` takes it, and so does the Hugging Face hub.

    \b
    Example
      vqa-fuse export runs/demo-dynamic-1a2b3c4d5e --output my-model --onnx
    """
    from vqa_twostage.fuse.export import export_run

    result = export_run(run, output, onnx)
    show(result.to_json() if as_json else result.to_text(), as_json, click.echo)
    return DONE
