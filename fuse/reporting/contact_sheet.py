"""Scored videos as one picture: sampled frames of each, the score of each frame alone, and how much
it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from vqa_twostage.fuse.reporting.score_text import (
    agreement_with_opinions,
    cautions,
    origin_of_scale,
    verdict,
)
from vqa_twostage.fuse.reporting.thumbnails import FrameRequest, evenly_spaced, read_thumbnails
from vqa_twostage.fuse.video_score import Frame, Score
from vqa_twostage.pipeline.errors import require
from vqa_twostage.pipeline.files import require_place

EXTENSIONS = (".png", ".svg", ".pdf")
MAX_VIDEOS = 20  # in one picture
WIDTH_IN, ROW_HEIGHT_IN, TIMELINE_HEIGHT_IN = 11.0, 2.3, 1.2
BLUE, RED, GREY = "#2a6fbb", "#b3261e", "#9ca3af"


def check_path(path: Path) -> None:
    """UsageError where no picture can be written to ``path``: checked before anything is scored."""
    require(
        path.suffix.lower() in EXTENSIONS,
        f"--plot {path}: give a name that ends in {', '.join(EXTENSIONS)}",
    )
    require_place("--plot", path, "the name of a picture, as in scores.png")


def draw(scores: Sequence[Score], path: Path) -> list[str]:
    """Draws a row for each scored video, and returns messages: what the picture lacks, and where it
    is.

    Where frames cannot be read, they are left grey, and their scores are drawn nevertheless.
    """
    scored = [score for score in scores if not score.error]
    messages = [f"{item.video} is not in {path}: it has no score" for item in scores if item.error]
    if len(scored) > MAX_VIDEOS:
        messages.append(
            f"{path} shows the first {MAX_VIDEOS} of {len(scored)} videos that have a score"
        )
    shown = scored[:MAX_VIDEOS]
    if not shown:
        return [*messages, f"{path} was not written: there is nothing to show"]
    frames = [[score.frames[row] for row in evenly_spaced(len(score.frames))] for score in shown]
    requests = [
        FrameRequest(str(row), Path(score.video), [frame.index for frame in frames[row]])
        for row, score in enumerate(shown)
    ]
    images, reasons = read_thumbnails(requests)
    messages += [
        f"no frames of {shown[int(row)].video} in {path}: {reason}"
        for row, reason in reasons.items()
    ]
    heights = [ROW_HEIGHT_IN + TIMELINE_HEIGHT_IN * bool(score.timeline) for score in shown]
    figure = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for row, (part, score) in enumerate(zip(parts, shown, strict=True)):
        _draw_video(part, score, frames[row], images.get(str(row)))
    figure.savefig(path, dpi=150)
    return [*messages, f"picture: {path}"]


def _draw_video(
    part: SubFigure, score: Score, frames: list[Frame], images: list[bytes] | None
) -> None:
    heights = (1.25, 1, 1) if score.timeline else (1.25, 1)
    grid = part.add_gridspec(len(heights), len(frames), height_ratios=heights)
    for column, frame in enumerate(frames):
        axes = part.add_subplot(grid[0, column])
        axes.imshow(_decoded(images[column]) if images else np.full((9, 16, 3), 225, np.uint8))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(f"{frame.time:.1f} s", fontsize=8, labelpad=2)
    _draw_frame_scores(part.add_subplot(grid[1, :]), score, frames)
    if score.timeline:
        _draw_timeline(part.add_subplot(grid[2, :]), score)
    # with the folder: folders often hold files of the same names
    name = "/".join(Path(score.video).parts[-2:])
    title = f"{name}: {verdict(score)}"
    part.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left", parse_math=False)
    legend = f"{origin_of_scale(score)}; bars: each frame alone, as wide as it counts"
    part.supxlabel(
        "\n".join([legend, *agreement_with_opinions(score), *cautions(score)]),
        fontsize=8.5,
        x=0.01,
        ha="left",
        color="#374151",
        parse_math=False,
    )


def _draw_frame_scores(axes: Axes, score: Score, frames: list[Frame]) -> None:
    """The score of each frame alone on the whole scale, below its picture; the wider a bar, the
    more it counts.
    """
    low, high = score.scale
    frame_scores = [frame.score for frame in frames if frame.score is not None]
    assert score.score is not None, "only videos that have a score are drawn"
    axes.axhline(score.score, color=BLUE, linewidth=1.2)
    if len(frame_scores) == len(frames):
        weights = np.array([frame.weight for frame in frames])
        heights = np.clip(frame_scores, low, high) - low
        widths = 0.8 * weights / weights.max()
        axes.bar(range(len(frames)), heights, widths, bottom=low, color=BLUE, alpha=0.35)
        for column, value in enumerate(frame_scores):
            axes.annotate(
                f"{value:.2f}",
                (column, low),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.set(
        xlim=(-0.5, len(frames) - 0.5),
        ylim=(low, high),
        xticks=[],
        yticks=np.linspace(low, high, 5),
    )
    axes.tick_params(labelsize=7, colors=GREY)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[:].set_visible(False)


def _draw_timeline(axes: Axes, score: Score) -> None:
    """The score of each moment over time, the worst one, and what is worse than the threshold."""
    low, high = score.scale
    times = [moment.time for moment in score.timeline]
    values = np.clip([moment.score for moment in score.timeline], low, high)
    axes.axhline(score.score or low, color=BLUE, linewidth=1.2)
    axes.plot(times, values, color=GREY, linewidth=1, marker="." if len(times) <= 60 else "")
    for span in score.spans:
        axes.axvspan(span.start, span.end, color=RED, alpha=0.12, linewidth=0)
    worst = score.worst
    assert worst is not None, "there is a timeline"
    height = float(np.clip(worst.score, low, high))
    axes.plot([worst.time], [height], "o", color=RED, markersize=5)
    beside = "right" if worst.time > (times[0] + times[-1]) / 2 else "left"
    # where the line is not: it passes above its lowest point
    above = height < low + 0.3 * (high - low) if score.better == "higher" else True
    axes.annotate(
        f"worst {worst.score:.2f} at {worst.time:.1f} s",
        (worst.time, height),
        (-8 if beside == "right" else 8, 4 if above else -10),
        textcoords="offset points",
        ha=beside,
        fontsize=8,
        color=RED,
        bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
    )
    axes.set(ylim=(low, high), yticks=np.linspace(low, high, 5), xlabel="seconds")
    axes.xaxis.label.set_fontsize(8)
    axes.tick_params(labelsize=7, colors=GREY)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[:].set_visible(False)


def _decoded(jpeg: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """A JPEG as RGB."""
    return np.asarray(Image.open(BytesIO(jpeg)).convert("RGB"))
