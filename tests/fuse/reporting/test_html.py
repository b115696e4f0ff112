"""Results in notebooks: whole, escaped, and no figure without its N."""

from __future__ import annotations

import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import predictions_of, write_run

import vqa_twostage as vqa
from vqa_twostage.fuse.reporting.html import in_html
from vqa_twostage.fuse.results import AblationResult, CurvePoint, LearningCurve
from vqa_twostage.fuse.video_score import Agreement, Frame, Moment, Score

HOSTILE = '<script>alert("1")</script> & \'"'
VOID = {"circle", "line", "polyline"}


class Page(HTMLParser):
    """The tags and the text of well-formed HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.opened: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.opened

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


FRAMES = [Frame(number * 9, number * 0.3, 3 + math.sin(number), 0.25) for number in range(4)]
SCORE = Score(
    "clip.mp4",
    3.4,
    percentile=63.0,
    distance=1.0,
    frames=FRAMES,
    scale=(1.0, 5.0),
    label="opinion",
    better="higher",
    trained_on="KoNViD-1k",
)


def test_score_stands_with_its_scale_its_percentile_and_its_frames() -> None:
    page = Page(SCORE._repr_html_())
    for words in ("3.40", "good, on a scale of 1 to 5 (5 is best)", "above 63 % of its videos"):
        assert words in page.text
    assert "4 single frames, 0.0 s to 0.9 s" in page.text
    assert page.tags.count("svg") == 2 and page.tags.count("circle") == 1 + 4


def test_score_of_other_frames_or_of_one_has_no_curve() -> None:
    for score in (
        replace(SCORE, frames=FRAMES[:1]),
        replace(SCORE, frames=[Frame(0, 0.0, None, 0.5)] * 2),
    ):
        assert Page(in_html(score)).tags.count("svg") == 1


def test_timeline_stands_with_its_worst_moment_and_an_srcc_with_its_n() -> None:
    timeline = [Moment(number, number / 2, 3 - 0.1 * (number % 7)) for number in range(90)]
    agreement = Agreement("KoNViD-1k", 240, 0.81, 0.75, 0.85)
    page = Page(in_html(replace(SCORE, timeline=timeline, agreement=agreement)))
    assert "90 moments, 0.0 s to 44.5 s: 2.40 to 3.00; worst 2.40 at 3.0 s" in page.text
    assert page.tags.count("circle") == 1 + len(FRAMES) + 1
    assert "0.81 on 240 videos of KoNViD-1k" in page.text


def test_video_without_a_score_says_why() -> None:
    page = Page(in_html(replace(SCORE, score=None, error="its file is empty")))
    assert "no score: its file is empty" in page.text and "svg" not in page.tags


def test_cautions_stand_below_a_score() -> None:
    text = Page(in_html(replace(SCORE, score=9.0, far=True, damage="cut off"))).text
    assert text.count("caution: ") == 3


@settings(deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e6, 1e6), st.floats(0, 1)), max_size=12),
    st.sampled_from(["higher", "lower"]),
)
def test_any_score_is_drawn_within_its_picture(
    value: float, frames: list[tuple[float, float, float]], better: str
) -> None:
    made = [Frame(0, time, alone, weight) for time, alone, weight in sorted(frames)]
    html = in_html(replace(SCORE, score=value, frames=made, better=better))
    Page(html)
    assert "nan" not in html and "inf" not in html


def test_metrics_stand_with_n_and_splits(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", predictions_of([30, 40, 50]))
    evaluation = vqa.evaluate(run)
    page = Page(evaluation._repr_html_())
    for words in ("3 splits of N = 70 videos", "median ± standard deviation over splits"):
        assert words in page.text
    assert f"{evaluation.median.srcc:.3f} ± {evaluation.std.srcc:.3f}" in page.text
    assert page.tags.count("tr") == 2


def test_figures_of_small_test_parts_are_withheld_here_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", predictions_of([3, 3]), notes=["test parts are small"])
    text = Page(in_html(vqa.evaluate(run))).text
    assert "n/a, 3 test videos" in text and "caution: test parts are small" in text
    assert "±" not in text.replace("median ± standard", "")


def test_comparison_shows_each_run_with_its_difference(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, predictions_of([30] * 5, seed, 0.3 + seed), name)
        for seed, name in enumerate(("concat", "dynamic"))
    ]
    comparison = vqa.compare(runs)
    page = Page(comparison._repr_html_())
    assert page.tags.count("tr") == 3 and "5 splits of N = 70 videos" in page.text
    assert "minus that of concat" in page.text and "corrected p" in page.text

    ablation = AblationResult(comparison, {}, {"fpn": "needs levels"}, {}, tmp_path)
    assert "not run: fpn: needs levels" in Page(ablation._repr_html_()).text
    curve = LearningCurve(["lsvq"], [CurvePoint(20, (8, 8), comparison)], tmp_path)
    text = Page(curve._repr_html_()).text
    assert "20 %" in text and "N labelled" in text and "N = 70 videos" in text


def test_nothing_that_a_file_says_becomes_a_tag(tmp_path: Path) -> None:
    predictions = predictions_of([30, 30])
    runs = [
        write_run(
            tmp_path / name,
            predictions,
            HOSTILE,
            dataset=HOSTILE,
            label=HOSTILE,
            notes=[HOSTILE],
            missing=[HOSTILE],
        )
        for name in ("a", "b")
    ]
    score = replace(SCORE, damage=HOSTILE, label=HOSTILE, trained_on=HOSTILE)
    failed = replace(SCORE, score=None, error=HOSTILE)
    for result in (vqa.evaluate(runs[0]), vqa.compare(runs), score, failed):
        page = Page(in_html(result))
        assert "script" not in page.tags and HOSTILE in page.text


def test_what_has_no_form_is_told() -> None:
    with pytest.raises(TypeError, match="int has no form in HTML"):
        in_html(3)
