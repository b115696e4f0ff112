"""How much each track decided: how far scores move when it says nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_cache import with_second_tracks

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.attention import gates_table
from vqa_twostage.fuse.learning.fit import fit_split
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.track_weights import NAME, labels_of, track_weights
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.fuse.streams import Arrays, Streams

QUICK = TrainOptions(epochs=4, members=1)

pytestmark = pytest.mark.usefixtures("one_thread")


def weights_of(data: Dataset, counts: list[float]) -> np.ndarray:
    """Of a score that is the sum of each track's columns times its count."""
    features = PreparedFeatures(data, np.arange(40))
    sides = features.of(Head.of(QUICK))
    names = labels_of(data)

    def score(arrays: Streams[Arrays]):  # type: ignore[no-untyped-def]
        total = 0.0
        for side, paths in zip(arrays, data.paths, strict=True):
            for name, array in side.items():
                track = name.partition("/")[0] if len(paths) > 1 else names[-1]
                total = total + counts[names.index(track)] * array.sum(dim=(1, 2))
        return total

    return track_weights(data, sides.map(lambda side: side.arrays), score)


def test_a_track_that_changes_nothing_has_no_weight_and_weights_sum_to_one(
    toy_data: Dataset,
) -> None:
    data = with_second_tracks(toy_data)
    count = len(data.tracks)
    weights = weights_of(data, [1.0, 0.0, *[2.0] * (count - 2)])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert (weights[:, 1] == 0).all() and (weights[:, 0] > 0).all()


def test_where_no_track_changes_anything_all_count_alike(toy_data: Dataset) -> None:
    data = with_second_tracks(toy_data)
    count = len(data.tracks)
    np.testing.assert_allclose(weights_of(data, [0.0] * count), 1 / count)


@pytest.mark.parametrize("fusion", ["concat", "dynamic", "cross_modal"])
@pytest.mark.parametrize("average_with", ["none", "ridge"])
def test_a_run_keeps_the_weight_of_each_track_by_its_name(
    toy_data: Dataset, fusion: str, average_with: str
) -> None:
    split = splits("random:n=1", toy_data.manifest.rows)[1][0]
    options = replace(QUICK, fusion=fusion, average_with=average_with)
    fitted = fit_split(PreparedFeatures(toy_data, split.train), split, options)
    weights = fitted.gates[NAME]
    assert weights.shape == (len(toy_data.mos), 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    table = gates_table(toy_data, [split], [fitted])
    assert table is not None
    for name in labels_of(toy_data):
        assert table[f"track.{name}"].between(0, 1).all()
