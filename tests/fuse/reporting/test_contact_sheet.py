"""The contact sheet of scored videos: real frames, every score, and a message for all it lacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import called
from matplotlib.figure import Figure

from vqa_twostage.fuse.reporting import contact_sheet
from vqa_twostage.fuse.reporting.thumbnails import evenly_spaced
from vqa_twostage.fuse.video_score import Frame, Moment, Score


def scored(video: Path, frames: int = 3, **changes: Any) -> Score:
    score = Score(
        str(video),
        score=2.25,
        percentile=40.0,
        distance=1.0,
        frames=[Frame(2 * i, i / 6, 2.0 + i / 4, 1 / frames) for i in range(frames)],
        scale=(1.0, 5.0),
        label="opinion",
        better="higher",
        trained_on="clips",
    )
    return replace(score, **changes)


def texts(monkeypatch: pytest.MonkeyPatch, scores: list[Score], path: Path) -> list[str]:
    """All texts in the contact sheet of ``scores``."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    contact_sheet.draw(scores, path)
    (figure,) = figures
    parts: list[Any] = figure.findobj(lambda part: hasattr(part, "get_text"))
    return [part.get_text() for part in parts]


def test_contact_sheet_shows_the_frames_of_the_video(clips: Path, tmp_path: Path) -> None:
    assert contact_sheet.draw([scored(clips / "testsrc.mp4")], tmp_path / "one.png") == [
        f"picture: {tmp_path / 'one.png'}"
    ]
    sheet = cv2.imread(str(tmp_path / "one.png"))
    assert sheet is not None and sheet.shape[1] == 1650
    colours = {tuple(colour) for colour in (sheet.reshape(-1, 3) // 64 * 64).tolist()}
    # colours of the test picture's bars that neither text nor axes have: yellow, cyan, magenta,
    # red (BGR)
    assert {(0, 192, 192), (192, 192, 0), (192, 0, 192), (0, 0, 192)} <= colours


def test_contact_sheet_states_score_word_scale_and_the_score_of_each_frame(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = texts(
        monkeypatch, [scored(clips / "testsrc.mp4", far=True, distance=3.0)], tmp_path / "one.svg"
    )
    text = "\n".join(parts)
    assert f"{clips.name}/testsrc.mp4: 2.25, poor (a guess)" in parts and {
        "2.00",
        "2.25",
        "2.50",
    } <= set(parts)
    assert (
        "opinion, as learnt from clips; above 40 % of its videos" in text
        and "take the score for a guess" in text
    )


def test_seconds_that_are_worse_than_the_threshold_are_shaded(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    moments = [Moment(30 * second, float(second), 1.0 + second) for second in range(4)]
    for worse_than in (None, 2.5):
        score = scored(clips / "testsrc.mp4", timeline=moments, worse_than=worse_than)
        contact_sheet.draw([score], tmp_path / "one.png")
    # rectangles of a span begin and end at its seconds
    spans = [
        [part for part in axes.patches if part.get_window_extent().width and part.get_alpha()]
        for axes in (figure.axes[-1] for figure in figures)
    ]
    assert [len(found) for found in spans] == [0, 1]
    assert (spans[1][0].get_x(), spans[1][0].get_width()) == (0.0, 2.0)


@pytest.mark.long
def test_contact_sheet_reports_what_it_lacks(clips: Path, tmp_path: Path) -> None:
    missing, failed = (
        scored(tmp_path / "gone.mp4"),
        scored(clips / "a.mp4", error="file is empty", score=None),
    )
    messages = contact_sheet.draw(
        [missing, failed, *[scored(tmp_path / "gone.mp4")] * contact_sheet.MAX_VIDEOS],
        tmp_path / "many.png",
    )
    assert any("a.mp4 is not in" in line for line in messages)
    assert any(
        f"shows the first {contact_sheet.MAX_VIDEOS} of {contact_sheet.MAX_VIDEOS + 1} videos"
        in line
        for line in messages
    )
    assert (
        sum("no frames of" in line and "file is missing" in line for line in messages)
        == contact_sheet.MAX_VIDEOS
    )
    assert (tmp_path / "many.png").stat().st_size > 10_000
    assert "nothing to show" in contact_sheet.draw([failed], tmp_path / "none.png")[-1]
    assert not (tmp_path / "none.png").exists()


def test_contact_sheet_draws_no_bars_where_frames_have_no_scores(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = scored(clips / "testsrc.mp4")
    unscored = replace(score, frames=[replace(frame, score=None) for frame in score.frames])
    assert not {"2.00", "2.50"} & set(texts(monkeypatch, [unscored], tmp_path / "one.png"))


def test_contact_sheet_shows_evenly_spaced_frames_of_a_long_video() -> None:
    frames = scored(Path("x.mp4"), 40).frames
    indices = [frames[row].index for row in evenly_spaced(len(frames))]
    assert (
        len(indices) == 12
        and indices[0] == 0
        and indices[-1] == 78
        and np.ptp(np.diff(indices)) <= 2
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scores", "ends in .png, .svg, .pdf"),
        ("nowhere/s.png", "nowhere does not exist"),
        ("taken.png", "is a folder"),
    ],
)
def test_contact_sheet_path_is_checked_before_anything_is_scored(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "taken.png").mkdir()
    result = called("vqa-fuse", "score", "clip.mp4", "--plot", name, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr
