"""Features are prepared once a split, and averaged first where a head reads only means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_cache import make_dataset, reworked

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.fit_all import Fit, fit_all
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits

QUICK = TrainOptions(epochs=2, members=1)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_each_split_is_prepared_once_for_all_heads_and_both_fits(
    toy_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    fit = Preparation.fit

    def counted(track: object, rows: np.ndarray) -> Preparation:
        prepared.append(len(rows))
        return fit(track, rows)

    monkeypatch.setattr(Preparation, "fit", counted)
    of_split = splits("random:n=2", toy_data.manifest.rows)[1]
    heads = [replace(QUICK, fusion=name) for name in ("concat", "gated", "quality_aware")]
    fits = [Fit(split, options) for options in heads for split in of_split]
    assert sorted(place for place, _ in fit_all(toy_data, fits, 1)) == list(range(len(fits)))
    assert len(prepared) == 2 * len(of_split), "once for each of two tracks"


@pytest.mark.parametrize("fusion", ["concat", "dynamic", "gated", "multi_level"])
def test_head_gives_the_same_for_the_mean_as_for_the_frames(toy_data: Dataset, fusion: str) -> None:
    head = Head.of(replace(QUICK, fusion=fusion))
    assert not head.reads_frames
    features = PreparedFeatures(toy_data, np.arange(30))
    means = features.of(head)
    frames = toy_data.features.map(lambda track, of: of.preparation(track), means)
    masks = toy_data.features.map(lambda track: torch.from_numpy(np.array(track.mask)))
    torch.manual_seed(0)
    model = head.build(means.map(lambda track: track.shapes)).eval()
    with torch.inference_mode():
        of_frames = model(frames, masks)
        of_means = model(means.map(lambda track: track.arrays), means.map(lambda track: track.mask))
    torch.testing.assert_close(of_means.scores, of_frames.scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "quality_aware"},
        {"fusion": "cross_modal"},
        {"temporal_encoder": "attention"},
        {"temporal_encoder": "gru"},
    ],
)
def test_head_that_reads_frames_gets_them(toy_data: Dataset, options: dict[str, str]) -> None:
    head = Head.of(replace(QUICK, **options))
    tracks = PreparedFeatures(toy_data, np.arange(30)).of(head)
    assert head.reads_frames
    assert tracks.spatial.mask.shape == toy_data.spatial.mask.shape


@pytest.mark.parametrize("fusion", ["concat", "quality_aware"])
def test_values_of_other_parts_change_nothing_that_is_prepared_for_training(fusion: str) -> None:
    data = make_dataset("toy", 8, 4)
    rows, others = np.arange(0, 32, 2), np.arange(1, 32, 2)

    def poison(array: np.ndarray) -> np.ndarray:
        array[others] = 9 * array[others] + 4
        return array

    head = Head.of(replace(QUICK, fusion=fusion))
    before, after = (
        PreparedFeatures(each, rows).of(head).spatial.arrays
        for each in (data, reworked(data, poison))
    )
    for name in before:
        assert torch.equal(before[name][rows], after[name][rows])
        assert not torch.equal(before[name][others], after[name][others])


@pytest.mark.parametrize("fusion", ["concat", "quality_aware"])
def test_memory_of_prepared_features_is_aligned_so_that_products_repeat_to_the_last_bit(
    toy_data: Dataset, fusion: str
) -> None:
    features = PreparedFeatures(toy_data, np.arange(30))
    for track in features.of(Head.of(replace(QUICK, fusion=fusion))):
        assert all(array.data_ptr() % 64 == 0 for array in track.arrays.values())
