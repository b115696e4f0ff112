"""The picture of scored videos: real frames, every score, and nothing missing unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import called
from matplotlib.figure import Figure

from vqa_twostage.fuse.reporting import contact_sheet as sheet
from vqa_twostage.fuse.reporting.thumbnails import evenly_spaced

TEXT = {"scale": [1.0, 5.0], "label": "opinion", "better": "higher", "trained_on": "clips"}


def item(video: Path, frames: int = 3, **more: Any) -> dict[str, Any]:
    looked = [
        {"index": 2 * i, "time": i / 6, "score": 2.0 + i / 4, "weight": 1 / frames}
        for i in range(frames)
    ]
    verdict = {
        "score": 2.25,
        "error": "",
        "percentile": 40.0,
        "distance": 1.0,
        "far": False,
        "damage": "",
    }
    return {"video": str(video), **verdict, **TEXT, "frames": looked, **more}


def texts(monkeypatch: pytest.MonkeyPatch, document: list[dict[str, Any]], path: Path) -> list[str]:
    """All that stands in the picture of ``document``."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    sheet.draw(document, path)
    (figure,) = figures
    parts: list[Any] = figure.findobj(lambda part: hasattr(part, "get_text"))
    return [part.get_text() for part in parts]


def test_the_picture_shows_the_frames_of_the_video(clips: Path, tmp_path: Path) -> None:
    assert sheet.draw([item(clips / "testsrc.mp4")], tmp_path / "one.png") == [
        f"picture: {tmp_path / 'one.png'}"
    ]
    drawn = cv2.imread(str(tmp_path / "one.png"))
    assert drawn is not None and drawn.shape[1] == 1650
    colours = {tuple(colour) for colour in (drawn.reshape(-1, 3) // 64 * 64).tolist()}
    # the bars of the test picture, of which neither text nor axes have the colours: yellow, cyan,
    # magenta, red (BGR)
    assert {(0, 192, 192), (192, 192, 0), (192, 0, 192), (0, 0, 192)} <= colours


def test_the_picture_says_score_word_scale_and_each_frame(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = texts(
        monkeypatch, [item(clips / "testsrc.mp4", far=True, distance=3.0)], tmp_path / "one.svg"
    )
    said = "\n".join(found)
    assert f"{clips.name}/testsrc.mp4: 2.25, poor" in found and {"2.00", "2.25", "2.50"} <= set(
        found
    )
    assert (
        "opinion, as learnt from clips; above 40 % of its videos" in said
        and "take the score for a guess" in said
    )


def test_what_the_picture_lacks_is_said(clips: Path, tmp_path: Path) -> None:
    gone, failed = (
        item(tmp_path / "gone.mp4"),
        {**item(clips / "a.mp4"), "error": "file is empty", "score": None},
    )
    lacking = sheet.draw(
        [gone, failed, *[item(tmp_path / "gone.mp4")] * sheet.VIDEOS], tmp_path / "many.png"
    )
    assert any("a.mp4 is not in" in line for line in lacking)
    assert any(
        f"shows the first {sheet.VIDEOS} of {sheet.VIDEOS + 1} videos" in line for line in lacking
    )
    assert (
        sum("no frames of" in line and "file is missing" in line for line in lacking)
        == sheet.VIDEOS
    )
    assert (tmp_path / "many.png").stat().st_size > 10_000
    assert "nothing to show" in sheet.draw([failed], tmp_path / "none.png")[-1]
    assert not (tmp_path / "none.png").exists()


def test_frames_of_which_no_score_is_known_have_no_bar(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = item(clips / "testsrc.mp4")
    unknown["frames"] = [{**frame, "score": None} for frame in unknown["frames"]]
    assert not {"2.00", "2.50"} & set(texts(monkeypatch, [unknown], tmp_path / "one.png"))


def test_of_many_frames_evenly_spaced_ones_are_shown() -> None:
    frames = item(Path("x.mp4"), 40)["frames"]
    shown = [frames[row]["index"] for row in evenly_spaced(len(frames))]
    assert len(shown) == 12 and shown[0] == 0 and shown[-1] == 78 and np.ptp(np.diff(shown)) <= 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scores", "ends in .png, .svg, .pdf"),
        ("nowhere/s.png", "nowhere does not exist"),
        ("taken.png", "is a folder"),
    ],
)
def test_a_name_that_no_picture_can_have_is_told_before_anything_is_scored(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "taken.png").mkdir()
    done = called("vqa-fuse", "score", "clip.mp4", "--plot", name, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
