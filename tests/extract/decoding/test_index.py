"""Which frames exist is known from packets where that is sure, and by decoding everywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from places import SHARED

from benchmarks.odd_videos import every_video
from vqa_twostage.extract.decoding import index as indexing
from vqa_twostage.extract.decoding.containers import container_kind
from vqa_twostage.extract.decoding.index import Index, read_index

pytest.importorskip("imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg")

MADE = {made.name: made for made in every_video()}
CASES = SHARED / "cases"
# file -> frames, frames a second, seconds of the last, whether something is missing
RIGHT = {
    "paff_copy.mp4": (20, 25.0, 0.76),
    "paff_field.ts": (20, 25.0, 0.76),
    "size.webm": (50, 25.0, 1.96),
    "pause.webm": (50, 7.04, 6.96),
    "pause_dup.webm": (50, 7.04, 6.96),
    "joined.ts": (100, 25.0, 3.96),
    "back.ts": (100, 25.0, 3.96),
    "long_sound.mkv": (50, 25.0, 1.96),
    "late.mkv": (50, 25.0, 1.96),
}


def index_of(name: str, folder: Path) -> Index:
    MADE[name].make(folder / name)
    return read_index(folder / name, container_kind(folder / name))


@pytest.mark.parametrize(
    "name",
    ["h264.mp4", "h264.mkv", "h264.ts", "h264_opengop.mp4", "hevc.mp4", "av1.webm", "vp8.webm",
     "vp9.mp4", "prores.mov", "mbaff.mp4", "vp9_hidden.webm", "pause.mkv"],
)  # fmt: skip
def test_usual_videos_are_not_decoded_to_find_their_frames(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(indexing, "_decode_all", refuse)
    assert index_of(name, tmp_path).pts is not None


@pytest.mark.parametrize(("lost", "codec"), [(1, "h264"), (3, "mpeg2"), (2, "hevc"), (40, "h264")])
def test_packets_lost_on_the_way_are_told(lost: int, codec: str, tmp_path: Path) -> None:
    MADE[f"{codec}.ts"].make(tmp_path / "whole.ts")
    data = (tmp_path / "whole.ts").read_bytes()
    middle = len(data) // 188 // 2
    (tmp_path / "lost.ts").write_bytes(data[: 188 * middle] + data[188 * (middle + lost) :])
    assert read_index(tmp_path / "lost.ts", "mpegts").damage == "the file has damaged parts"


@pytest.mark.real
@pytest.mark.parametrize("name", RIGHT)
def test_cases_on_which_the_program_was_wrong_are_right(name: str) -> None:
    if not CASES.exists():
        pytest.skip("the cases are missing (../shared/cases)")
    index = read_index(CASES / name, container_kind(CASES / name))
    frames, fps, last = RIGHT[name]
    assert len(index.timestamps) == frames and index.damage == ""
    assert index.timestamps[-1] == pytest.approx(last, abs=2e-3)
    assert index.fps == pytest.approx(fps, abs=0.01)
