"""Merged caches of several machines equal the cache of one machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import called, document
from hypothesis import given
from hypothesis import strategies as st
from toy_cache import manifest_of, write_features

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import load_cached_manifest, tracks
from vqa_twostage.pipeline.cache.merging import merge_caches
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import VideoFeatures

IDS = [f"content {number // 2:02d}/version {number % 2}" for number in range(8)]


def make(cache: Path, ids: list[str], **more: str) -> Path:
    """A cache with the features of only ``ids``."""
    manifest = manifest_of("toy", 4, 2)
    save_manifest(cache, manifest)
    without = tuple(set(IDS) - set(ids))
    write_features(cache, manifest, "spatial", without=without, **more)
    write_features(cache, manifest, "temporal", without=without, **more)
    return cache


def arrays_of(cache: Path) -> dict[str, dict[str, np.ndarray]]:
    arrays = {}
    for path in tracks(cache, "toy"):
        with cached.open_track(path) as track:
            arrays |= {f"{path.stem} {name}": track.read(name).arrays for name in track.ids}
    return arrays


@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 20) | st.none())
def test_shards_hold_every_video_exactly_once(parts: int, videos: int, limit: int | None) -> None:
    rows = np.arange(videos)
    shards = [rows[ExtractOptions(shard=f"{part}/{parts}").rows] for part in range(1, parts + 1)]
    assert sorted(np.concatenate(shards)) == rows.tolist()
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    few = rows[ExtractOptions(shard=f"1/{parts}", limit=limit).rows]
    assert few.tolist() == shards[0][:limit].tolist()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "1/2/3", "-1/2", ""])
def test_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="give I/N, as in 2/4"):
        ExtractOptions(shard=text)


def test_merged_parts_equal_the_cache_of_one_machine(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", IDS)
    parts = [make(tmp_path / f"part-{start}", IDS[start::3]) for start in range(3)]
    merged = document(
        called("vqa-cache", "merge", *parts, "--cache", "cache", "--json", cwd=tmp_path)
    )
    assert [(track["videos"], track["of"], track["added"]) for track in merged["tracks"]] == [
        (8, 8, 8)
    ] * 2
    merged_arrays, expected = arrays_of(tmp_path / "cache"), arrays_of(whole)
    assert merged_arrays.keys() == expected.keys() and len(merged_arrays) == 16
    assert all(
        np.array_equal(merged_arrays[name][key], array)
        for name, arrays in expected.items()
        for key, array in arrays.items()
    )
    assert load_cached_manifest(tmp_path / "cache", "toy").digest == manifest_of("toy", 4, 2).digest
    again = called("vqa-cache", "merge", *parts, "--cache", "cache", cwd=tmp_path)
    assert again.returncode == 0 and again.stdout.count("8 of 8 videos, 0 added, 8 were there") == 2


def test_features_of_different_options_are_merged_into_different_tracks(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", IDS[:4]), make(tmp_path / "two", IDS[4:], precision="bf16")
    merged = merge_caches([one, two], tmp_path / "cache")
    assert sorted(track.videos for track in merged.tracks) == [4, 4, 4, 4]


def test_conflicting_files_of_one_id_are_reported_and_the_first_is_kept(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", IDS[:2]), make(tmp_path / "two", IDS[1:3])
    (path, *_) = tracks(two, "toy")
    with cached.open_track(path) as track:
        identity, features = track.identity, track.read(IDS[1])
    with write_track(path, identity, {}) as track:
        attributes = replace(features.attributes, source_digest="another")
        track.write(
            IDS[1],
            VideoFeatures(features.arrays, features.frame_index, features.timestamp, attributes),
        )
    before = arrays_of(one)
    result = called("vqa-cache", "merge", one, two, "--cache", "cache", cwd=tmp_path)
    assert (
        result.returncode == 3
        and f"{IDS[1]} of {path}: features of another file are there" in result.stderr
    )
    merged = arrays_of(tmp_path / "cache")
    assert all(
        np.array_equal(merged[name][key], array)
        for name, arrays in before.items()
        for key, array in arrays.items()
    )


def test_interrupted_merge_is_resumed(tmp_path: Path) -> None:
    parts = [make(tmp_path / f"part-{start}", IDS[start::2]) for start in range(2)]

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_caches(parts, tmp_path / "cache", stop)
    merged = merge_caches(parts, tmp_path / "cache").tracks
    assert sum(track.there for track in merged) == 5
    assert {track.videos for track in merged} == {8}


def test_wrong_use_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    one = make(tmp_path / "one", IDS[:4])
    other = manifest_of("toy", 5, 2)
    save_manifest(tmp_path / "other", other)
    write_features(tmp_path / "other", other, "spatial")
    (tmp_path / "empty").mkdir()
    for sources, message in (
        (["empty"], "empty holds no dataset"),
        (["nowhere"], "nowhere holds no dataset"),
        (["one", "other"], "has other videos or labels"),
    ):
        result = called("vqa-cache", "merge", *sources, "--cache", "cache", cwd=tmp_path)
        assert (
            result.returncode == 2
            and message in result.stderr
            and not (tmp_path / "cache").exists()
        )
    result = called("vqa-cache", "merge", one, "--cache", one, cwd=tmp_path)
    assert result.returncode == 2 and "leave it out" in result.stderr
    shutil.rmtree(tmp_path / "other")
    assert called("vqa-cache", "merge", one, "--cache", "cache", cwd=tmp_path).returncode == 0


@pytest.mark.long
def test_shard_option_limits_the_extracted_videos(clips: Path, tmp_path: Path) -> None:
    words = [
        "vqa-extract",
        "--dataset",
        clips / "mos.csv",
        "--preset",
        "offline",
        "--dry-run",
        "--json",
    ]
    plans = [
        document(called(*words, "--shard", f"{part}/4", cwd=tmp_path)) for part in (1, 2, 3, 4)
    ]
    assert [plan["videos"] for plan in plans] == [2, 2, 1, 1]
