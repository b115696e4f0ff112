"""Scores of videos for people and for machines: what a number means, how sure it is, how it came
about.
"""

from __future__ import annotations

import csv
import io
import math
from typing import Any

# of the five parts of a scale, worst first: the words of ITU-T P.910 for absolute category ratings
WORDS = ("bad", "poor", "fair", "good", "excellent")
BARS = "▁▂▃▄▅▆▇█"
COLUMNS = (
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


def said(item: dict[str, Any]) -> list[str]:
    """One entry of the document of ``vqa-fuse score --json``, in lines."""
    if item["error"]:
        return [f"{item['video']}: no score: {item['error']}"]
    low, high = item["scale"]
    best = high if item["better"] == "higher" else low
    first = (
        f"{item['video']}: {item['score']:.2f}, {word(item)}, on a scale of {low:g} to "
        f"{high:g} ({best:g} is best)"
    )
    return [first, *(f"  {line}" for line in (meaning(item), *_curve(item), *cautions(item)))]


def meaning(item: dict[str, Any]) -> str:
    """What the scale is of, and where the score lies among those it was learnt from."""
    above = f"above {item['percentile']:.0f} % of its videos"
    return f"{item['label']}, as learnt from {item['trained_on']}; {above}"


def cautions(item: dict[str, Any]) -> list[str]:
    """Why the score may be less than it seems, a line each."""
    lines = []
    if item["damage"]:
        lines.append(
            f"caution: the file is damaged, and was scored as far as it goes: {item['damage']}"
        )
    low, high = item["scale"]
    if not low <= item["score"] <= high:
        lines.append(
            f"caution: the score lies outside of the scale, {low:g} to {high:g}: beyond what the "
            "model has seen"
        )
    if item["far"]:
        lines.append(
            "caution: this video is unlike those the model was trained on (distance "
            f"{item['distance']:.1f}, 1 is "
            "typical, and 99 % of them lie nearer): take the score for a guess"
        )
    return lines


def word(item: dict[str, Any]) -> str:
    """The fifth of the scale that a score lies in."""
    low, high = item["scale"]
    part = (item["score"] - low) / (high - low)
    part = part if item["better"] == "higher" else 1 - part
    return WORDS[min(4, max(0, math.floor(5 * part)))]


def as_csv(document: list[dict[str, Any]]) -> str:
    """A row a video: the columns `COLUMNS`."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for item in document:
        writer.writerow({**item, "low": item["scale"][0], "high": item["scale"][1]})
    return table.getvalue()


def _curve(item: dict[str, Any]) -> list[str]:
    """The scores of its frames over time, and the frames that count most."""
    frames = item["frames"]
    if len(frames) < 2 or any(frame["score"] is None for frame in frames):
        return []
    low, high = item["scale"]
    scores = [frame["score"] for frame in frames]
    heights = [min(7, max(0, math.floor(8 * (score - low) / (high - low)))) for score in scores]
    bars = "".join(BARS[height] for height in heights)
    start, end = frames[0]["time"], frames[-1]["time"]
    most = max(frames, key=lambda frame: frame["weight"])
    alike = most["weight"] * len(frames) < 1.05
    weighed = (
        "all count alike"
        if alike
        else f"the one at {most['time']:.1f} s counts most ({most['weight']:.0%})"
    )
    alone = f"single frames {min(scores):.2f} to {max(scores):.2f}"
    return [f"over time  {start:.1f} s {bars} {end:.1f} s, {alone}; {weighed}"]
