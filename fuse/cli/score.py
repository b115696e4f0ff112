"""vqa-fuse score."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqa_twostage.fuse.cli.shared import FOLDER
from vqa_twostage.fuse.run_folder import complete_runs
from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.completion import names
from vqa_twostage.pipeline.console import limits_option, scratch_options
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError, require
from vqa_twostage.pipeline.files import require_place, write_text

if TYPE_CHECKING:
    from vqa_twostage.fuse.learning.scorer import Scorer
    from vqa_twostage.fuse.video_score import Score


def _models(_: click.Context) -> dict[str, str]:
    """For a shell: the models that have a name, without what reads their cards."""
    folder = Path(__file__).parents[1] / "delivery" / "heads"
    return {path.stem: "" for path in sorted(folder.glob("*.toml"))}


def _choose_format(context: click.Context, option: click.Parameter, chosen: bool) -> None:
    """Puts the one format that was asked for into the parameter ``output``."""
    formats = context.params.setdefault("output", "text")
    if chosen and formats != "text":
        raise UsageError("choose one of --json, --jsonl and --csv")
    if chosen:
        context.params["output"] = str(option.name)


def output_format_options(function: Callable[..., int]) -> Callable[..., int]:
    """Adds --json, --jsonl and --csv: the parameter ``output``, a key of
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


def _print_models(context: click.Context, _: click.Parameter, chosen: bool) -> None:
    if chosen:
        from vqa_twostage.fuse.delivery.model_cards import model_cards

        for card in model_cards().values():
            click.echo(card.to_text())
        context.exit()


