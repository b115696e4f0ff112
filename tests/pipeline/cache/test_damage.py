"""Damage in any part of a cache's files is found, or changes nothing that is read.

`make soak` tries as often as docs/reliability.md says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest
from damage import damages, flip, overwrite, parts_of_json, parts_of_track
from toy_cache import manifest_of
from toy_tracks import IDENTITY, random_features, same, write

from vqa_twostage.pipeline.cache import journal, track_writer
from vqa_twostage.pipeline.cache.journal import journal_of
from vqa_twostage.pipeline.cache.layout import load_cached_manifest, manifest_path
from vqa_twostage.pipeline.cache.rewriting import repair
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import Track, open_track
from vqa_twostage.pipeline.cache.verifying import manifest_faults, verify
from vqa_twostage.pipeline.errors import UsageError

Change = Callable[[bytes, int, Random], bytes]
Record = Callable[[str, object], None]

VIDEOS = {f"video {number}": random_features(number, 2 + number) for number in range(4)}
TIMES = np.concatenate([features.timestamp for features in VIDEOS.values()])
MORE = random_features(9)
MANIFEST = manifest_of("toy", 3, 2)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A track with a few chunks for each array."""
    monkeypatch.setattr(track_writer, "CHUNK_BYTES", 512)
    write(tmp_path / "t.h5", **VIDEOS)
    return tmp_path / "t.h5"


@pytest.mark.parametrize("change", [flip, overwrite])
@pytest.mark.soak(16, 500)
def test_damage_of_a_track_is_found_or_harmless(
    change: Change, path: Path, times: int, record_property: Record
) -> None:
    parts = parts_of_track(path)
    content = path.read_bytes()
    found = 0
    for where, damaged in damages(content, parts, change, times):
        path.write_bytes(damaged)
        faults = verify(path)
        assert all(is_message(fault, path) for fault in faults), (where, faults)
        messages = read_right(path, where)
        assert faults or not messages, (where, messages)
        found += bool(faults)
        with refusals(path, messages):
            write(path, more=MORE)
        read_right(path, where)
        path.write_bytes(damaged)
        check_repaired(path, bool(faults), where)
    record_property("found", found)
    record_property("harmless", times - found)


def read_right(path: Path, where: str) -> list[str]:
    """Every video is read as it was written, or refused: the messages."""
    messages: list[str] = []
    with refusals(path, messages), open_track(path) as track:
        assert set(track.ids) - {"more"} == VIDEOS.keys(), where
        assert track.identity == IDENTITY and track.index.provenance == {"version test": "1"}
        for name in VIDEOS:
            with refusals(path, messages):
                assert same(track.read(name), VIDEOS[name]), where
        with refusals(path, messages):
            assert np.array_equal(column(track), TIMES), where
    return messages


def column(track: Track) -> np.ndarray:
    """One array of all videos, read as training does."""
    ids = list(VIDEOS)
    counts = track.row_counts(ids)
    out = track.empty("timestamp", int(counts.sum()))
    track.read_into("timestamp", ids, np.cumsum(counts) - counts, out)
    return out


def check_repaired(path: Path, faulty: bool, where: str) -> None:
    """What `repair` keeps is right, and it loses nothing silently."""
    before = path.read_bytes()
    try:
        result = repair(path)
    except UsageError as error:
        message = str(error)
    else:
        message = ""
    if message:  # a range at the end of HDF5's part goes on in the index
        assert "cannot be repaired" in message and path.read_bytes() == before, where
        return
    assert verify(path) == [], where
    assert bool(result.dropped or result.structure) == faulty, where
    assert result.kept + len(result.dropped) == len(VIDEOS), where
    with open_track(path) as track:
        assert len(track) == result.kept and set(track.ids) <= VIDEOS.keys(), where
        assert all(same(track.read(name), VIDEOS[name]) for name in track.ids), where


def is_message(text: str, path: Path) -> bool:
    """Whether one line names the file and what to do."""
    return "\n" not in text and f"vqa-cache repair {path}" in text


@contextmanager
def refusals(path: Path, messages: list[str]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        messages.append(str(error))
    assert all(is_message(message, path) for message in messages), messages


@pytest.mark.parametrize("change", [flip, overwrite])
@pytest.mark.soak(16, 500)
def test_damage_of_a_journal_is_found_or_harmless(
    change: Change, path: Path, times: int, record_property: Record
) -> None:
    """A journal that a killed writer left."""
    before = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.JournaledFile, "_replay", lambda *_: None)
        write(path, more=MORE)
    content = journal_of(path).read_bytes()
    assert path.read_bytes() == before
    parts = {
        "header": range(24),
        "changes": range(24, len(content) - 8),
        "checksum": range(len(content) - 8, len(content)),
    }
    found = 0
    for where, damaged in damages(content, parts, change, times):
        journal_of(path).write_bytes(damaged)
        messages = read_right(path, where)
        assert bool(messages) == (damaged != content), where
        assert all("journal is damaged" in message for message in messages), where
        found += bool(messages)
    record_property("found", found)
    record_property("harmless", times - found)
    assert "its journal" in repair(path).structure
    assert read_right(path, "after its journal was put aside") == [] and verify(path) == []


@pytest.mark.parametrize("change", [flip, overwrite])
@pytest.mark.soak(60, 500)
def test_damage_of_a_manifest_is_found_or_harmless(
    change: Change, tmp_path: Path, times: int, record_property: Record
) -> None:
    save_manifest(tmp_path, MANIFEST)
    path = manifest_path(tmp_path, "toy")
    content = path.read_bytes()
    found = 0
    for where, damaged in damages(content, parts_of_json(path), change, times):
        path.write_bytes(damaged)
        faults = manifest_faults(tmp_path)
        if faults:
            (message,) = faults.values()
            assert "\n" not in message and str(path) in message, (where, message)
            assert "remove this one and run vqa-extract again" in message, where
            with pytest.raises(UsageError):
                load_cached_manifest(tmp_path, "toy")
        else:
            assert load_cached_manifest(tmp_path, "toy").to_json() == MANIFEST.to_json(), where
        found += bool(faults)
    record_property("found", found)
    record_property("harmless", times - found)
