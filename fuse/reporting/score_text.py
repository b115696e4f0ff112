"""Scores of videos as text: for people (what a score means, how far to trust it, how it came
about), as JSON, as JSON Lines, and as CSV; their timelines as CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from vqa_twostage.fuse.video_score import Score

# for the five equal parts of a scale, worst first: the categories of ITU-T P.910 for absolute
# category rating
QUALITY_WORDS = ("bad", "poor", "fair", "good", "excellent")
BARS = "▁▂▃▄▅▆▇█"
CSV_COLUMNS = (
    "video",
    "digest",
    "score",
    "word",
    "scale_low",
    "scale_high",
    "percentile",
    "distance",
    "far",
    "damage",
    "duration",
    "worst_score",
    "worst_time",
    "seconds_worse",
    "spans",
    "cautions",
    "label",
    "trained_on",
    "error",
)
EQUAL_WEIGHTS = 1.05  # up to this multiple of the mean weight, all frames count alike
# seconds of video that one sampled frame may stand for without a word; of the clips that public
# datasets have (5 to 20 s), eight frames stand for at most so many each
LONG_GAP_S = 2.5
MAX_SPANS = 10  # in the text
MAX_BARS = 60  # of a timeline; of more moments, several share a bar


def to_text(scores: Sequence[Score]) -> str:
    """What `vqa-fuse score` prints for people."""
    if len(scores) == 1:
        return "\n".join(lines_of(scores[0])) + "\n"
    lines = [line for score in scores for line in lines_among_others(score)]
    return "\n".join([*lines, *closing_lines(scores)]) + "\n"


def to_json(scores: Sequence[Score]) -> str:
    """The document of ``vqa-fuse score --json``."""
    return json.dumps([_document(score) for score in scores], indent=2, allow_nan=False) + "\n"


def _document(score: Score) -> dict[str, Any]:
    """An entry of the document of ``--json``: `Score.to_json`, with the word and the cautions that
    people are told.
    """
    word = None if score.error else quality_word(score)
    return {**score.to_json(), "word": word, "cautions": cautions(score)}


def to_jsonl(scores: Sequence[Score]) -> str:
    """A JSON object for each video, one a line."""
    return "".join(json.dumps(_document(score), allow_nan=False) + "\n" for score in scores)


def to_csv(scores: Sequence[Score], axes: Iterable[str] = ()) -> str:
    """A row for each video, with the columns `CSV_COLUMNS`, and one for each further label.

    ``axes``: the further labels, where there is no score that names them.
    """
    table = io.StringIO()
    names = dict.fromkeys([*axes, *(name for score in scores for name in score.axes)])
    columns = [*CSV_COLUMNS, *(f"score_{name}" for name in names)]
    writer = csv.DictWriter(table, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for score in scores:
        low, high = score.scale
        worst = score.worst
        writer.writerow(
            {
                **_document(score),
                "scale_low": low,
                "scale_high": high,
                "worst_score": None if worst is None else worst.score,
                "worst_time": None if worst is None else worst.time,
                "spans": "; ".join(f"{span.start:g}-{span.end:g}" for span in score.spans),
                "cautions": "; ".join(cautions(score)),
                **{f"score_{name}": axis.score for name, axis in score.axes.items()},
            }
        )
    return table.getvalue()


def timelines_to_csv(scores: Sequence[Score]) -> str:
    """A row for each moment of the timelines: the video, the moment in seconds, the number of its
    frame, its score, and the scale.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("video", "time", "frame", "score", "scale_low", "scale_high"))
    for score in scores:
        for moment in score.timeline:
            row = (score.video, f"{moment.time:.6g}", moment.index, moment.score, *score.scale)
            writer.writerow(row)
    return table.getvalue()


def among_others(score: Score) -> str:
    """`lines_among_others` as text."""
    return "".join(f"{line}\n" for line in lines_among_others(score))


