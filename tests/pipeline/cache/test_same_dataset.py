"""A dataset in a cache is not taken for another one that has its name, nor for a stranger when it
moved.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
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
