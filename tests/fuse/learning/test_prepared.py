"""Features are prepared once a split, and averaged first where a head reads only means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_cache import each_track, make_dataset, reworked, with_draws, with_second_tracks

from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.learning.fit_all import fit_all
from vqa_twostage.fuse.learning.fit_groups import Fit
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.sides import track_names
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.spec import Spec

QUICK = TrainOptions(epochs=2, members=1)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tracks that a preparation was fitted on, each as often as it was."""
    names: list[str] = []
    fit = Preparation.fit

    def counted(track: Features, rows: np.ndarray) -> Preparation:
        names.append(track.path.stem)
        return fit(track, rows)

    monkeypatch.setattr(Preparation, "fit", counted)
    return names


def test_each_split_is_prepared_once_for_all_heads_and_both_fits(
    toy_data: Dataset, prepared: list[str]
) -> None:
    of_split = splits("random:n=2", toy_data.manifest.rows)[1]
    heads = [replace(QUICK, fusion=name) for name in ("concat", "gated", "quality_aware")]
    fits = [Fit(split, options) for options in heads for split in of_split]
    assert sorted(place for place, _ in fit_all(toy_data, fits, 1)) == list(range(len(fits)))
    assert len(prepared) == 2 * len(of_split), "once for each of two tracks"


def test_each_track_is_prepared_once_whatever_stands_beside_it(
    toy_data: Dataset, prepared: list[str]
) -> None:
    both = with_second_tracks(toy_data).features.spatial
    data = replace(toy_data, features=Streams(both, both))  # there is no temporal track
    features = PreparedFeatures(data, np.arange(30))
    for fusion in ("concat", "gated", "quality_aware"):
        sides = features.of(Head.of(replace(QUICK, fusion=fusion)))
        assert sides.spatial is sides.temporal
    assert prepared == [track.path.stem for track in both]


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("fusion", ["concat", "dynamic", "gated", "multi_level"])
def test_head_gives_the_same_for_the_mean_as_for_the_frames(
    toy_data: Dataset, fusion: str, draws: int
) -> None:
    """Also where each frame has several draws of patches, for each of which there is a mean."""
    head = Head.of(replace(QUICK, fusion=fusion))
    assert not head.reads_frames
    data = with_draws(toy_data, draws)
    features = PreparedFeatures(data, np.arange(30))
    means = features.of(head)
    assert means.spatial.mask.shape == (len(data.mos), draws) and means.spatial.mask.all()
    frames = data.features.map(lambda side, of: of.preparations[0](side[0]), means)
    masks = data.features.map(lambda side: torch.from_numpy(np.array(side[0].mask)))
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
    assert tracks.spatial.mask.shape == toy_data.features.spatial[0].mask.shape


def test_mean_of_each_draw_is_of_its_own_rows(toy_data: Dataset) -> None:
    """Of videos of different lengths, in the toy data; and of one length."""
    for data in (with_draws(toy_data, 3), first_videos(with_draws(toy_data, 3), 4)):
        features = data.features.spatial[0]
        preparation = Preparation.fit(features, np.arange(len(data.mos)))
        frames, means = preparation(features), preparation.means(features)
        for name, array in means.items():
            for video, mask in enumerate(features.mask):
                for draw in range(3):
                    rows = frames[name][video, : mask.sum()][draw::3]
                    torch.testing.assert_close(
                        array[video, draw], rows.mean(dim=0), rtol=0, atol=1e-5
                    )


def first_videos(data: Dataset, count: int) -> Dataset:
    """Which all have the same length."""

    def of(track: Features) -> Features:
        arrays = {name: array[:count] for name, array in track.arrays.items()}
        mask, timestamp = track.mask[:count], track.timestamp[:count]
        return replace(track, arrays=arrays, mask=mask, timestamp=timestamp)

    return replace(data, features=each_track(data, of), mos=data.mos[:count])


@pytest.mark.parametrize("crops", ["7", "0", "many", "9" * 5000])
def test_track_whose_rows_are_not_as_many_as_its_identity_says_is_refused(
    toy_data: Dataset, crops: str
) -> None:
    extractor = Spec("net", {"crops": crops})
    whole = toy_data.features.spatial[0]
    track = replace(whole, identity=replace(whole.identity, extractor=extractor))
    with pytest.raises(UsageError, match="its videos have other numbers of rows; extract them"):
        PreparedFeatures(replace(toy_data, features=Streams((track,), (track,))), np.arange(30)).of(
            Head.of(replace(QUICK, fusion="concat"))
        )


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
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("stream", ["spatial", "temporal"])
def test_values_of_other_parts_in_any_track_change_nothing_that_is_prepared_for_training(
    stream: str, number: int, fusion: str
) -> None:
    data = with_second_tracks(make_dataset("toy", 8, 4))
    rows, others = np.arange(0, 32, 2), np.arange(1, 32, 2)
    sides = dict(data.features.items())
    tracks = list(sides[stream])
    poisoned = {name: array.copy() for name, array in tracks[number].arrays.items()}
    for array in poisoned.values():
        array[others] = 9 * array[others] + 4
    tracks[number] = replace(tracks[number], arrays=poisoned)
    after_data = replace(data, features=Streams(**{**sides, stream: tuple(tracks)}))

    head = Head.of(replace(QUICK, fusion=fusion))
    before, after = (PreparedFeatures(each, rows).of(head) for each in (data, after_data))
    changed = {
        name
        for one, other in zip(before, after, strict=True)
        for name, array in one.arrays.items()
        if not torch.equal(array[others], other.arrays[name][others])
    }
    track = track_names([track.identity for track in sides[stream]])[number]
    assert changed == {f"{track}/{name}" for name in poisoned}
    for one, other in zip(before, after, strict=True):
        for name, array in one.arrays.items():
            assert torch.equal(array[rows], other.arrays[name][rows])


@pytest.mark.parametrize("fusion", ["concat", "quality_aware"])
def test_memory_of_prepared_features_is_aligned_so_that_products_repeat_to_the_last_bit(
    toy_data: Dataset, fusion: str
) -> None:
    features = PreparedFeatures(toy_data, np.arange(30))
    for track in features.of(Head.of(replace(QUICK, fusion=fusion))):
        assert all(array.data_ptr() % 64 == 0 for array in track.arrays.values())