def row_of(score: Score) -> str:
    """The row of `to_csv`."""
    return to_csv([score]).partition("\n")[2]


FORMATS = {"text": to_text, "json": to_json, "jsonl": to_jsonl, "csv": to_csv}
# of one score after another, each as soon as it is known
STREAMED = {"text": among_others, "jsonl": lambda score: to_jsonl([score]), "csv": row_of}


def lines_of(score: Score) -> list[str]:
    """One score in sentences, one a line: the score, its scale, its frames, cautions."""
    if score.error:
        return [f"{score.video}: no score: {score.error}"]
    details = [
        origin_of_scale(score),
        *_axes(score),
        *_frame_curve(score),
        *_timeline(score),
        *agreement_with_opinions(score),
        *cautions(score),
    ]
    return [f"{_headline(score)}, on {scale_of(score)}", *(f"  {line}" for line in details)]


def lines_among_others(score: Score) -> list[str]:
    """As `lines_of`, without what is the same for every video: `closing_lines` says that."""
    if score.error:
        return lines_of(score)
    details = [*_axes(score), *_frame_curve(score), *_timeline(score), *cautions(score)]
    return [_headline(score), *(f"  {line}" for line in details)]


def closing_lines(scores: Sequence[Score]) -> list[str]:
    """Below several videos: a line for each folder, and what their scores mean."""
    lines = [_summary(folder, group) for folder, group in _by_folder(scores).items()]
    scored = next((score for score in scores if not score.error), None)
    if scored is None:
        return lines
    origin = f"{scored.label}, as learnt from {scored.trained_on}"
    return [*lines, f"on {scale_of(scored)}: {origin}", *agreement_with_opinions(scored)]


def _axes(score: Score) -> list[str]:
    """A line for each further label."""
    return [
        f"{name} {axis.score:.2f}, on a scale of {axis.scale[0]:g} to {axis.scale[1]:g} "
        f"({axis.better} is better); above {axis.percentile:.0f} % of the videos"
        for name, axis in score.axes.items()
        if axis.score is not None
    ]


def origin_of_scale(score: Score) -> str:
    """What the scale measures, and where the score lies among the training labels."""
    of = f"{score.training_videos} " if score.training_videos else ""
    rank = f"above {score.percentile:.0f} % of its {of}videos"
    return f"{score.label}, as learnt from {score.trained_on}; {rank}"


def agreement_with_opinions(score: Score) -> list[str]:
    """How far scores of this model agree with people, where that was measured."""
    agreement = score.agreement
    if agreement is None and score.label.startswith("pseudo"):
        return ["not compared with the opinions of viewers"]
    if agreement is None:
        return []
    return [
        f"SRCC with the opinions of viewers: {agreement.srcc:.2f} on {agreement.videos} videos of "
        f"{agreement.dataset} (95 % interval {agreement.low:.2f} to {agreement.high:.2f})"
    ]


def cautions(score: Score) -> list[str]:
    """The reasons to trust the score less, one a line; none where there is no score."""
    if score.error:
        return []
    lines = []
    frames = len(score.frames)
    if score.duration is not None and frames and score.duration > LONG_GAP_S * frames:
        some = f"{frames} frames stand" if frames > 1 else "one frame stands"
        lines.append(
            f"caution: {some} for {score.duration:.0f} s of video; "
            + ("what lies between them" if frames > 1 else "the rest of it")
            + " has no part in the score"
            + ("" if score.timeline else " (a timeline, --every 1s, looks at every second)")
        )
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
    bars = _bars(frame_scores, score.scale)
    heaviest = max(frames, key=lambda frame: frame.weight)
    if heaviest.weight * len(frames) < EQUAL_WEIGHTS:
        weights = "all count alike"
    else:
        weights = f"the one at {heaviest.time:.1f} s counts most ({heaviest.weight:.0%})"
    range_of_scores = f"single frames {min(frame_scores):.2f} to {max(frame_scores):.2f}"
    start, end = frames[0].time, frames[-1].time
    return [f"over time  {start:.1f} s {bars} {end:.1f} s, {range_of_scores}; {weights}"]


