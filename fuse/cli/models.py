"""The commands report, score and export of vqa-fuse: they parse, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.console import as_json_option, limits_option, show
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
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
      vqa-fuse report runs/demo-concat-* runs/demo-dynamic-* --root demo
    """
    from vqa_twostage.fuse.report import write_report

    result = write_report(runs, output, root, cache)
    show(result.to_json() if as_json else result.to_text(), as_json, click.echo)
    return DONE


def _choose_format(context: click.Context, option: click.Parameter, chosen: bool) -> None:
    """Puts the one format that was asked for into the parameter ``output_format``."""
    formats = context.params.setdefault("output_format", "text")
    if chosen and formats != "text":
        raise UsageError("choose one of --json, --jsonl and --csv")
    if chosen:
        context.params["output_format"] = str(option.name)


def output_format_options(function: Callable[..., int]) -> Callable[..., int]:
    """Adds --json, --jsonl and --csv: the parameter ``output_format``, a key of
    `reporting.score_text.FORMATS`.
    """
    for name, help_text in (
        ("csv", "Print a row a video."),
        ("jsonl", "Print a JSON object a video, a line each."),
        ("json", "Print one JSON document on stdout, everything else on stderr."),
    ):
        function = click.option(
            f"--{name}", is_flag=True, expose_value=False, callback=_choose_format, help=help_text
        )(function)
    return function


@click.command()
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO|DIR|PATTERN…")
@click.option(
    "--run",
    type=FOLDER,
    help="A run or an exported model [default: the small model that ships with this].",
)
@click.option(
    "--cache",
    type=FOLDER,
    help="Where features of scored videos are kept [default: ~/.cache/vqa-twostage].",
)
@click.option("--no-cache", is_flag=True, help="Keep nothing: leave no file behind.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    help="Decoding processes [default: one per two cores].",
)
@limits_option
@click.option(
    "--plot",
    type=FOLDER,
    help="Also draw frames, and what each scores and counts: a PNG, SVG or PDF file.",
)
@output_format_options
def score(
    videos: tuple[str, ...],
    run: Path | None,
    cache: Path | None,
    no_cache: bool,
    plot: Path | None,
    limits: str | None,
    output_format: str,
    **extraction: Any,
) -> int:
    """Raw video in, score out; exit code 3 where some have none.

    Frames are sampled, and features extracted, as for the videos that the model was trained on. A
    folder means all videos in it. The model that ships with this package was trained on VMAF
    pseudo-MOS of few contents, not on opinions.

    \b
    Example
      vqa-fuse score clip.mp4 --plot clip.png
      vqa-fuse score holiday --run runs/konvid-dynamic-1a2b3c4d5e --csv
    """
    if no_cache and cache is not None:
        raise UsageError("--cache and --no-cache contradict each other; give one of them")
    # what can be wrong with paths is checked before torch is imported, and what draws is imported
    # only where something is drawn
    from vqa_twostage.fuse.reporting import score_text
    from vqa_twostage.pipeline.datasets.videos import find_videos

    if plot is not None:
        from vqa_twostage.fuse.reporting import contact_sheet

        contact_sheet.check_path(plot)
    paths, others = find_videos(videos)
    if others:
        click.echo(
            f"not scored: {len(others)} files that are no videos by their names, such as "
            f"{others[0]}",
            err=True,
        )
    from vqa_twostage.fuse import score as scoring

    model = scoring.load(run)
    kept = None if no_cache else cache or scoring.default_cache()
    with console.progress("score") as on_progress:
        scores = scoring.score(
            paths, model, kept, on_progress=on_progress, limits=limits or "", **extraction
        )
    if plot is not None:
        for message in contact_sheet.draw(scores, plot):
            click.echo(message, err=True)
    click.echo(score_text.FORMATS[output_format](scores), nl=False)
    return SOME_FAILED if any(item.error for item in scores) else DONE


@click.command()
@click.argument("run", type=FOLDER)
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
