"""A dataset in a cache is not taken for another one that has its name, nor for a stranger when it
moved.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.same_dataset import save_manifest, with_what_was_said
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

IDENTITY = TrackIdentity("spatial", spec.parse("net"), spec.parse("uniform:frames=2"))


def folder_of(path: Path, labels: tuple[float, ...] = (1, 2, 3), video: bytes = b"ab") -> Path:
    """Videos 001, 002 … with a ``labels.csv``, as many people name them."""
    path.mkdir()
    for number in range(len(labels)):
        (path / f"{number:03d}.mp4").write_bytes(video)
    rows = "".join(f"{number:03d}.mp4,{mos}\n" for number, mos in enumerate(labels))
    (path / "labels.csv").write_text("path,mos\n" + rows)
    return path


def keep(cache: Path, folder: Path, name: str | None = None) -> Manifest:
    """As extracting does: the manifest, and features that know how large their files were."""
    manifest = load_manifest(folder / "labels.csv", name=name)
    save_manifest(cache, manifest)
    path = TrackPath.of(cache, manifest.name, "net", IDENTITY)
    with write_track(path, IDENTITY, {}) as track:
        for video_id, file in zip(manifest.rows["id"], manifest.rows["path"], strict=True):
            arrays = {ArrayName("c5/mean"): np.ones((2, 3), np.float16)}
            attributes = VideoAttributes("d", (folder / file).stat().st_size)
            features = VideoFeatures(arrays, np.arange(2), np.arange(2.0), attributes)
            track.write(video_id, features)
    return manifest


@pytest.mark.parametrize(
    ("labels", "video"),
    [((1, 2, 4), b"ab"), ((1, 2, 3), b"abc"), ((1, 2, 3, 4), b"abcd"), ((5, 4), b"x")],
    ids=["another label", "other videos", "more and other videos", "nothing in common"],
)
def test_another_folder_with_the_same_names_is_refused_and_the_first_stays(
    labels: tuple[float, ...], video: bytes, tmp_path: Path
) -> None:
    first = keep(tmp_path / "cache", folder_of(tmp_path / "first"))
    other = folder_of(tmp_path / "other", labels, video)
    with pytest.raises(UsageError, match=r"(?s)also called 'labels', from .*first.*--name"):
        save_manifest(tmp_path / "cache", load_manifest(other / "labels.csv"))
    assert load_cached_manifest(tmp_path / "cache", "labels").digest == first.digest
    keep(tmp_path / "cache", other, name="second")
    assert load_cached_manifest(tmp_path / "cache", "second").title == "second"
    keep(tmp_path / "cache", other, name="second")


def test_a_dataset_that_was_moved_or_copied_is_known_again(tmp_path: Path) -> None:
    keep(tmp_path / "cache", folder_of(tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    keep(tmp_path / "cache", tmp_path / "there")
    for video in (tmp_path / "there").glob("*.mp4"):
        video.unlink()  # labels without videos: nothing speaks against it
    shutil.copytree(tmp_path / "there", tmp_path / "labels only")
    save_manifest(tmp_path / "cache", load_manifest(tmp_path / "labels only" / "labels.csv"))


@pytest.mark.parametrize(
    ("labels", "told"),
    [((1, 2, 3), []), ((1, 2, 3, 4), []), ((1, 2, 4), ["1 label"]), ((3, 2, 1), ["2 labels"])],
)
def test_labels_that_changed_in_their_file_are_counted(
    labels: tuple[float, ...], told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(tmp_path / "cache", folder_of(tmp_path / "own"))
    shutil.rmtree(tmp_path / "own")
    folder_of(tmp_path / "own", labels)
    with caplog.at_level(logging.WARNING):
        save_manifest(tmp_path / "cache", load_manifest(tmp_path / "own" / "labels.csv"))
    expected = [f"labels: {count} changed since the last time" for count in told]
    assert [record.getMessage() for record in caplog.records] == expected
    mos = load_cached_manifest(tmp_path / "cache", "labels").rows["mos"]
    assert tuple(mos) == labels


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder_of(tmp_path / "own")
    with pytest.raises(UsageError, match="cannot name a dataset"):
        load_manifest(tmp_path / "own" / "labels.csv", name=name)


def own_table(folder: Path, columns: str = "path,mos,quality") -> Path:
    path = folder / "own.csv"
    path.write_text(f"{columns}\na.mp4,1,60\nb.mp4,2,20\nc.mp4,3,40\n")
    return path


def test_what_was_said_of_a_table_once_holds_until_something_else_is_said(tmp_path: Path) -> None:
    path, cache = own_table(tmp_path), tmp_path / "cache"

    def saved(**said: Any) -> Manifest:
        save_manifest(cache, load_manifest(path, **said))
        return load_cached_manifest(cache, "own")

    first = saved()
    assert (first.scale, first.better) == ((1, 3), "higher")
    assert saved(scale=(1.0, 5.0), better="lower").scale == (1, 5)
    with path.open("a") as file:
        file.write("d.mp4,4.5,10\n")
    later = saved()
    assert (later.scale, later.better, len(later)) == ((1, 5), "lower", 4)
    assert (saved(scale=(0.0, 9.0)).scale, saved().scale) == ((0, 9), (0, 9))
    assert (saved(better="higher").better, saved().better) == ("higher", "higher")


def test_scale_that_was_assumed_follows_the_labels(tmp_path: Path) -> None:
    path, cache = own_table(tmp_path), tmp_path / "cache"
    save_manifest(cache, load_manifest(path))
    with path.open("a") as file:
        file.write("d.mp4,4.5,10\n")
    save_manifest(cache, load_manifest(path))
    assert load_cached_manifest(cache, "own").scale == (1, 4.5)


def test_people_are_told_what_was_said_before(tmp_path: Path) -> None:
    path, cache = own_table(tmp_path), tmp_path / "cache"
    save_manifest(cache, load_manifest(path, scale=(1.0, 5.0), better="lower"))
    told = with_what_was_said(cache, load_manifest(path)).remarks
    assert "the scale is 1 to 5, as said before; --scale sets another" in told
    assert "lower is better, as said before; --better sets the other" in told
    assert not any("taken from the labels" in note for note in told)


def test_labels_of_another_column_are_not_taken_without_being_asked_for(tmp_path: Path) -> None:
    path, cache = own_table(tmp_path), tmp_path / "cache"
    save_manifest(cache, load_manifest(path, mos_column="Quality", scale=(0.0, 100.0)))
    kept = load_cached_manifest(cache, "own")
    with pytest.raises(UsageError, match="labels of the column quality, .* give --mos-column qual"):
        save_manifest(cache, load_manifest(path))
    assert load_cached_manifest(cache, "own").digest == kept.digest
    save_manifest(cache, load_manifest(path, mos_column="QUALITY"))
    assert load_cached_manifest(cache, "own").digest == kept.digest
    save_manifest(cache, load_manifest(path, mos_column="mos"))
    other = load_cached_manifest(cache, "own")
    assert (other.label, other.scale) == ("MOS", (1, 3))  # not the scale of other labels
