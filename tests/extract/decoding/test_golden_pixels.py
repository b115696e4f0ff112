"""The frames that small stored videos gave when `DECODING_VERSION` was last raised.

Where these tests fail, files have begun to give other pixels, and features in caches are no longer
those that would be extracted today: raise `DECODING_VERSION` and store the new frames. The videos
and frames.npz were made with ffmpeg's test source and with `open_video`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from video_frames import read

from vqa_twostage.extract.decoding.video import DECODING_VERSION, open_video

STORED = Path(__file__).parents[2] / "data" / "decoding"
NAMES = sorted(path.name for path in STORED.iterdir() if path.suffix != ".npz")
OF_VERSION = 2  # the number for which frames.npz was stored
# FFmpeg converts 8-bit colour with other instructions on other processors: .5 of 255 on average and
# 3 at most, measured with its instructions for x86-64 switched off
EXACT = platform.machine().lower() in ("x86_64", "amd64")
TOLERANCE = 0 if EXACT else 3


@pytest.fixture(scope="module")
def frames() -> Mapping[str, np.ndarray]:
    with np.load(STORED / "frames.npz") as stored:
        return dict(stored)


def test_frames_are_stored_for_this_number_of_decoding(frames: Mapping[str, np.ndarray]) -> None:
    assert DECODING_VERSION == OF_VERSION
    assert sorted(frames) == NAMES and len(NAMES) == 7


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("name", NAMES)
def test_files_give_the_pixels_that_they_always_gave(
    name: str, decoder: str, frames: Mapping[str, np.ndarray]
) -> None:
    if decoder == "decord":
        pytest.importorskip("decord", reason="decord is not installed")
    with open_video(STORED / name, decoder) as video:
        pixels = read(video, [1, len(video) - 1]).pixels
    assert pixels.shape == frames[name].shape
    assert np.abs(pixels.astype(int) - frames[name].astype(int)).max() <= TOLERANCE


def test_one_level_of_one_pixel_would_be_seen(frames: Mapping[str, np.ndarray]) -> None:
    """Of how exact the comparison is on the processors that most have."""
    if not EXACT:
        pytest.skip("the frames were stored on an x86-64 processor")
    with open_video(STORED / NAMES[0]) as video:
        pixels = read(video, [1, len(video) - 1]).pixels.copy()
    pixels[0, 5, 5, 0] ^= 1
    assert not np.array_equal(pixels, frames[NAMES[0]])
