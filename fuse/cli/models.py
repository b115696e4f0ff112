"""vqa-fuse report, score and export: what a run is good for. Parses, nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from vqa_twostage.fuse.reporting import terminal as tables
from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.console import as_json_option, show
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--output",
    type=FOLDER,
    default=Path("report.html"),
    show_default=True,
    help="The page, one file that is whole.",
)
@click.option("--root", type=FOLDER, help="Where the videos are, to show their sampled frames.")
@as_json_option
def report(runs: tuple[Path, ...], output: Path, root: Path | None, as_json: bool) -> int:
    """Runs, or an ablation's folder, as one HTML page to open without a network.

    It has the figures, a table to compare runs, predictions against labels, the worst misses,
    gates, learning curves, and what reproduces them.

    \b
    Example
      vqa-fuse report runs/demo-concat-* runs/demo-dynamic-* --root demo
    """
    from vqa_twostage.fuse.report import write_report

    show(write_report(list(runs), output, root), as_json, tables.print_report)
    return DONE


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
@click.option(
    "--plot",
    type=FOLDER,
    help="Also draw frames, and what each scores and counts: a PNG, SVG or PDF file.",
)
@as_json_option
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print a JSON object a video, a line each.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a row a video.")
def score(
    videos: tuple[str, ...],
    run: Path | None,
    cache: Path | None,
    no_cache: bool,
    plot: Path | None,
    as_json: bool,
    as_jsonl: bool,
    as_csv: bool,
    **given: Any,
) -> int:
    """Raw video in, score out; exit code 3 where some have none.

    Frames are sampled, and features made, as for the videos that the model was trained on. A folder
    means all videos in it. The model that ships with this package was trained on VMAF pseudo-MOS of
    few contents, not on opinions.

    \b
    Example
      vqa-fuse score clip.mp4 --plot clip.png
      vqa-fuse score holiday --run runs/konvid-dynamic-1a2b3c4d5e --csv
    """
    if as_json + as_jsonl + as_csv > 1:
        raise UsageError("choose one of --json, --jsonl and --csv")
    if no_cache and cache is not None:
        raise UsageError("--cache and --no-cache contradict each other; give one of them")
    if plot is not None:
        from vqa_twostage.fuse.reporting import contact_sheet as sheet

        sheet.check_name(plot)
    from vqa_twostage.pipeline.datasets.videos import find_videos

    found, others = find_videos(videos)
    if others:
        click.echo(
            f"not scored: {len(others)} files that are no videos by their names, such as "
            f"{others[0]}",
            err=True,
        )
    from vqa_twostage.fuse import score as scoring
    from vqa_twostage.fuse.reporting import score_text as verdict

    model = scoring.load(run)
    keep = None if no_cache else cache or cache_folder()
    with console.progress("score") as on_progress:
        document = scoring.as_document(
            scoring.score(found, model, keep, on_progress=on_progress, **given), model
        )
    if plot is not None:
        for line in sheet.draw(document, plot):
            click.echo(line, err=True)
    if as_json:
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    elif as_jsonl:
        click.echo("\n".join(json.dumps(item, allow_nan=False) for item in document))
    elif as_csv:
        click.echo(verdict.as_csv(document), nl=False)
    else:
        click.echo("\n".join(line for item in document for line in verdict.said(item)))
    return SOME_FAILED if any(item["error"] for item in document) else DONE


def cache_folder() -> Path:
    """Where features of scored videos are kept: ~/.cache/vqa-twostage, or where the system says."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vqa-twostage"
        folder.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError) as error:
        raise UsageError(
            f"there is no home folder to keep features in ({error}); give --cache or --no-cache"
        ) from None
    return folder


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
    """The model of RUN as a folder to hand on: weights, config, and a card with data, protocol,
    figures and limits.

    `vqa-fuse score --run` takes it, and so does the Hugging Face hub.

    \b
    Example
      vqa-fuse export runs/demo-dynamic-1a2b3c4d5e --output my-model --onnx
    """
    from vqa_twostage.fuse.export import export_run

    show(export_run(run, output, onnx), as_json, tables.print_export)
    return DONE
