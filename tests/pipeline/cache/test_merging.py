"""Merged caches of several machines equal the cache of one machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import called, document
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_features import Stored, stored_in
from toy_cache import manifest_of, write_features

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline.cache import merging
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


def all_in(cache: Path) -> Stored:
    return stored_in(tracks(cache, "toy"))


@settings(deadline=None)
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
    found, expected = all_in(tmp_path / "cache"), all_in(whole)
    assert found == expected and len(found) == 16 * (6 + 3)
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
    before = all_in(one)
    result = called("vqa-cache", "merge", one, two, "--cache", "cache", cwd=tmp_path)
    assert (
        result.returncode == 3
        and f"{IDS[1]} of {path}: features of another file are there" in result.stderr
    )
    assert before.items() <= all_in(tmp_path / "cache").items()


def test_interrupted_merge_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "BLOCK_BYTES", 1)  # a block is one video
    parts = [make(tmp_path / f"part-{start}", IDS[start::2]) for start in range(2)]

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_caches(parts, tmp_path / "cache", stop)
    merged = merge_caches(parts, tmp_path / "cache").tracks
    assert sum(track.there for track in merged) == 5
    assert {track.videos for track in merged} == {8}


def test_parts_under_different_options_are_told_apart_in_a_note(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", IDS[:4]), make(tmp_path / "two", IDS[4:], precision="bf16")
    result = called("vqa-cache", "merge", one, two, "--cache", "cache", cwd=tmp_path)
    notes = [line for line in result.stderr.splitlines() if line.startswith("note: ")]
    assert result.returncode == 0 and len(notes) == 2
    assert all("differ in the precision (" in note and "stay apart" in note for note in notes)
    whole = make(tmp_path / "whole", IDS)
    assert merge_caches([whole], tmp_path / "all").notes == []


def test_values_of_another_machine_are_counted_and_are_no_conflict(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", IDS[:4]), make(tmp_path / "two", IDS[2:])
    (path, *_) = tracks(two, "toy")
    with cached.open_track(path) as track:
        identity, features = track.identity, track.read(IDS[2])
    rounded = {name: array + np.float16(0.25) for name, array in features.arrays.items()}
    with write_track(path, identity, {}) as track:
        track.write(IDS[2], replace(features, arrays=rounded))
    before = all_in(one)
    result = called("vqa-cache", "merge", one, two, "--cache", "cache", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr.count("note") == 0
    assert "8 added, 2 were there, 1 of them with other values in a part" in result.stdout
    assert before.items() <= all_in(tmp_path / "cache").items()


def test_many_conflicts_are_told_in_few_lines_and_all_of_them_in_json(tmp_path: Path) -> None:
    paths = []
    for number, name in enumerate(("one", "two")):
        manifest = manifest_of("toy", 15, 2)
        save_manifest(tmp_path / name, manifest)
        paths.append(write_features(tmp_path / name, manifest, "spatial"))
        with cached.open_track(paths[-1]) as track:
            identity, videos = track.identity, {name: track.read(name) for name in track.ids}
        with write_track(paths[-1], identity, {}) as track:
            for video_id, features in videos.items():
                attributes = replace(features.attributes, source_digest=f"file {number}")
                track.write(video_id, replace(features, attributes=attributes))
    result = called("vqa-cache", "merge", "one", "two", "--cache", "cache", cwd=tmp_path)
    assert result.returncode == 3 and result.stderr.count("were kept") == 20
    assert "and 10 more such videos" in result.stderr
    result = called("vqa-cache", "merge", "one", "two", "--cache", "cache", "--json", cwd=tmp_path)
    assert result.returncode == 3 and len(json.loads(result.stdout)["conflicts"]) == 30


def test_track_under_the_name_of_another_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    one, two = make(tmp_path / "one", IDS[:4]), make(tmp_path / "two", IDS[4:], precision="bf16")
    (path, _), (other, _) = tracks(one, "toy"), tracks(two, "toy")
    other.path.replace(path.in_cache(two).path)
    result = called("vqa-cache", "merge", one, two, "--cache", "cache", cwd=tmp_path)
    assert result.returncode == 2 and not (tmp_path / "cache").exists()
    assert "have the name of one track, and differ in the precision" in result.stderr


def test_tracks_of_other_arrays_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", IDS[:4]), make(tmp_path / "two", IDS[4:])
    (path, *_) = tracks(two, "toy")
    with cached.open_track(path) as track:
        identity, features = track.identity, track.read(IDS[4])
    path.path.unlink()
    with write_track(path, identity, {}) as track:
        fewer = {name: array for name, array in features.arrays.items() if name != "c2/std"}
        track.write(IDS[4], replace(features, arrays=fewer))
    with pytest.raises(UsageError, match=r"differ in c2/std\. Nothing was merged"):
        merge_caches([one, two], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_damaged_part_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", IDS[:4]), make(tmp_path / "two", IDS[4:])
    path = tracks(two, "toy")[1].path
    path.write_bytes(path.read_bytes()[:-100])
    result = called("vqa-cache", "merge", one, two, "--cache", "cache", cwd=tmp_path)
    assert result.returncode == 2 and f"Error: {path}" in result.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.long
@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.sets(st.sampled_from(IDS)), min_size=1, max_size=4).filter(any),
    st.integers(1, 1500),
)
def test_any_parts_merged_in_blocks_of_any_size_hold_what_the_parts_hold(
    held: list[set[str]], block_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "BLOCK_BYTES", block_bytes)
        parts = [make(Path(folder, f"part-{n}"), sorted(ids)) for n, ids in enumerate(held)]
        merged = merge_caches(parts, Path(folder, "cache"))
        assert {track.videos for track in merged.tracks} == {len(set.union(*held))}
        expected = {name: array for part in parts for name, array in all_in(part).items()}
        assert all_in(Path(folder, "cache")) == expected


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
