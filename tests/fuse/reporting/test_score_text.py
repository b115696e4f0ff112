"""Scores as text: what one video says, what many videos say once, and their timelines."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unread_scores import scored

from vqa_twostage.fuse.delivery.model_cards import agreement_of
from vqa_twostage.fuse.reporting import score_text
from vqa_twostage.fuse.video_score import Frame, Moment, Score


def failed(video: str) -> Score:
    return scored(video, score=None, error="file is empty")


def timeline(*values: float) -> list[Moment]:
    return [Moment(30 * second, float(second), value) for second, value in enumerate(values)]


def test_one_video_says_its_own_scale() -> None:
    text = score_text.to_text([scored()])
    assert "on a scale of 1 to 5 (5 is best)" in text and "above 50 % of its videos" in text
    assert "above 50 % of its 391 videos" in score_text.to_text([scored(training_videos=391)])
    assert "median" not in text


def test_many_videos_say_their_scale_once_and_each_folder_has_one_line() -> None:
    scores = [scored("a/1.mp4", 2.0), scored("a/2.mp4", 4.0), scored("b/3.mp4"), failed("b/4.mp4")]
    lines = score_text.to_text(scores).splitlines()
    assert lines == [
        "a/1.mp4: 2.00, poor",
        "a/2.mp4: 4.00, good",
        "b/3.mp4: 3.00, fair",
        "b/4.mp4: no score: file is empty",
        "a: 2 videos; median 3.00, worst 2.00 (1.mp4), best 4.00 (2.mp4)",
        "b: 2 videos, 1 without a score",
        "on a scale of 1 to 5 (5 is best): MOS, as learnt from D",
    ]


def test_worst_of_a_folder_is_the_highest_where_lower_is_better() -> None:
    scores = [scored("1.mp4", 2.0, better="lower"), scored("2.mp4", 4.0, better="lower")]
    assert ".: 2 videos; median 3.00, worst 4.00 (2.mp4), best 2.00 (1.mp4)" in score_text.to_text(
        scores
    )


def test_folder_in_which_nothing_could_be_scored_says_so() -> None:
    text = score_text.to_text([failed("1.mp4"), failed("2.mp4")])
    assert text.splitlines()[-1] == ".: 2 videos, 2 without a score"


@pytest.mark.parametrize("count", [1, 2])
def test_agreement_with_opinions_is_said_once_with_its_number_of_videos_and_interval(
    count: int,
) -> None:
    agreement = agreement_of("KoNViD-1k", 8, 0.762)
    text = score_text.to_text([scored(f"{n}.mp4", agreement=agreement) for n in range(count)])
    said = "SRCC with the opinions of viewers: 0.76 on 8 videos of KoNViD-1k (95 % interval 0.01 to"
    assert text.count(said) == 1


@pytest.mark.parametrize(("better", "worst"), [("higher", "1.50 at 2.0 s"), ("lower", "4.00 at 1")])
def test_timeline_names_its_worst_moment(better: str, worst: str) -> None:
    score = scored(timeline=timeline(3.0, 4.0, 1.5), better=better)
    (line,) = [line for line in score_text.lines_of(score) if "timeline" in line]
    assert f"worst {worst}" in line and "3 moments 1.50 to 4.00" in line
    worst_moment = score.to_json()["worst"]
    assert f"{worst_moment['score']:.2f} at {worst_moment['time']:.1f} s".startswith(worst)


@settings(deadline=None)
@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=400))
def test_timeline_of_any_length_fits_a_line_and_keeps_its_extremes(values: list[float]) -> None:
    (line,) = [
        line
        for line in score_text.lines_of(scored(timeline=timeline(*values)))
        if "timeline" in line
    ]
    assert sum(line.count(bar) for bar in score_text.BARS) <= score_text.MAX_BARS
    assert f"{min(values):.2f} to {max(values):.2f}" in line


@pytest.mark.parametrize(
    ("better", "threshold", "spans"),
    [
        ("higher", 2.5, [(1, 3, 1.5, 2), (5, 6.5, 1.0, 5)]),
        ("higher", 3.5, [(0, 6.5, 1.0, 5)]),
        ("higher", 1.0, []),
        ("lower", 2.5, [(0, 1, 3.0, 0), (3, 5, 3.0, 3)]),
    ],
)
def test_spans_are_the_moments_worse_than_the_threshold_one_after_the_other(
    better: str, threshold: float, spans: list[tuple[float, float, float, float]]
) -> None:
    moments = timeline(3.0, 2.0, 1.5, 3.0, 2.5, 1.0)
    if better == "lower":
        moments[4] = replace(moments[4], score=2.6)
    score = scored(timeline=moments, better=better, worse_than=threshold, duration=6.5)
    found = [(each.start, each.end, each.worst.score, each.worst.time) for each in score.spans]
    assert found == spans
    seconds = sum(end - start for start, end, *_ in spans)
    assert score.seconds_worse == seconds
    document = score.to_json()
    assert document["seconds_worse"] == seconds and len(document["spans"]) == len(spans)
    (row,) = csv.DictReader(io.StringIO(score_text.to_csv([score])))
    assert row["spans"] == "; ".join(f"{start:g}-{end:g}" for start, end, *_ in spans)
    assert float(row["seconds_worse"]) == seconds
    text = score_text.to_text([score])
    said = f"worse than {threshold:g}: {seconds:.1f} of 6.5 s" if spans else "at no moment"
    assert said in text
    assert all(
        f"{start:.1f} to {end:.1f} s, worst {worst:.2f}" in text for start, end, worst, _ in spans
    )


@settings(deadline=None)
@given(st.lists(st.floats(1, 5), max_size=80), st.floats(1.01, 4.99), st.booleans())
def test_spans_cover_exactly_what_is_worse(
    values: list[float], threshold: float, known: bool
) -> None:
    moments = timeline(*values)
    duration = float(len(values)) if known else None
    score = scored(timeline=moments, worse_than=threshold, duration=duration)
    inside = {
        moment.index
        for span in score.spans
        for moment in moments
        if span.start <= moment.time < span.end
    }
    # without a duration, one moment alone stands for no time that is known
    if known or len(values) > 1:
        assert inside == {moment.index for moment in moments if moment.score < threshold}
    assert len(score_text.lines_of(score)) < 20


def test_score_without_a_threshold_names_no_spans() -> None:
    score = scored(timeline=timeline(1.0, 2.0))
    assert (score.spans, score.seconds_worse) == ([], None)
    assert "worse than" not in score_text.to_text([score])


def test_timelines_as_csv_have_a_row_for_each_moment() -> None:
    scores = [scored("a.mp4", timeline=timeline(3.0, 2.0)), failed("b.mp4"), scored("c.mp4")]
    rows = list(csv.DictReader(io.StringIO(score_text.timelines_to_csv(scores))))
    assert [(row["video"], row["time"], row["frame"], row["score"]) for row in rows] == [
        ("a.mp4", "0", "0", "3.0"),
        ("a.mp4", "1", "30", "2.0"),
    ]


@pytest.mark.parametrize(
    ("duration", "frames", "cautioned"), [(8.0, 8, False), (64.0, 8, True), (20.0, 1, True)]
)
def test_video_that_few_frames_stand_for_has_a_caution(
    duration: float, frames: int, cautioned: bool
) -> None:
    score = scored(duration=duration, frames=[Frame(0, 0.0, 3.0, 1 / frames)] * frames)
    lines = [line for line in score_text.cautions(score) if "of video" in line]
    assert bool(lines) == cautioned
    if cautioned:
        assert f"for {duration:.0f} s of video" in lines[0] and "--every 1s" in lines[0]
        with_timeline = replace(score, timeline=timeline(3.0))
        assert "--every" not in score_text.cautions(with_timeline)[0]


@pytest.mark.parametrize("name", [*score_text.STREAMED])
def test_scores_printed_one_by_one_are_those_printed_together(name: str) -> None:
    scores = [scored("a.mp4"), failed("b.mp4"), scored("c.mp4", timeline=timeline(2.0))]
    one_by_one = "".join(map(score_text.STREAMED[name], scores))
    together = score_text.FORMATS[name](scores)
    if name == "csv":
        one_by_one = score_text.to_csv([]) + one_by_one
    assert together.startswith(one_by_one)
    if name == "jsonl":
        assert [json.loads(line)["video"] for line in one_by_one.splitlines()] == [
            "a.mp4",
            "b.mp4",
            "c.mp4",
        ]


def test_doubt_stands_in_the_first_line_and_in_the_document() -> None:
    far = scored(far=True, distance=7.0)
    assert score_text.lines_of(far)[0].startswith("x.mp4: 3.00, fair (a guess), on a scale of")
    (document,) = json.loads(score_text.to_json([far]))
    assert document["word"] == "fair" and "take the score for a guess" in document["cautions"][0]
    (row,) = csv.DictReader(io.StringIO(score_text.to_csv([far])))
    assert row["cautions"] == document["cautions"][0]
    assert (row["scale_low"], row["scale_high"]) == ("1.0", "5.0")


def test_model_of_pseudo_mos_says_where_it_was_not_compared_with_opinions() -> None:
    lines = score_text.lines_of(scored(label="pseudo-MOS (VMAF)"))
    assert "  not compared with the opinions of viewers" in lines
    assert not any("opinions" in line for line in score_text.lines_of(scored(label="opinion")))
