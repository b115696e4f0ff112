"""`features` gives every number that a cache holds, with the labels of the same videos."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from toy_cache import (
    COLUMNS,
    FRAMES,
    LEVELS,
    add_track,
    make_cache,
    manifest_of,
    write_features,
)
from toy_tracks import random_features

from vqa_twostage.fuse.features import DatasetFeatures, features
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import video_rows
from vqa_twostage.pipeline.cache.exporting import export_tracks
from vqa_twostage.pipeline.cache.layout import TrackPath, tracks, write_manifest
from vqa_twostage.pipeline.cache.removing import plan_removal, remove
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity

MANIFEST = manifest_of("toy", 12, 5)
# of each track: the mean and the deviation of every level
WIDTH = 2 * COLUMNS * len(LEVELS)


@pytest.fixture(scope="module")
def whole(toy_cache: Path) -> DatasetFeatures:
    return features(toy_cache, "toy")


def stored(cache: Path) -> list[np.ndarray]:
    """Of each video of the manifest, everything that both tracks hold of its frames, [T, D]."""
    videos = []
    for video_id in MANIFEST.rows["id"]:
        arrays = []
        for path in tracks(cache, "toy"):  # the spatial one first
            with open_track(path) as track:
                video = track.read(video_id).arrays
                arrays += [video[name] for name in track.array_names]
        videos.append(np.concatenate(arrays, axis=1))
    return videos


def test_opinions_that_features_learnt_from_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_manifest(tmp_path, MANIFEST)
    write_features(tmp_path, MANIFEST, "spatial", source="x", trained_on="lsvq,maxwell")
    write_features(tmp_path, MANIFEST, "temporal", source="x", trained_on="toy")
    found = features(tmp_path, "toy")
    assert found.opinions == ("lsvq", "maxwell", "toy")
    (message,) = caplog.messages
    assert message == (
        "toy: its features learnt from opinions of: lsvq, maxwell, toy; "
        "toy is the dataset itself, so no video is unseen"
    )
    assert features(tmp_path, "toy", only="spatial").opinions == ("lsvq", "maxwell")


def test_features_without_opinions_give_no_warning(
    toy_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert features(toy_cache, "toy").opinions == () and not caplog.messages


def test_ids_and_labels_are_those_of_the_manifest(whole: DatasetFeatures) -> None:
    assert whole.ids == MANIFEST.rows["id"].tolist() and len(whole) == 60
    assert whole.mos.tolist() == MANIFEST.rows["mos"].tolist() and whole.mos.dtype == np.float64
    assert whole.groups == MANIFEST.rows["group"].tolist() and whole.missing == []
    assert repr(whole).startswith("<toy: features of 60 of 60 videos, 192 columns of spatialnet-")


def test_frames_are_as_stored_and_their_means_are_the_default(
    whole: DatasetFeatures, toy_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = stored(toy_cache)
    frames, means = whole.numpy(per_frame=True), whole.numpy()
    assert [len(each) for each in frames] == [FRAMES - row % 5 // 4 for row in range(60)]
    for ours, theirs in zip(frames, expected, strict=True):
        assert ours.dtype == np.float32 and np.array_equal(ours, theirs.astype(np.float32))
    assert means.shape == (60, 2 * WIDTH) and means.dtype == np.float32
    correct = [each.astype(np.float64).mean(axis=0) for each in expected]
    np.testing.assert_allclose(means, correct, rtol=1e-6, atol=1e-7)
    monkeypatch.setattr(video_rows, "BLOCK_BYTES", 999)
    assert np.array_equal(whole.numpy(), means)
    assert np.array_equal(np.concatenate(whole.numpy(per_frame=True)), np.concatenate(frames))


def test_means_are_those_that_export_writes(
    whole: DatasetFeatures, toy_cache: Path, tmp_path: Path
) -> None:
    written = export_tracks(tracks(toy_cache, "toy"), "npz", tmp_path, pooled=True).tracks
    columns = []
    for each in written:
        with np.load(each.output) as found:
            assert found["ids"].tolist() == whole.ids
            columns += [found[name] for name in each.arrays]
    assert np.array_equal(np.concatenate(columns, axis=1), whole.numpy())


def test_a_table_has_labels_and_named_columns(whole: DatasetFeatures, toy_cache: Path) -> None:
    table = whole.to_dataframe()
    assert table.index.name == "id" and table.index.tolist() == whole.ids
    assert list(table) == ["mos", "group", *whole.columns]
    assert np.array_equal(table[whole.columns].to_numpy(), whole.numpy())
    frames = whole.to_dataframe(per_frame=True)
    assert list(frames) == ["mos", "group", "frame_index", "timestamp", *whole.columns]
    last = frames.loc["content 00/version 4"]  # the short one
    assert last["timestamp"].tolist() == [0, 0.5, 1] and last["frame_index"].tolist() == [0, 1, 2]
    with open_track(tracks(toy_cache, "toy")[1]) as track:
        video = track.read("content 00/version 4").arrays
    assert last["temporal/c2/std[3]"].tolist() == [
        float(value) for name, array in video.items() if name == "c2/std" for value in array[:, 3]
    ]
    assert set(last["mos"]) == {whole.mos[4]}


def test_a_table_has_further_labels_of_the_dataset(toy_cache: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(toy_cache, tmp_path / "cache"))
    technical = np.where(np.arange(len(MANIFEST)) == 3, np.nan, -MANIFEST.rows["mos"])
    rows = MANIFEST.rows.assign(mos_technical=technical)
    axes = (Axis("technical", (-5.0, -1.0), "lower"),)
    write_manifest(cache, replace(MANIFEST, rows=rows, axes=axes))
    table = features(cache, "toy").to_dataframe()
    assert list(table)[:3] == ["mos", "mos_technical", "group"]
    assert np.array_equal(table["mos_technical"], technical, equal_nan=True)


def test_torch_reads_means_and_padded_frames(whole: DatasetFeatures) -> None:
    dataset = whole.torch_dataset()
    assert len(dataset) == 60
    vectors, mos = next(iter(DataLoader(dataset, batch_size=7)))
    assert torch.equal(vectors, torch.from_numpy(whole.numpy()[:7]))
    assert torch.equal(mos, torch.from_numpy(whole.mos[:7].astype(np.float32)))
    frames = whole.torch_dataset(per_frame=True)
    loader = DataLoader(frames, batch_size=5, collate_fn=frames.padded)
    padded, mask, mos = next(iter(loader))
    assert padded.shape == (5, FRAMES, 2 * WIDTH) and mask.sum(dim=1).tolist() == [4, 4, 4, 4, 3]
    assert torch.equal(padded[4, :3], frames[4][0]) and not padded[4, 3].any()
    assert mos.shape == (5,) and mos.dtype == torch.float32


def test_videos_that_a_track_lacks_are_missing(tmp_path: Path) -> None:
    save_manifest(tmp_path, MANIFEST)
    gone = ("content 03/version 0", "content 00/version 1", "content 11/version 4")
    write_features(tmp_path, MANIFEST, "spatial", without=gone[:1])
    write_features(tmp_path, MANIFEST, "temporal", without=gone[1:])
    found = features(str(tmp_path))
    assert found.missing == [gone[1], gone[0], gone[2]] and len(found) == 57
    assert found.ids == [name for name in MANIFEST.rows["id"] if name not in gone]
    assert len(features(tmp_path, only="spatial")) == 59
    assert found.numpy().shape == (57, 2 * WIDTH)


def test_tracks_and_arrays_are_chosen_by_words(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=3)
    assert {array.kind for array in features(cache, only="temporal").arrays} == {"temporal"}
    last = features(cache, arrays=["last/mean"])
    assert last.numpy().shape == (15, 2 * COLUMNS)
    assert features(cache, only="spatial", arrays="last/mean").columns[0] == "spatial/last/mean[0]"
    other = write_features(cache, manifest_of("toy", 3, 5), "spatial", "othernet")
    with pytest.raises(UsageError, match="several spatial tracks of toy; choose one") as error:
        features(cache)
    assert f"--spatial {other.stem}" in str(error.value)
    assert features(cache, spatial="othernet-" + other.stem[-10:]).arrays[0].track == other
    for wrong, message in [
        ({"dataset": "konvid"}, "it holds toy"),
        ({"spatial": "resnet"}, "no spatial track of toy is called 'resnet'"),
        ({"only": "both"}, 'only must be "spatial", "temporal" or None, not \'both\''),
        ({"only": "temporal", "arrays": ["c9/mean"]}, "no array c9/mean; choose from c1/mean"),
        ({"only": "temporal", "arrays": []}, "no array is chosen"),
    ]:
        with pytest.raises(UsageError, match=message):
            features(cache, **wrong)


def test_columns_of_several_tracks_of_a_kind_have_their_tracks_in_their_names(
    tmp_path: Path,
) -> None:
    cache = make_cache(tmp_path, contents=3)
    add_track(cache, "spatial", "othernet", FRAMES)
    again = add_track(cache, "spatial", "othernet", 3)
    found = features(cache, spatial=["spatialnet", again.stem], arrays="last/mean")
    assert found.columns[::COLUMNS] == [
        "spatial/othernet/last/mean[0]",
        "spatial/spatialnet/last/mean[0]",
        "temporal/last/mean[0]",
    ]
    whole = features(cache, spatial="all")
    assert len(set(whole.columns)) == len(whole.columns) == 4 * WIDTH
    assert f"spatial/{again.stem}/c1/std[3]" in whole.columns
    means = []
    for array in whole.arrays:
        with open_track(array.track) as track:
            means.append(track.read(whole.ids[4]).arrays[array.name].mean(axis=0, dtype=float))
    row = whole.to_dataframe().loc[whole.ids[4], whole.columns]
    assert row.to_numpy(float) == pytest.approx(np.concatenate(means), abs=1e-3)


def test_the_track_whose_frames_are_others_is_named(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=3)
    add_track(cache, "spatial", "othernet", FRAMES)
    other = add_track(cache, "temporal", "tempo", 3)
    assert len(features(cache, spatial="all", temporal="temporalnet").numpy(per_frame=True)) == 15
    with pytest.raises(
        UsageError, match=rf"and of \S+{other.stem}\.h5 are not the same.*one sampler"
    ):
        features(cache, spatial="all", temporal="tempo").numpy(per_frame=True)


def test_maps_are_read_when_they_are_named_and_lie_flat(tmp_path: Path) -> None:
    path = random_track(tmp_path, frames=3)
    found = features(tmp_path)
    assert [array.name for array in found.arrays] == ["c1/mean", "c5/std"]
    maps = features(tmp_path, arrays=["c5/grid"])
    with open_track(path) as track:
        grid = track.read(found.ids[1]).arrays["c5/grid"]
    assert np.array_equal(maps.numpy(per_frame=True)[1], grid.reshape(3, 12))


def random_track(cache: Path, frames: int, sampler: str = "uniform:frames=8") -> TrackPath:
    save_manifest(cache, manifest_of("toy", 2, 1))
    identity = TrackIdentity("spatial", spec.parse("net"), spec.parse(sampler))
    path = TrackPath.of(cache, "toy", "net", identity)
    with write_track(path, identity, {}) as track:
        for number, video_id in enumerate(manifest_of("toy", 2, 1).rows["id"]):
            track.write(video_id, random_features(number, frames))
    return path


def test_tracks_of_other_frames_make_no_rows_together(tmp_path: Path) -> None:
    random_track(tmp_path, frames=4)
    write_features(tmp_path, manifest_of("toy", 2, 1), "temporal")
    found = features(tmp_path)  # of as many frames, at other times
    assert found.numpy().shape == (2, 4 + 24 + WIDTH)
    for call in (found.numpy, found.to_dataframe, found.torch_dataset):
        with pytest.raises(UsageError, match='choose one track with only="spatial" or'):
            call(per_frame=True)
    assert len(features(tmp_path, only="temporal").numpy(per_frame=True)) == 2


def test_a_video_that_was_removed_meanwhile_is_named(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, contents=3)
    found = features(cache)
    remove(plan_removal(cache, "toy", ["content 01/version 2"]))
    with pytest.raises(UsageError, match="no video 'content 01/version 2' any more; ask for"):
        found.numpy()
    assert len(features(cache)) == 14


def test_no_torch_is_imported_for_arrays_and_tables(toy_cache: Path) -> None:
    code = (
        f"import sys, vqa_twostage as vqa; found = vqa.features({str(toy_cache)!r}); "
        "found.numpy(); found.to_dataframe(); print([m for m in ('torch', 'h5py') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
