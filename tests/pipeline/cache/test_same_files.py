"""Features of different files under one id are told wherever tracks come together."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from commands import called, document
from toy_cache import make_cache, manifest_of, write_features

from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.pipeline.cache.layout import TrackPath, tracks
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.same_files import of_different_files
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track

OF_DIFFERENT = "hold features of different files under the same ids: "


def replace_files(path: TrackPath, count: int) -> list[str]:
    """The first ``count`` videos of a track are of other files from now on."""
    with open_track(path) as track:
        ids, identity = track.ids[:count], track.identity
        videos = [track.read(video_id) for video_id in ids]
    with write_track(path, identity, {}) as writer:
        for video_id, video in zip(ids, videos, strict=True):
            attributes = replace(video.attributes, source_digest="another")
            writer.write(video_id, replace(video, attributes=attributes))
    return ids


def told(paths: list[TrackPath]) -> list[str]:
    with ExitStack() as stack:
        return list(of_different_files([stack.enter_context(open_track(path)) for path in paths]))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_cache(tmp_path / "cache", contents=3, versions=3)


def test_tracks_of_the_same_files_are_not_told(cache: Path) -> None:
    assert told(tracks(cache, "toy")) == []
    assert told(tracks(cache, "toy")[:1]) == []


@pytest.mark.parametrize(
    ("count", "more"), [(1, ""), (3, ""), (4, " and 1 more"), (9, " and 6 more")]
)
@pytest.mark.parametrize("which", [0, 1])
def test_videos_of_different_files_are_named(
    cache: Path, which: int, count: int, more: str
) -> None:
    places = tracks(cache, "toy")
    ids = replace_files(places[which], count)
    (sentence,) = told(places)
    assert f"{places[0]} and {places[1]} {OF_DIFFERENT}{', '.join(ids[:3])}{more}. " in sentence


def test_videos_that_one_track_lacks_differ_from_nothing(cache: Path) -> None:
    manifest = manifest_of("toy", 3, 3)
    few = write_features(
        cache, manifest, "spatial", "other", without=tuple(manifest.rows["id"][2:])
    )
    first = next(path for path in tracks(cache, "toy") if path != few)
    replace_files(few, 1)
    (sentence,) = told([first, few])
    assert sentence.count("content ") == 1


def test_imported_features_say_nothing_of_files(cache: Path) -> None:
    imported = write_features(cache, manifest_of("toy", 3, 3), "spatial", "other", source="a" * 64)
    replace_files(imported, 2)
    assert told(tracks(cache, "toy")) == []


def test_training_warns_of_different_files_and_goes_on(cache: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_dataset(cache, "toy", None, None)
    replace_files(tracks(cache, "toy")[1], 2)
    with pytest.warns(UserWarning, match=OF_DIFFERENT):
        data = load_dataset(cache, "toy", None, None)
    assert len(data.mos) == 9


def test_merge_notes_tracks_of_different_files(tmp_path: Path) -> None:
    manifest = manifest_of("toy", 3, 3)
    for kind in ("spatial", "temporal"):
        save_manifest(tmp_path / kind, manifest)
        write_features(tmp_path / kind, manifest, kind)
    sources = [tmp_path / "spatial", tmp_path / "temporal"]
    words = ["vqa-cache", "merge", *sources]
    same = document(called(*words, "--cache", "a", "--json", cwd=tmp_path))
    assert same["notes"] == []
    (ids,) = [replace_files(path, 1) for path in tracks(tmp_path / "temporal", "toy")]
    result = called(*words, "--cache", "b", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr.count("note: ") == 1 and f"{OF_DIFFERENT}{ids[0]}. " in result.stderr
