"""Datasets loaded from a cache hold the right videos, tracks and arrays, row for row."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_cache import (
    FRAMES,
    LEVELS,
    add_track,
    labels,
    make_cache,
    manifest_of,
    reworked,
    write_features,
)

from vqa_twostage.fuse import data as data_module
from vqa_twostage.fuse.data import Dataset, Features, load_dataset
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.splits import splits
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import Plan, train_run
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.stored_column import StoredColumn
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName

QUICK = TrainOptions(fusion="concat", epochs=2, members=1, protocol="random:n=2")


@pytest.fixture(scope="module")
def cache(toy_cache: Path) -> Path:
    return toy_cache


@pytest.fixture(scope="module")
def data(toy_data: Dataset) -> Dataset:
    return toy_data


def test_loaded_arrays_equal_the_cache_row_for_row(cache: Path, data: Dataset) -> None:
    assert list(data.manifest.rows["id"]) == list(manifest_of("toy", 12, 5).rows["id"])
    assert np.array_equal(data.mos, labels(data))
    assert data.missing == []
    for kind, (features,) in data.features.items():
        assert features.identity.kind == kind
        with cached.open_track(features.path) as track:
            for row in (0, 4, 59):
                stored = track.read(data.manifest.rows["id"][row]).arrays
                assert set(stored) == set(features.arrays)
                for name, array in stored.items():
                    assert int(features.mask[row].sum()) == len(array)
                    np.testing.assert_array_equal(features.arrays[name][row, : len(array)], array)
    assert {name.partition("/")[0] for name in data.features.spatial[0].arrays} == set(LEVELS)
    assert set(data.features.spatial[0].mask.sum(axis=1).tolist()) == {FRAMES - 1, FRAMES}


@pytest.mark.long
def test_videos_without_features_are_listed_and_excluded_from_all_metrics(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 12, 5)
    save_manifest(tmp_path, manifest)
    first, second = manifest.rows["id"][3], manifest.rows["id"][17]
    write_features(tmp_path, manifest, "spatial", without=(first,))
    write_features(tmp_path, manifest, "temporal", without=(second,))
    data = load_dataset(tmp_path, None, None, None)
    document = train_run(data, QUICK, tmp_path / "run")
    assert data.missing == document.missing == [first, second]
    assert document.n_videos == 58
    assert not {first, second} & set(Run(tmp_path / "run").predictions()["id"])
    assert all(split.n_train + split.n_val + split.n_test == 58 for split in document.splits)
    # in a published split the other videos stay in the parts that the whole manifest assigns
    train_run(data, replace(QUICK, protocol="videval:n=2"), tmp_path / "published")
    whole = splits("videval:n=2", manifest.rows)[1]
    for split, (_, rows) in zip(
        whole, Run(tmp_path / "published").predictions().groupby("split"), strict=True
    ):
        test_ids = set(rows[rows["part"] == "test"]["id"])
        assert test_ids == set(manifest.rows["id"].iloc[split.test]) - {first, second}
    # the other videos keep their own features and labels
    with cached.open_track(data.features.spatial[0].path) as track:
        for row in (3, 16, 57):
            stored = track.read(data.manifest.rows["id"][row]).arrays["c1/mean"]
            np.testing.assert_array_equal(
                data.features.spatial[0].arrays["c1/mean"][row, : len(stored)], stored
            )


def test_tracks_without_a_video_in_common_are_refused(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    ids = tuple(manifest.rows["id"])
    write_features(tmp_path, manifest, "spatial", without=ids[:3])
    write_features(tmp_path, manifest, "temporal", without=ids[3:])
    with pytest.raises(
        UsageError, match=r"no video of toy is in .*spatialnet-.* and .*temporalnet-.*vqa-extract"
    ):
        load_dataset(tmp_path, None, None, None)


def test_empty_cache_is_refused_with_the_command_that_fills_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no dataset; run vqa-extract"):
        load_dataset(tmp_path / "nothing", None, None, None)


def test_unknown_dataset_is_refused_with_the_valid_choices(cache: Path) -> None:
    with pytest.raises(UsageError, match=r"no dataset 'konvid'; it holds toy"):
        load_dataset(cache, "konvid", None, None)


def test_dataset_can_be_named_by_its_source_file(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=3, versions=2)
    for name in ("toy", "toy.csv", "somewhere/toy.toml"):
        assert load_dataset(cache, name, None, None).manifest.name == "toy"


def test_ambiguous_dataset_is_refused_with_the_valid_choices(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_cache(tmp_path, name, contents=3, versions=2)
    with pytest.raises(UsageError, match=r"--dataset: one, two"):
        load_dataset(tmp_path, None, None, None)
    assert load_dataset(tmp_path, "two", None, None).manifest.name == "two"


def test_ambiguous_spatial_track_is_refused_with_the_valid_choices(tmp_path: Path) -> None:
    make_cache(tmp_path, contents=3, versions=2)
    other = write_features(tmp_path, manifest_of("toy", 3, 2), "spatial", "othernet")
    with pytest.raises(UsageError, match="several spatial tracks of toy") as error:
        load_dataset(tmp_path, None, None, None)
    assert "--spatial spatialnet-" in str(error.value)
    assert f"--spatial {other.stem}" in str(error.value)
    for name in ("othernet", other.stem):
        assert load_dataset(tmp_path, None, name, None).features.spatial[0].path == other
    with pytest.raises(
        UsageError, match=r"no spatial track of toy is called 'nonet'(.|\n)*othernet"
    ):
        load_dataset(tmp_path, None, "nonet", None)


def test_both_streams_read_the_spatial_track_if_there_is_no_temporal_track(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    path = write_features(tmp_path, manifest, "spatial")
    data = load_dataset(tmp_path, None, None, None)
    assert data.features.spatial[0].path == data.features.temporal[0].path == path
    assert [track.path for track in data.tracks] == [path]
    with pytest.raises(
        UsageError, match=r"no temporal track; run vqa-extract with --temporal, or vqa-cache import"
    ):
        load_dataset(tmp_path, None, None, "tsm")


def test_missing_spatial_track_is_reported_with_the_command_that_extracts_one(
    tmp_path: Path,
) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    write_features(tmp_path, manifest, "temporal")
    with pytest.raises(UsageError, match=r"no spatial track; run vqa-extract with --spatial"):
        load_dataset(tmp_path, None, None, None)


def test_columns_with_non_finite_values_are_counted_with_their_videos(data: Dataset) -> None:
    def spoil(array: np.ndarray) -> np.ndarray:
        array[[3, 7], 0, 5] = np.nan
        array[9, :, 2] = np.inf
        return array

    assert data.features.spatial[0].not_finite() == {}
    not_finite = reworked(data, spoil).features.temporal[0].not_finite()
    assert not_finite == {
        f"{level}/{name}[{column}]": count
        for level in LEVELS
        for name in ("mean", "std")
        for column, count in ((2, 1), (5, 2))
    }


def test_only_the_statistics_that_a_head_reads_are_loaded(cache: Path) -> None:
    data = load_dataset(cache, None, None, None, Streams(("mean",), ("mean", "std")))
    assert {name.statistic for name in data.features.spatial[0].arrays} == {"mean"}
    assert {name.statistic for name in data.features.temporal[0].arrays} == {"mean", "std"}


@pytest.mark.parametrize(
    "parts",
    [{"fusion": "cross_modal"}, {"fusion": "concat", "temporal_encoder": "attention"}],
)
def test_tracks_of_different_samplers_are_refused_for_heads_that_read_frames(
    parts: dict[str, str], tmp_path: Path
) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    write_features(tmp_path, manifest, "spatial", sampler="uniform:frames=4")
    write_features(tmp_path, manifest, "temporal", sampler="uniform:frames=8")
    data = load_dataset(tmp_path, None, None, None)
    with pytest.raises(
        UsageError,
        match=r"were sampled differently \(sampler: uniform:frames=4 and uniform:frames=8\)"
        ".*choose tracks of one sampler, or a head of means, such as --fusion dynamic",
    ):
        Plan.of(data, replace(QUICK, **parts))
    assert Plan.of(data, QUICK).identity.temporal == data.identities.temporal


def test_any_number_of_tracks_is_loaded_for_each_stream(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=4, versions=5)
    other = add_track(cache, "spatial", "anothernet", 7)
    short = add_track(cache, "temporal", "short_tempo", 2)
    data = load_dataset(cache, None, ["spatialnet", "anothernet"], "all")
    assert (data.paths.spatial[0], data.paths.temporal[0]) == (other, short)
    assert data.paths.map(len) == Streams(2, 2)
    assert [track.mask.shape[1] for track in data.tracks] == [7, FRAMES, 2, FRAMES]
    assert data.content == [track.content for track in data.tracks]
    for track in data.tracks:
        with cached.open_track(track.path) as stored:
            assert track.identity == stored.identity
            for row in (0, 4, 19):
                whole = stored.read(data.manifest.rows["id"][row]).arrays["c2/std"]
                assert int(track.mask[row].sum()) == len(whole)
                np.testing.assert_array_equal(
                    track.arrays[ArrayName("c2/std")][row, : len(whole)], whole
                )


def test_tracks_are_the_same_run_in_whatever_order_they_are_named(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=4, versions=5)
    other = add_track(cache, "spatial", "anothernet", 7)
    longest = add_track(cache, "spatial", "zoom_in_net", 3)
    named = [
        "all",
        ["all"],
        ["spatialnet", "all"],
        ["spatialnet", "anothernet", "zoom_in_net"],
        ["zoom_in_net", other.stem, "spatialnet", "anothernet"],
        (longest.stem, "anothernet", "spatialnet"),
    ]
    digests = {
        Plan.of(load_dataset(cache, None, names, None), QUICK).identity.digest for names in named
    }
    assert len(digests) == 1
    fewer = load_dataset(cache, None, ["zoom_in_net", "anothernet"], None)
    assert Plan.of(fewer, QUICK).identity.digest not in digests


def test_videos_that_any_track_lacks_are_missing(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    ids = list(manifest.rows["id"])
    for number, (kind, extractor) in enumerate(
        (kind, f"net_{place}") for kind in ("spatial", "temporal") for place in ("a", "b")
    ):
        write_features(tmp_path, manifest, kind, extractor, without=(ids[number],))
    data = load_dataset(tmp_path, None, "all", "all")
    assert data.missing == ids[:4] and list(data.manifest.rows["id"]) == ids[4:]
    assert load_dataset(tmp_path, None, "net_b", ["net_a"]).missing == ids[1:3]


def test_no_name_of_a_temporal_track_is_none(cache: Path) -> None:
    data = load_dataset(cache, None, None, [])
    temporal, spatial = data.features.temporal, data.features.spatial
    assert len(temporal) == len(spatial) == 1
    for name, value in vars(temporal[0]).items():
        other = vars(spatial[0])[name]
        assert value is other or value == other, name
    assert [track.identity.kind for track in data.tracks] == ["spatial"]


def test_columns_of_one_name_that_are_not_finite_are_counted_for_each_track(
    toy_data: Dataset,
) -> None:
    def holed(track: Features, videos: int) -> Features:
        arrays = {name: np.array(array[:]) for name, array in track.arrays.items()}
        arrays[ArrayName("c1/mean")][:videos, 0, 3] = np.nan
        return replace(track, arrays=arrays)

    (spatial,), (temporal,) = toy_data.features
    both = replace(toy_data, features=Streams((holed(spatial, 2),), (holed(temporal, 5),)))
    assert both.not_finite == {
        f"{spatial.path.stem}/c1/mean[3]": 2,
        f"{temporal.path.stem}/c1/mean[3]": 5,
    }
    alone = replace(toy_data, features=Streams((holed(spatial, 2),), (temporal,)))
    assert alone.not_finite == {"c1/mean[3]": 2}
    other_statistics = holed(spatial, 2).only(["std"])
    for sides in ((holed(spatial, 2), other_statistics), (other_statistics, holed(spatial, 2))):
        one_track = replace(toy_data, features=Streams(*((side,) for side in sides)))
        assert one_track.not_finite == {"c1/mean[3]": 2}


@pytest.mark.parametrize("names", [["nonet", "all"], ["all", "nonet"], ["spatialnet", "nonet"]])
def test_wrong_name_beside_right_ones_is_refused(names: list[str], cache: Path) -> None:
    with pytest.raises(UsageError, match="no spatial track of toy is called 'nonet'"):
        load_dataset(cache, None, names, None)


def test_all_of_no_track_is_refused_with_the_command_that_extracts_one(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    write_features(tmp_path, manifest, "spatial")
    with pytest.raises(UsageError, match=r"no temporal track; run vqa-extract with --temporal"):
        load_dataset(tmp_path, None, "all", "all")


def test_a_track_of_one_frame_stands_beside_any_sampler(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=3, versions=2)
    add_track(cache, "spatial", "onenet", 1)
    data = load_dataset(cache, None, "all", None)
    assert Plan.of(data, replace(QUICK, fusion="cross_modal"))
    add_track(cache, "spatial", "othernet", 6)
    data = load_dataset(cache, None, "all", None)
    assert Plan.of(data, QUICK)
    with pytest.raises(UsageError, match="othernet.*spatialnet.*were sampled differently"):
        Plan.of(data, replace(QUICK, fusion="cross_modal"))


def test_empty_track_is_ignored(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    kept = write_features(tmp_path, manifest, "spatial")
    write_features(tmp_path, manifest, "temporal")
    write_features(tmp_path, manifest, "spatial", "never", without=tuple(manifest.rows["id"]))
    assert load_dataset(tmp_path, None, None, None).features.spatial[0].path == kept


def test_damaged_manifest_is_refused(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 2)
    save_manifest(tmp_path, manifest)
    (tmp_path / "toy" / "manifest.json").write_text('{"name": "toy"')
    with pytest.raises(
        UsageError,
        match=r"manifest\.json cannot be used: .*; remove this one and run vqa-extract again",
    ):
        load_dataset(tmp_path, None, None, None)


def test_one_long_video_does_not_take_all_memory_for_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path, contents=3, versions=2)
    monkeypatch.setattr(data_module, "MOST_PADDING", 1)
    monkeypatch.setattr(data_module, "LARGEST_PADDED", 1000)
    with pytest.raises(UsageError, match=r"the longest of 6 videos has 4 rows.*sample by count"):
        load_dataset(cache, None, None, None)


def test_features_larger_than_the_memory_given_stay_in_the_cache(cache: Path) -> None:
    whole, stored = (
        load_dataset(cache, None, None, None, max_ram=max_ram) for max_ram in (None, 1000)
    )
    copied = pickle.loads(pickle.dumps(stored))
    videos, frames = np.array([7, 0, 7, 3]), np.array([0, 1, 2, 0])
    for one, other in [
        *zip(whole.tracks, stored.tracks, strict=True),
        *zip(whole.tracks, copied.tracks, strict=True),
    ]:
        assert one.content == other.content
        assert all(isinstance(array, StoredColumn) for array in other.arrays.values())
        for name, array in one.arrays.items():
            lazy = other.arrays[name]
            assert (lazy.shape, lazy.dtype) == (array.shape, array.dtype)
            np.testing.assert_array_equal(lazy[5:9], array[5:9])
            np.testing.assert_array_equal(lazy[:], array)
            np.testing.assert_array_equal(lazy[videos, frames], array[videos, frames])


def test_dataset_on_its_way_to_a_worker_holds_nothing_that_another_thread_adds(
    cache: Path,
) -> None:
    data = load_dataset(cache, None, None, None)
    state = data.__getstate__()
    assert data.not_finite == {}
    assert data.__getstate__().keys() == state.keys()
    assert "not_finite" not in vars(pickle.loads(pickle.dumps(data)))


def test_one_track_for_both_streams_is_read_once(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 4, 2)
    save_manifest(tmp_path, manifest)
    write_features(tmp_path, manifest, "spatial")
    data = load_dataset(tmp_path, None, None, None, Streams(("mean",), ("mean", "std")))
    assert {name.statistic for name in data.features.spatial[0].arrays} == {"mean"}
    for name, array in data.features.spatial[0].arrays.items():
        assert data.features.temporal[0].arrays[name] is array
