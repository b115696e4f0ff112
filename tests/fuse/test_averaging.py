"""The row of a video that regressors in closed form read."""

from __future__ import annotations

import numpy as np
import torch

from vqa_twostage.fuse.averaging import levels_of, rows_of
from vqa_twostage.fuse.streams import ArrayName, Streams

MEAN, STD, MAP = ArrayName("c2/mean"), ArrayName("c2/std"), ArrayName("c3/map")


def test_a_row_is_the_mean_over_the_frames_that_a_video_has() -> None:
    frames = torch.tensor([[[1.0], [3.0], [0.0]], [[2.0], [4.0], [9.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    rows = rows_of(Streams({MEAN: frames}, {STD: frames}), Streams(mask, mask))
    np.testing.assert_array_equal(rows, [[2.0, 2.0], [5.0, 5.0]])


def test_a_map_counts_by_the_mean_over_its_positions() -> None:
    positions = torch.arange(8.0).reshape(1, 1, 2, 2, 2)
    one = torch.ones(1, 1, dtype=torch.bool)
    rows = rows_of(Streams({MAP: positions}, {MEAN: torch.ones(1, 1, 1)}), Streams(one, one))
    np.testing.assert_array_equal(rows, [[1.5, 5.5, 1.0]])


def test_statistics_of_one_level_are_one_level_and_streams_have_their_own() -> None:
    shapes = {MEAN: (2,), STD: (2,), MAP: (3, 4, 4)}
    np.testing.assert_array_equal(
        levels_of(Streams(shapes, {MEAN: (1,)})), [0, 0, 0, 0, 1, 1, 1, 2]
    )
