"""Scored videos as one picture: the frames that were looked at, the score of each alone, and how
much it counts.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from vqa_twostage.fuse.reporting.score_text import cautions, meaning, word
from vqa_twostage.fuse.reporting.thumbnails import evenly_spaced, pictured
from vqa_twostage.pipeline.errors import require

KINDS = (".png", ".svg", ".pdf")
VIDEOS = 20  # in one picture
WIDTH_IN = 11.0
BLUE, GREY = "#2a6fbb", "#9ca3af"


def check_name(path: Path) -> None:
    """UsageError where no picture can be written to ``path``: said before anything is scored."""
    require(
        path.suffix.lower() in KINDS, f"--plot {path}: give a name that ends in {', '.join(KINDS)}"
    )
    require(
        not path.is_dir(),
        f"--plot {path} is a folder; give the name of a picture, as in scores.png",
    )
    require(path.parent.is_dir(), f"--plot {path}: the folder {path.parent} does not exist")


def draw(document: Sequence[dict[str, Any]], path: Path) -> list[str]:
    """Draws the document of ``vqa-fuse score --json``, a row a video; where it is and what it
    lacks, in words.

    Frames that cannot be shown are left grey, their scores are drawn.
    """
    scored = [item for item in document if not item["error"]]
    lacking = [
        f"{item['video']} is not in {path}: it has no score" for item in document if item["error"]
    ]
    if len(scored) > VIDEOS:
        lacking.append(f"{path} shows the first {VIDEOS} of {len(scored)} videos that have a score")
    shown = scored[:VIDEOS]
    if not shown:
        return [*lacking, f"{path} was not written: there is nothing to show"]
    chosen = [[item["frames"][row] for row in evenly_spaced(len(item["frames"]))] for item in shown]
    asked = [
        (str(row), Path(item["video"]), [frame["index"] for frame in frames])
        for row, (item, frames) in enumerate(zip(shown, chosen, strict=True))
    ]
    images, reasons = pictured(asked)
    lacking += [
        f"no frames of {shown[int(row)]['video']} in {path}: {reason}"
        for row, reason in reasons.items()
    ]
    figure = Figure(figsize=(WIDTH_IN, 2.3 * len(shown)), layout="constrained")
    parts = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for row, (part, item, frames) in enumerate(zip(parts, shown, chosen, strict=True)):
        _draw_one(part, item, frames, images.get(str(row)))
    figure.savefig(path, dpi=150)
    return [*lacking, f"picture: {path}"]


def _draw_one(
    part: SubFigure, item: dict[str, Any], frames: list[dict[str, Any]], images: list[str] | None
) -> None:
    grid = part.add_gridspec(2, len(frames), height_ratios=(1.25, 1))
    for place, frame in enumerate(frames):
        axes = part.add_subplot(grid[0, place])
        picture = _decoded(images[place]) if images else np.full((9, 16, 3), 225, np.uint8)
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(f"{frame['time']:.1f} s", fontsize=8, labelpad=2)
    _draw_scores(part.add_subplot(grid[1, :]), item, frames)
    name = "/".join(Path(item["video"]).parts[-2:])  # folders often hold files of the same names
    lines = [f"{name}: {item['score']:.2f}, {word(item)}", meaning(item), *cautions(item)]
    part.suptitle(lines[0], fontsize=12, fontweight="bold", x=0.01, ha="left", parse_math=False)
    lines[1] += "; bars: each frame alone, as wide as it counts"
    part.supxlabel(
        "\n".join(lines[1:]), fontsize=8.5, x=0.01, ha="left", color="#374151", parse_math=False
    )


def _draw_scores(axes: Axes, item: dict[str, Any], frames: list[dict[str, Any]]) -> None:
    """The score of each frame alone on the whole scale, below its picture; the wider a bar, the
    more it counts.
    """
    low, high = item["scale"]
    scores = [frame["score"] for frame in frames]
    places = np.arange(len(frames))
    axes.axhline(item["score"], color=BLUE, linewidth=1.2)
    if all(score is not None for score in scores):
        weights = np.array([frame["weight"] for frame in frames])
        widths = 0.8 * weights / weights.max()
        axes.bar(
            places, np.clip(scores, low, high) - low, widths, bottom=low, color=BLUE, alpha=0.35
        )
        for place, score in zip(places, scores, strict=True):
            axes.annotate(
                f"{score:.2f}",
                (place, low),
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


def _decoded(image: str) -> np.ndarray:
    return np.asarray(
        cv2.imdecode(np.frombuffer(base64.b64decode(image), np.uint8), cv2.IMREAD_COLOR)
    )[..., ::-1]