@click.command()
@click.argument("videos", nargs=-1, metavar="[VIDEO|DIR|PATTERN|ADDRESS]…")
@click.option(
    "--watch",
    type=FOLDER,
    metavar="DIR",
    help="Instead of VIDEO: score what is in DIR, and what arrives there, until Ctrl-C.",
)
@click.option(
    "--run", shell_complete=complete_runs, type=FOLDER, help="A run, or an exported model."
)
@click.option(
    "--model",
    shell_complete=names(_models),
    metavar="NAME|hub:OWNER/NAME",
    help="A model of --list, or one of the Hugging Face hub, at a branch, tag or commit with "
    "@REVISION behind it [default: demo, the small model that ships with this].",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_models,
    help="Print the models that have a name, a line each.",
)
@click.option(
    "--every",
    metavar="SECONDS",
    help="Also a timeline: a score for every so many seconds, as in 1s, 0.5s or 2min. The score of "
    "the video stays as it is.",
)
@click.option(
    "--curve",
    type=FOLDER,
    metavar="FILE",
    help="Write the timelines as CSV, a row a moment; --every is 1s unless given.",
)
@click.option(
    "--worse-than",
    type=float,
    metavar="SCORE",
    help="Name the spans of the timeline that are worse, by their seconds; --every is 1s unless "
    "given.",
)
@click.option(
    "--new-only",
    is_flag=True,
    help="With --watch: what is in DIR already gets no score, unless it changes.",
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
@scratch_options
@limits_option
@click.option(
    "--plot",
    type=FOLDER,
    help="Also draw frames, and what each scores and counts: a PNG, SVG or PDF file.",
)
@output_format_options
def score(
    videos: tuple[str, ...],
    watch: Path | None,
    run: Path | None,
    model: str | None,
    plot: Path | None,
    curve: Path | None,
    output: str,
    **options: Any,
) -> int:
    """Raw video in, score out; exit code 3 where some have none.

    Frames are sampled, and features extracted, as for the videos that the model was trained on. A
    folder means all videos in it, here or at an address such as s3://bucket/folder. The model that
    ships with this package was trained on VMAF pseudo-MOS of few contents, not on opinions. --jsonl
    prints each score as soon as its video is done.

    \b
    Example
      vqa-fuse score clip.mp4 --plot clip.png
      vqa-fuse score concert.mp4 --every 1s --curve concert.csv --worse-than 2.5
      vqa-fuse score holiday --run runs/konvid-dynamic-1a2b3c4d5e --csv
      vqa-fuse score --watch uploads --new-only --jsonl
    """
    from vqa_twostage.fuse.interval import parse_interval

    if options["no_cache"] and options["cache"] is not None:
        raise UsageError("--cache and --no-cache contradict each other; give one of them")
    if run is not None and model is not None:
        raise UsageError("--run and --model contradict each other; give one of them")
    if watch is not None and videos:
        raise UsageError(f"--watch {watch} and {videos[0]}: give a folder to watch, or videos")
    if watch is None and not videos:
        raise UsageError("no video is given; give files, folders or patterns, or --watch DIR")
    new_only = options.pop("new_only")
    if new_only and watch is None:
        raise UsageError("--new-only is about the folder of --watch; give that, or leave it out")
    if options["every"] is None and (curve is not None or options["worse_than"] is not None):
        options["every"] = "1s"
    if options["every"] is not None:
        options["every"] = parse_interval(options["every"])
    if watch is not None:
        options["new_only"] = new_only
        return _watch(watch, (run, model), {"--plot": plot, "--curve": curve}, output, options)
    return _score(videos, (run, model), plot, curve, output, options)


def _score(
    videos: tuple[str, ...],
    source: tuple[Path | None, str | None],
    plot: Path | None,
    curve: Path | None,
    output: str,
    options: dict[str, Any],
) -> int:
    # what can be wrong with paths is checked before torch is imported, and what draws is imported
    # only where something is drawn
    from vqa_twostage.fuse.reporting import score_text
    from vqa_twostage.pipeline.datasets.videos import find_videos

    if plot is not None:
        from vqa_twostage.fuse.reporting import contact_sheet

        contact_sheet.check_path(plot)
    if curve is not None:
        require_place("--curve", curve, "a file, as in curve.csv")
    paths, others = find_videos(videos)
    remote = [path for path in paths if not isinstance(path, Path)]
    if plot is not None and remote:
        raise UsageError(
            f"--plot draws frames of files of this machine, and {remote[0]} is none; copy the "
            "videos that are to be drawn"
        )
    if others:
        click.echo(
            f"not scored, since by their names they are no videos: {len(others)} of the files, "
            f"such as {others[0]}",
            err=True,
        )
    from vqa_twostage.fuse import score as scoring

    scorer, kept = _model_and_cache(source, options)
    if options["every"] is not None:
        click.echo("each video is read twice: for its score, then for its timeline", err=True)
    on_score = partial(_print, output) if output == "jsonl" else None
    with console.progress("score") as on_progress:
        scores = scoring.score(
            paths, scorer, kept, on_progress=on_progress, on_score=on_score, **options
        )
    if plot is not None:
        for message in contact_sheet.draw(scores, plot):
            click.echo(message, err=True)
    if curve is not None:
        write_text(curve, score_text.timelines_to_csv(scores))
        click.echo(f"timelines: {curve}", err=True)
    if on_score is None:
        click.echo(score_text.FORMATS[output](scores), nl=False)
    return SOME_FAILED if any(item.error for item in scores) else DONE


def _watch(
    folder: Path,
    source: tuple[Path | None, str | None],
    refused: dict[str, Path | None],
    output: str,
    options: dict[str, Any],
) -> int:
    """Prints scores as videos arrive; Ctrl-C is its end, and no failure."""
    from vqa_twostage.fuse.reporting import score_text

    for name, path in refused.items():
        require(path is None, f"--watch has no end at which {name} could be written; leave it out")
    require(output != "json", "--watch has no end at which one document could be printed; --jsonl")
    require(folder.is_dir(), f"--watch {folder}: no such folder; give one that videos arrive in")
    from vqa_twostage.fuse.watch import watch

    scorer, kept = _model_and_cache(source, options)
    click.echo(f"watching {folder}; Ctrl-C ends it", err=True)
    if output == "csv":
        click.echo(score_text.to_csv([], scorer.axes), nl=False)
    failed = done = 0
    # what stops a service: it ends the watch as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for score in watch(folder, scorer, kept, **options):
            done += 1
            failed += bool(score.error)
            _print(output, score)
    except KeyboardInterrupt:
        click.echo(f"watched {folder}: {done} scored, {failed} of them without a score", err=True)
    return SOME_FAILED if failed else DONE


def _print(output: str, score: Score) -> None:
    from vqa_twostage.fuse.reporting import score_text

    click.echo(score_text.STREAMED[output](score), nl=False)


def _model_and_cache(
    source: tuple[Path | None, str | None], options: dict[str, Any]
) -> tuple[Scorer, Path | None]:
    """The model, and the folder where features are kept, whose options are taken out."""
    from vqa_twostage.fuse import score as scoring

    without, cache = options.pop("no_cache"), options.pop("cache")
    for name in ("scratch", "scratch_gb"):
        if options[name] is None:
            del options[name]
    options["limits"] = options["limits"] or ""
    return scoring.load(*source), None if without else cache or scoring.default_cache()
