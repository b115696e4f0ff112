"""The distance of a video from the training videos grows with its novelty."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vqa_twostage.fuse.learning.novelty import NoveltyReference, percentile_of
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.features import ArrayName


def test_distance_is_one_for_a_typical_training_video_and_grows_with_novelty() -> None:
    generator = torch.Generator().manual_seed(0)
    track = {
        ArrayName("c1/mean"): torch.randn(200, 3, 40, generator=generator),
        ArrayName("c1/grid"): torch.randn(200, 3, 5, 2, 2, generator=generator),
    }
    arrays, mask = Streams(track, track), torch.ones(200, 3, dtype=torch.bool)
    masks = Streams(mask, mask)
    reference = NoveltyReference.fit(arrays, masks)
    assert reference.distances[50] == pytest.approx(1, abs=0.1)
    moved = arrays.map(lambda track: {name: array + 3 for name, array in track.items()})
    assert reference.distance(moved, masks).min() > reference.distances[100]
    assert percentile_of(reference.distances[30], reference.distances) == pytest.approx(30)
    # padding does not count
    longer = arrays.map(
        lambda track: {
            name: torch.nn.functional.pad(array, [0, 0] * (array.ndim - 2) + [0, 2])
            for name, array in track.items()
        }
    )
    wider_masks = masks.map(lambda mask: torch.nn.functional.pad(mask, (0, 2)))
    assert np.allclose(reference.distance(longer, wider_masks), reference.distance(arrays, masks))
