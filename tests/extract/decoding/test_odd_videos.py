"""Videos of every kind that people have give the frames, order, times and pixels of the ffmpeg
program, with either decoder.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.decoding import differences
from benchmarks.odd_videos import Made, every_video
from vqa_twostage.extract.decoding.video import decoder_name
from vqa_twostage.pipeline.errors import UsageError

pytest.importorskip("imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg")

VIDEOS = every_video()
# these groups are large, and most of their files alike
LARGE = ("codec and container", "rate", "colour")
SHORT = [made for made in VIDEOS if made.group not in LARGE]
SHORT += [made for made in VIDEOS if made.group in LARGE][::5]
REST = [made for made in VIDEOS if made not in SHORT]


def label(made: Made) -> str:
    return f"{made.group}: {made.name}"


@pytest.mark.parametrize("made", SHORT, ids=label)
def test_frames_order_times_and_pixels_are_those_of_ffmpeg(made: Made, tmp_path: Path) -> None:
    made.make(tmp_path / made.name)
    assert differences(made, tmp_path / made.name) == []


@pytest.mark.long
@pytest.mark.parametrize("made", REST, ids=label)
def test_so_they_are_in_all_other_codecs_containers_rates_and_colours(
    made: Made, tmp_path: Path
) -> None:
    made.make(tmp_path / made.name)
    assert differences(made, tmp_path / made.name) == []


@pytest.mark.parametrize(
    "made", [made for made in SHORT if made.group in ("changes", "fields", "clock")], ids=label
)
def test_decord_gives_the_same_or_is_not_used(made: Made, tmp_path: Path) -> None:
    try:
        decoder_name("decord")
    except UsageError as error:
        pytest.skip(str(error))
    made.make(tmp_path / made.name)
    assert differences(made, tmp_path / made.name, "decord") == []


def test_there_are_at_least_three_videos_of_each_particular() -> None:
    groups = {made.group for made in VIDEOS}
    assert {group: sum(made.group == group for made in VIDEOS) >= 3 for group in groups} == (
        dict.fromkeys(groups, True)
    )
    assert len(VIDEOS) >= 150
