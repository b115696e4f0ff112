"""Scores of videos as text: for people (what a score means, how far to trust it, how it came
about), as JSON, as JSON Lines, and as CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence

from vqa_twostage.fuse.video_score import Score

# for the five equal parts of a scale, worst first: the categories of ITU-T P.910 for absolute
# category rating
QUALITY_WORDS = ("bad", "poor", "fair", "good", "excellent")
BARS = "▁▂▃▄▅▆▇█"
CSV_COLUMNS = (
    "video",
    "score",
    "low",
    "high",
    "percentile",
    "distance",
    "far",
    "damage",
    "label",
    "error",
)
EQUAL_WEIGHTS = 1.05  # up to this multiple of the mean weight, all frames count alike


def to_text(scores: Sequence[Score]) -> str:
    """What `vqa-fuse score` prints for people."""
    return "\n".join(line for score in scores for line in lines_of(score)) + "\n"


def to_json(scores: Sequence[Score]) -> str:
    """The document of ``vqa-fuse score --json``."""
    return json.dumps([score.to_json() for score in scores], indent=2, allow_nan=False) + "\n"


def to_jsonl(scores: Sequence[Score]) -> str:
    """A JSON object for each video, one a line."""
    return "".join(json.dumps(score.to_json(), allow_nan=False) + "\n" for score in scores)


def to_csv(scores: Sequence[Score]) -> str:
    """A row for each video, with the columns `CSV_COLUMNS`."""
    table = io.StringIO()
    writer = csv.DictWriter(table, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for score in scores:
        low, high = score.scale
        writer.writerow({**score.to_json(), "low": low, "high": high})
    return table.getvalue()


FORMATS = {"text": to_text, "json": to_json, "jsonl": to_jsonl, "csv": to_csv}


def lines_of(score: Score) -> list[str]:
    """One score in sentences, one a line: the score, its scale, its frames, cautions."""
    if score.error:
        return [f"{score.video}: no score: {score.error}"]
    low, high = score.scale
    best = high if score.better == "higher" else low
    headline = (
        f"{score.video}: {score.score:.2f}, {quality_word(score)}, on a scale of {low:g} to "
        f"{high:g} ({best:g} is best)"
    )
    details = [origin_of_scale(score), *_frame_curve(score), *cautions(score)]
    return [headline, *(f"  {line}" for line in details)]


def origin_of_scale(score: Score) -> str:
    """What the scale measures, and where the score lies among the training labels."""
    rank = f"above {score.percentile:.0f} % of its videos"
    return f"{score.label}, as learnt from {score.trained_on}; {rank}"


def cautions(score: Score) -> list[str]:
    """The reasons to trust the score less, one a line."""
    lines = []
    if score.damage:
        lines.append(
            f"caution: the file is damaged, and was scored as far as it goes: {score.damage}"
        )
    low, high = score.scale
    if not low <= _value(score) <= high:
        lines.append(
            f"caution: the score lies outside of the scale, {low:g} to {high:g}: beyond what the "
            "model has seen"
        )
    if score.far:
        lines.append(
            "caution: this video is unlike those the model was trained on (distance "
            f"{score.distance:.1f}, 1 is typical, and 99 % of them lie nearer): take the score "
            "for a guess"
        )
    return lines


def quality_word(score: Score) -> str:
    """The word for the fifth of the scale that the score lies in."""
    low, high = score.scale
    position = (_value(score) - low) / (high - low)
    quality = position if score.better == "higher" else 1 - position
    return QUALITY_WORDS[min(4, max(0, math.floor(5 * quality)))]


def _frame_curve(score: Score) -> list[str]:
    """The scores of single frames over time, and the frame that counts most."""
    frames = score.frames
    frame_scores = [frame.score for frame in frames if frame.score is not None]
    if len(frames) < 2 or len(frame_scores) < len(frames):
        return []
    low, high = score.scale
    heights = [
        min(7, max(0, math.floor(8 * (value - low) / (high - low)))) for value in frame_scores
    ]
    bars = "".join(BARS[height] for height in heights)
    heaviest = max(frames, key=lambda frame: frame.weight)
    if heaviest.weight * len(frames) < EQUAL_WEIGHTS:
        weights = "all count alike"
    else:
        weights = f"the one at {heaviest.time:.1f} s counts most ({heaviest.weight:.0%})"
    range_of_scores = f"single frames {min(frame_scores):.2f} to {max(frame_scores):.2f}"
    start, end = frames[0].time, frames[-1].time
    return [f"over time  {start:.1f} s {bars} {end:.1f} s, {range_of_scores}; {weights}"]


def _value(score: Score) -> float:
    assert score.score is not None, "only a video that has a score is described"
    return score.score