def _timeline(score: Score) -> list[str]:
    """The timeline as bars, each the mean of the moments that share it, and the worst moment."""
    worst = score.worst
    if worst is None:
        return []
    values = [moment.score for moment in score.timeline]
    shared = -(-len(values) // MAX_BARS)
    means = [
        sum(values[at : at + shared]) / len(values[at : at + shared])
        for at in range(0, len(values), shared)
    ]
    start, end = score.timeline[0].time, score.timeline[-1].time
    line = (
        f"timeline   {start:.1f} s {_bars(means, score.scale)} {end:.1f} s, "
        f"{len(values)} moments {min(values):.2f} to {max(values):.2f}; "
        f"worst {worst.score:.2f} at {worst.time:.1f} s"
    )
    return [line, *_spans(score)]


def _spans(score: Score) -> list[str]:
    """How much of the video is worse than the threshold, and where: a line for each span."""
    if score.worse_than is None or score.seconds_worse is None:
        return []
    threshold = f"worse than {score.worse_than:g}"
    if not score.spans:
        return [f"{threshold}: at no moment"]
    lines = [
        f"  {span.start:.1f} to {span.end:.1f} s, worst {span.worst.score:.2f} at "
        f"{span.worst.time:.1f} s"
        for span in score.spans[:MAX_SPANS]
    ]
    if (more := len(score.spans) - MAX_SPANS) > 0:
        lines.append(f"  and {more} more; --json lists all")
    whole = "" if score.duration is None else f" of {score.duration:.1f}"
    return [f"{threshold}: {score.seconds_worse:.1f}{whole} s", *lines]


def _bars(values: Sequence[float], scale: tuple[float, float]) -> str:
    """A bar for each value, as high as it lies in the scale."""
    low, high = scale
    heights = [min(7, max(0, math.floor(8 * (value - low) / (high - low)))) for value in values]
    return "".join(BARS[height] for height in heights)


def _headline(score: Score) -> str:
    return f"{score.video}: {verdict(score)}"


def verdict(score: Score) -> str:
    """The score and its word, with the doubt that must not be overlooked."""
    doubt = " (a guess)" if score.far else ""
    return f"{score.score:.2f}, {quality_word(score)}{doubt}"


def scale_of(score: Score) -> str:
    """``a scale of 1 to 5 (5 is best)``."""
    low, high = score.scale
    best = high if score.better == "higher" else low
    return f"a scale of {low:g} to {high:g} ({best:g} is best)"


def _by_folder(scores: Sequence[Score]) -> dict[str, list[Score]]:
    folders: dict[str, list[Score]] = {}
    for score in scores:
        # as text: pathlib drops a slash of s3://bucket
        folders.setdefault(os.path.dirname(score.video) or ".", []).append(score)
    return folders


def _summary(folder: str, scores: Sequence[Score]) -> str:
    """How many videos of a folder have a score, the median, and the two ends with their names."""
    scored = sorted((score for score in scores if not score.error), key=_value)
    videos = f"{len(scores)} video{'s' * (len(scores) != 1)}"
    without = len(scores) - len(scored)
    counted = f"{folder}: {videos}, {without} without a score" if without else f"{folder}: {videos}"
    if len(scored) < 2:
        return counted
    ends = [scored[0], scored[-1]]
    if scored[0].better == "lower":
        ends.reverse()
    worst, best = (f"{end.score:.2f} ({Path(end.video).name})" for end in ends)
    middle = median(map(_value, scored))
    return f"{counted}; median {middle:.2f}, worst {worst}, best {best}"


def _value(score: Score) -> float:
    assert score.score is not None, "only a video that has a score is described"
    return score.score
