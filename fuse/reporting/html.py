"""Results as HTML for notebooks: a score with its scale and its frames, tables of metrics.

Colours are those of the notebook, light or dark. Every figure stands beside the N that it is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from markupsafe import Markup, escape

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.paired import WHICH_TO_BELIEVE
from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    MEAN_TITLE,
    PAIRED_TITLES,
    curve_cells,
    curve_titles,
    meaning,
    meaning_of_difference,
    metric_cells,
    n_videos,
    paired_cells,
    shortened,
    titles,
    undefined_splits,
)
from vqa_twostage.fuse.reporting.score_text import (
    agreement_with_opinions,
    cautions,
    origin_of_scale,
    quality_word,
    scale_of,
)
from vqa_twostage.fuse.results import (
    AblationResult,
    Comparison,
    Evaluation,
    LearningCurve,
    SplitSummary,
)
from vqa_twostage.fuse.video_score import Frame, Moment, Score

# of the scale and of the curve over time, in pixels; the curve's dots need room at both ends
WIDTH, SCALE_HEIGHT, CURVE_HEIGHT, ROOM = 320.0, 14.0, 56.0, 6.0
QUIET = "opacity: 0.75; font-size: 0.9em"


@singledispatch
def in_html(result: object) -> str:
    """A result as a notebook shows it. TypeError for one of a kind that has no such form."""
    raise TypeError(f"{type(result).__name__} has no form in HTML")


@in_html.register
def of_score(score: Score) -> str:
    """The score, its scale, its place among the training labels, and single frames over time."""
    if score.score is None:
        return _lines([Markup("<b>{}</b>: no score: {}").format(score.video, score.error)])
    low, high = score.scale
    headline = Markup('<b style="font-size: 1.5em">{:.2f}</b> {}, on {}').format(
        score.score, quality_word(score), scale_of(score)
    )
    lines = [Markup("<b>{}</b>").format(score.video), headline, _scale(score.score, low, high)]
    lines += map(_quiet, [origin_of_scale(score), *agreement_with_opinions(score)])
    lines += [*_frames(score.frames, low, high), *_timeline(score)]
    return _lines([*lines, *cautions(score)])


@in_html.register
def of_evaluation(evaluation: Evaluation) -> str:
    """The metrics of a run."""
    caption = _caption(evaluation, evaluation.summary)
    row = [evaluation.fusion, *metric_cells(evaluation.summary)]
    below = [f"{meaning(evaluation.summary)}; {AFTER_LOGISTIC}"]
    if evaluation.summary.undefined:
        below.append(undefined_splits(evaluation.summary.undefined))
    below += opinions.sentences(evaluation.opinions, evaluation.dataset)
    below += [*_cautions(evaluation), f"run: {evaluation.run}"]
    return _table(caption, ["", *titles()], [row], below)


@in_html.register
def of_comparison(comparison: Comparison) -> str:
    """A row for each run, with its difference from the reference."""
    return _of_comparison(comparison, [])


@in_html.register
def of_ablation(result: AblationResult) -> str:
    """The comparison of its rows, and what could not be run."""
    lines = [f"not run: {name}: {reason}" for name, reason in result.impossible.items()]
    return _of_comparison(result.comparison, [*lines, f"tables and runs: {result.folder}"])


@in_html.register
def of_curve(curve: LearningCurve) -> str:
    """A row for each part of the labels."""
    whole = curve.points[-1].comparison
    summary = curve.points[-1].scratch.summary
    below = [meaning(summary)]
    if curve.source:
        said = meaning_of_difference("random weights", "SRCC fine-tuned")
        below.append(f"{said}; {WHICH_TO_BELIEVE}")
    learnt = {row.name: row.opinions for row in whole.rows}
    below += [*opinions.sentences_of_rows(learnt, whole.dataset), *_cautions(whole)]
    rows = [curve_cells(point) for point in curve.points]
    return _table(_caption(whole, summary), curve_titles(curve), rows, below)


def _of_comparison(comparison: Comparison, below: Sequence[str]) -> str:
    summary = comparison.rows[0].summary
    rows = [
        [row.name, *metric_cells(row.summary), *paired_cells(row.paired)] for row in comparison.rows
    ]
    learnt = {row.name: row.opinions for row in comparison.rows}
    lines = [
        f"{meaning(summary)}; {AFTER_LOGISTIC}",
        f"{meaning_of_difference(comparison.reference)}; {WHICH_TO_BELIEVE}",
        *(
            f"{row.name}: {undefined_splits(row.summary.undefined)}"
            for row in comparison.rows
            if row.summary.undefined
        ),
        *opinions.sentences_of_rows(learnt, comparison.dataset),
        *_cautions(comparison),
        *below,
    ]
    head = ["", *titles(), MEAN_TITLE, *PAIRED_TITLES]
    return _table(_caption(comparison, summary), head, rows, lines)


def _caption(result: Evaluation | Comparison, summary: SplitSummary) -> str:
    splits = f"{summary.n_splits} split{'s' if summary.n_splits > 1 else ''}"
    videos = n_videos(result.n_videos, result.n_dataset)
    return f"{result.dataset}, {result.protocol}: {splits} of {videos}, labels: {result.label}"


def _cautions(result: Evaluation | Comparison) -> list[str]:
    lines = [f"caution: {note}" for note in result.notes]
    if result.missing:
        lines.append(f"without features: {shortened(result.missing)}")
    return lines


def _table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str]
) -> str:
    """Cells are escaped; the first of a row is its name."""
    cell = Markup(
        '<{0} style="text-align: {1}; white-space: nowrap; padding: 0.2em 0.6em">{2}</{0}>'
    )

    def row(cells: Sequence[str], kind: str) -> Markup:
        joined = Markup("").join(
            cell.format(kind if number else "th", "right" if number else "left", text)
            for number, text in enumerate(cells)
        )
        return Markup("<tr>{}</tr>").format(joined)

    body = Markup("").join(row(cells, "td") for cells in rows)
    table = Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(
        row(head, "th"), body
    )
    box = Markup('<div style="overflow-x: auto">{}</div>').format(table)
    return _lines([caption, box, *map(_quiet, below)])


def _quiet(line: str) -> Markup:
    return Markup('<span style="{}">{}</span>').format(QUIET, line)


def _lines(lines: Sequence[str]) -> str:
    """One below the other; texts are escaped."""
    return str(Markup("").join(Markup("<div>{}</div>").format(line) for line in lines))


def _scale(value: float, low: float, high: float) -> Markup:
    """The scale as a line, and the value on it; one beyond an end lies at that end."""
    middle = SCALE_HEIGHT / 2
    at = _across((value - low) / (high - low))
    return _svg(
        SCALE_HEIGHT,
        f"{value:.2f} on a scale of {low:g} to {high:g}",
        f'<line x1="{ROOM:g}" x2="{WIDTH - ROOM:g}" y1="{middle:g}" y2="{middle:g}" '
        'stroke="currentColor" stroke-opacity="0.35" stroke-width="2"/>'
        f'<circle cx="{at:.1f}" cy="{middle:g}" r="5" fill="currentColor"/>',
    )


def _frames(frames: Sequence[Frame], low: float, high: float) -> list[Markup]:
    """What single frames score, over time: the more a frame counts, the larger its dot; nothing of
    one frame, or where they have no scores.
    """
    scores = [frame.score for frame in frames if frame.score is not None]
    if len(frames) < 2 or len(scores) < len(frames):
        return []
    heaviest = max(frame.weight for frame in frames) or 1.0
    radii = [1.5 + 2.5 * frame.weight / heaviest for frame in frames]
    words = f"{_over_time('single frames', frames, scores)}; larger dots count more"
    return [_curve([frame.time for frame in frames], scores, radii, (low, high), words)]


def _timeline(score: Score) -> list[Markup]:
    """The scores of moments, with a dot at the worst; nothing where none were asked for."""
    worst = score.worst
    if worst is None:
        return []
    scores = [moment.score for moment in score.timeline]
    radii = [4.0 if moment is worst else 0.0 for moment in score.timeline]
    words = (
        f"{_over_time('moments', score.timeline, scores)}; worst {worst.score:.2f} at "
        f"{worst.time:.1f} s"
    )
    return [_curve([moment.time for moment in score.timeline], scores, radii, score.scale, words)]


def _over_time(what: str, points: Sequence[Frame | Moment], scores: Sequence[float]) -> str:
    return (
        f"{len(points)} {what}, {points[0].time:.1f} s to {points[-1].time:.1f} s: "
        f"{min(scores):.2f} to {max(scores):.2f}"
    )


def _curve(
    times: Sequence[float],
    scores: Sequence[float],
    radii: Sequence[float],
    scale: tuple[float, float],
    words: str,
) -> Markup:
    """Scores over time, within their scale, with a dot of each radius that is not 0; ``words``
    below.
    """
    (low, high), start, end = scale, times[0], times[-1]
    points = [
        (
            _across((time - start) / (end - start) if end > start else 0.5),
            ROOM + (1 - _within((value - low) / (high - low))) * (CURVE_HEIGHT - 2 * ROOM),
        )
        for time, value in zip(times, scores, strict=True)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        for (x, y), radius in zip(points, radii, strict=True)
        if radius
    )
    chart = _svg(
        CURVE_HEIGHT,
        words,
        f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
        f'<g fill="currentColor">{dots}</g>',
    )
    return chart + Markup("<div>{}</div>").format(_quiet(words))


def _across(share: float) -> float:
    return ROOM + _within(share) * (WIDTH - 2 * ROOM)


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))


def _svg(height: float, name: str, inside: str) -> Markup:
    """``inside`` is made of numbers alone."""
    return Markup(
        f'<svg width="{WIDTH:g}" height="{height:g}" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="{escape(name)}">{inside}</svg>'
    )
