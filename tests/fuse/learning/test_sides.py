"""The tracks of a stream are told apart, and stand side by side frame for frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_cache import FRAMES, with_second_tracks

from vqa_twostage.fuse.data import Dataset, Side
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.sides import Prepared, named, prepare_side, track_names
from vqa_twostage.fuse.streams import joined
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec

pytestmark = pytest.mark.usefixtures("one_thread")


def identities(names: Sequence[str]) -> list[TrackIdentity]:
    return [TrackIdentity("spatial", Spec(name), Spec("uniform")) for name in names]


def prepared(side: Side, frames: bool) -> Prepared:
    rows = np.arange(len(side[0].mask))
    return prepare_side(side, [Preparation.fit(track, rows) for track in side], frames)


def test_a_single_track_keeps_the_names_of_its_arrays(toy_data: Dataset) -> None:
    assert track_names(identities(["resnet"])) == [""]
    assert named("", ArrayName("c2/mean")) == "c2/mean"
    side = toy_data.features.spatial
    assert set(prepared(side, frames=False).arrays) == set(side[0].arrays)


def test_each_array_of_several_tracks_has_its_track_in_front(toy_data: Dataset) -> None:
    assert track_names(identities(["resnet", "vit"])) == ["resnet", "vit"]
    assert track_names(identities(["vit", "resnet", "vit", "vit"])) == [
        "vit",
        "resnet",
        "vit_2",
        "vit_3",
    ]
    name = named("vit_2", ArrayName("c2/mean"))
    assert (name, name.level, name.statistic) == ("vit_2/c2/mean", "vit_2/c2", "mean")
    side = with_second_tracks(toy_data).features.temporal
    assert set(prepared(side, frames=True).arrays) == {
        f"{track}/{array}"
        for track in ("temporalnet", "second_temporal")
        for array in side[0].arrays
    }


@given(st.lists(st.sampled_from(["net", "net_2", "net_3", "net_2_2"]), min_size=2))
@settings(deadline=None)
def test_no_two_tracks_of_a_stream_have_one_name(extractors: list[str]) -> None:
    names = track_names(identities(extractors))
    assert len(set(names)) == len(extractors)
    assert all(
        name.startswith(extractor) for name, extractor in zip(names, extractors, strict=True)
    )


@pytest.mark.parametrize("frames", [True, False])
def test_what_is_prepared_of_a_track_does_not_depend_on_those_beside_it(
    frames: bool, toy_data: Dataset
) -> None:
    side = with_second_tracks(toy_data).features.spatial
    both = prepared(side, frames)
    for track, name in zip(side, ("spatialnet", "second_spatial"), strict=True):
        alone = prepared((track,), frames)
        assert torch.equal(both.mask, alone.mask)
        for array, values in alone.arrays.items():
            assert torch.equal(both.arrays[named(name, array)], values)


@pytest.mark.parametrize("first", [True, False])
def test_a_track_of_one_frame_stands_for_every_frame_of_the_others(
    first: bool, toy_data: Dataset
) -> None:
    frames, single = with_second_tracks(toy_data, frames=1).features.spatial
    side = (single, frames) if first else (frames, single)
    found = prepared(side, frames=True)
    assert torch.equal(found.mask, torch.tensor(frames.mask))
    alone = prepared((single,), frames=True)
    for array, values in alone.arrays.items():
        spread = found.arrays[named("second_spatial", array)]
        assert spread.shape[:2] == frames.mask.shape
        for frame in range(FRAMES):
            of_frame, there = spread[:, frame], found.mask[:, frame]
            assert torch.equal(of_frame[there], values[:, 0][there])
            assert not of_frame[~there].any(), "padding is 0"


@pytest.mark.parametrize("frames", [2, 3])
def test_tracks_of_other_frames_are_refused_where_frames_are_read(
    frames: int, toy_data: Dataset
) -> None:
    side = with_second_tracks(toy_data, frames).features.spatial
    with pytest.raises(
        UsageError,
        match=r"second_spatial-\S+\.h5 has other frames, or draws of patches, than the other tracks"
        " of its stream; choose tracks of one sampler and of the same crops",
    ):
        prepared(side, frames=True)
    means = prepared(side, frames=False)
    assert means.mask.shape == (len(toy_data.mos), 1) and means.mask.all()
    assert all(array.shape[1] == 1 for array in means.arrays.values())


def test_tracks_of_other_numbers_of_draws_are_refused(toy_data: Dataset) -> None:
    def with_crops(side: Side, crops: Sequence[int]) -> Side:
        return tuple(
            replace(
                track,
                arrays={
                    name: array[:].repeat(count, axis=1) for name, array in track.arrays.items()
                },
                mask=track.mask.repeat(count, axis=1),
                timestamp=track.timestamp.repeat(count, axis=1),
                identity=replace(
                    track.identity,
                    extractor=Spec(track.identity.extractor.name, {"crops": str(count)}),
                ),
            )
            for track, count in zip(side, crops, strict=True)
        )

    side = with_second_tracks(toy_data).features.spatial
    with pytest.raises(UsageError, match="choose tracks of one sampler and of the same crops"):
        prepared(with_crops(side, (2, 3)), frames=False)
    # a track without draws has one mean, which stands for every draw of the other
    for crops in ((1, 3), (3, 3)):
        assert prepared(with_crops(side, crops), frames=False).mask.shape == (len(toy_data.mos), 3)


@pytest.mark.parametrize("frames", [True, False])
def test_averages_of_all_tracks_are_neighbouring_columns_of_one_tensor(
    frames: bool, toy_data: Dataset
) -> None:
    """So that a pooling reads them without a copy, and products repeat to the last bit."""
    found = prepared(with_second_tracks(toy_data).features.spatial, frames)
    arrays = [found.arrays[name] for name in sorted(found.arrays)]
    whole = joined(arrays)
    assert whole.data_ptr() == arrays[0].data_ptr() and whole.data_ptr() % 64 == 0
    assert torch.equal(whole, torch.cat(arrays, dim=2))


def test_maps_of_several_tracks_keep_their_positions(toy_data: Dataset) -> None:
    def with_map(side: Side) -> Side:
        generator = np.random.default_rng(0)
        return tuple(
            replace(
                track,
                arrays={
                    **track.arrays,
                    ArrayName("c3/grid"): generator.normal(size=(*track.mask.shape, 3, 2, 2)),
                },
            )
            for track in side
        )

    side = with_map(with_second_tracks(toy_data, frames=1).features.spatial)
    found = prepared(side, frames=True)
    single = prepared(side[1:], frames=True).arrays[ArrayName("c3/grid")]
    spread = found.arrays[ArrayName("second_spatial/c3/grid")]
    assert spread.shape == (*side[0].mask.shape, 3, 2, 2)
    assert torch.equal(spread[:, 0], single[:, 0])
    assert not spread[~found.mask].any()
