"""Videos are written whole or not at all, whatever ends the writer."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from full_disk import ERRORS, full_disk, small_files
from power_failure import Disk
from toy_tracks import IDENTITY, features, random_features, same, write

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import journal, locks, track_writer
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import COMMIT_VIDEOS, write_track
from vqa_twostage.pipeline.cache.verifying import verify
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures


def ids_in(path: Path) -> list[str]:
    with open_track(path) as track:
        return track.ids


@pytest.mark.parametrize(
    ("field", "another"),
    [
        ("kind", "temporal"),
        ("extractor", spec.parse("net:x=2")),
        ("sampler", spec.parse("fps")),
        ("precision", "bf16 torch"),
        ("raw", "16x16 yuv420p 30"),
    ],
)
def test_track_of_another_identity_is_refused_with_the_difference(
    field: str, another: Any, tmp_path: Path
) -> None:
    write(tmp_path / "t.h5", a=features())
    other = replace(IDENTITY, **{field: another})
    message = f"(?s){field}: the file has {getattr(IDENTITY, field)}, this run wants {another}"
    with pytest.raises(UsageError, match=message), write_track(tmp_path / "t.h5", other, {}):
        pass
    assert other.digest != IDENTITY.digest


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "not finite"),
        (np.inf, "not finite"),
        (-np.inf, "not finite"),
        (7e4, "does not fit"),
        (-7e4, "does not fit"),
    ],
)
def test_value_that_cannot_be_stored_is_an_error_and_writes_nothing(
    value: float, reason: str, tmp_path: Path
) -> None:
    with write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        with pytest.raises(VideoError, match=f"c1/mean.*{reason}"):
            track.write("a", features(value))
        assert "a" not in track


@pytest.mark.parametrize("beside", ["nothing", "another", "itself"])
def test_time_of_a_file_is_changed_without_another_row(beside: str, tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    videos = {name: random_features(seed) for seed, name in enumerate("abc", 1)}
    write(path, **videos)
    with write_track(path, IDENTITY, {}) as track:
        track.set_time("b", 1234)
        if beside != "nothing":
            name = "d" if beside == "another" else "b"
            videos[name] = random_features(9)
            track.write(name, videos[name])
    if beside != "itself":
        attributes = replace(videos["b"].attributes, source_mtime_ns=1234)
        videos["b"] = replace(videos["b"], attributes=attributes)
    with open_track(path) as track:
        assert all(same(track.read(name), video) for name, video in videos.items())
        assert track.dead_rows == (3 if beside == "itself" else 0)
    assert verify(path) == []


def test_video_with_other_arrays_is_an_error_that_names_them(tmp_path: Path) -> None:
    for earlier in ("waiting", "committed"):
        with write_track(tmp_path / f"{earlier}.h5", IDENTITY, {}) as track:
            track.write("a", features())
            if earlier == "committed":
                track.commit()
            wide = random_features(1)
            wide.arrays[ArrayName("c1/mean")] = np.zeros((3, 5))
            with pytest.raises(VideoError, match=r"other videos: c1/mean, c1/std, c5/grid, c5/std"):
                track.write("b", wide)
        assert ids_in(tmp_path / f"{earlier}.h5") == ["a"]


def test_video_written_again_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, a=features(1), b=features(2))
    write(path, a=features(3, frames=5))
    with open_track(path) as track:
        assert track.read("a").arrays[ArrayName("c1/mean")].shape == (5, 4)
        assert (track.read("b").arrays[ArrayName("c1/mean")] == 2).all()
        assert len(track) == 2 and track.dead_rows == 3
    assert verify(path) == []


@pytest.mark.parametrize("field", ["id", "source_digest", "decoder", "damage", "runtime"])
def test_texts_of_any_length_are_kept(field: str, tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    for length in (1, 16, 17, 300):
        text = "ü" * length
        video = features()
        if field != "id":
            attributes = replace(video.attributes, **{field: text})
            video = replace(video, attributes=attributes)
        name = text if field == "id" else str(length)
        write(path, **{name: video})
        with open_track(path) as track:
            assert track.attributes(name) == video.attributes
    assert len(ids_in(path)) == 4 and verify(path) == []


@pytest.mark.parametrize(
    ("videos", "chunk"), [(0, 256 << 10), (1000, 256 << 10), (200_000, 3 << 20), (10**9, 4 << 20)]
)
def test_columns_of_many_videos_have_larger_chunks(videos: int, chunk: int, tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    arrays = {ArrayName("c5/mean"): np.ones((8, 64), np.float32)}  # 1 KB of a video
    given = VideoFeatures(arrays, np.arange(8), np.arange(8.0), VideoAttributes("x"))
    with write_track(path, IDENTITY, {}, videos=videos) as track:
        for number in range(100):
            track.write(str(number), given)
    with open_track(path) as track:
        (column,) = (each for each in track.index.columns if each.name == "features/c5/mean")
        assert column.chunk_rows * column.row_bytes == pytest.approx(chunk, rel=0.1)
        assert all(same(track.read(name), given) for name in track.ids)


def test_writer_knows_what_waits(tmp_path: Path) -> None:
    with write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        track.write("a", features())
        assert "a" in track and track.attributes("a") == features().attributes
        assert ids_in(tmp_path / "t.h5") == []
    assert ids_in(tmp_path / "t.h5") == ["a"]


def test_videos_are_committed_after_a_second_and_after_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        for number in range(COMMIT_VIDEOS):
            assert ids_in(tmp_path / "t.h5") == []
            track.write(str(number), features())
        assert len(ids_in(tmp_path / "t.h5")) == COMMIT_VIDEOS
        now += 1.5
        track.write("late", features())
        assert "late" in ids_in(tmp_path / "t.h5")


WRITER = """
import sys
from pathlib import Path
from toy_tracks import IDENTITY, random_features
from vqa_twostage.pipeline.cache.track_writer import write_track
with write_track(Path(sys.argv[1]), IDENTITY, {}) as track:
    for number in range(100_000):
        track.write(str(number), random_features(number, frames=40))
        print(number, flush=True)
"""


@pytest.mark.soak(3, 50)
def test_killed_writer_leaves_only_complete_videos(tmp_path: Path, times: int) -> None:
    generator = random.Random(0)
    for number in range(times):
        path = tmp_path / f"{number}.h5"
        # one commit is made after a second, the others after 64 videos
        after = (1, 70, 150)[number] if number < 3 else generator.randrange(1, 200)
        with started(WRITER, path) as writer:
            assert writer.stdout is not None
            for _ in range(after):
                assert writer.stdout.readline()
            time.sleep(generator.uniform(0, 0.05))
            os.kill(writer.pid, signal.SIGKILL)
            written = after + len(writer.stdout.read().split())
        with open_track(path) as track:
            assert len(track) >= written - COMMIT_VIDEOS
            for name in track.ids:
                assert same(track.read(name), random_features(int(name), frames=40))
        # writing can continue, whatever the killed writer left incomplete
        write(path, more=random_features(5))
        assert verify(path) == []


@contextmanager
def started(program: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A program in another process, which has ended after the block."""
    support = Path(__file__).parents[2] / "support"
    path = os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.soak(20, 1000)
def test_power_failure_at_any_moment_loses_nothing_that_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(track_writer, "CHUNK_BYTES", 512)
    videos = {str(number): random_features(number, 1 + number % 3) for number in range(5)}
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    committed = 0
    with monkeypatch.context() as patch:
        disk.watch(patch)
        with write_track(folder / "t.h5", IDENTITY, {}) as track:
            for number, (name, video) in enumerate(videos.items()):
                track.write(name, video)
                track.commit()
                committed = disk.promise(number + 1)
    assert committed == 5 and len(disk.moments) > 60
    generator = random.Random(0)
    after = tmp_path / "after"
    for number in range(times):
        moment = disk.moments[number * len(disk.moments) // times]
        disk.fail(moment, after, generator)
        if not (after / "t.h5").exists():
            assert moment.promised == 0
            continue
        with open_track(after / "t.h5") as track:
            assert len(track) >= moment.promised
            for name in track.ids:
                assert same(track.read(name), videos[name])
        write(after / "t.h5", more=random_features(9))
        assert len(ids_in(after / "t.h5")) > moment.promised


# --- disks that take no more ---


@pytest.mark.soak(12, 500)
def test_disk_that_takes_no_more_loses_only_what_was_not_committed(
    tmp_path: Path, times: int
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with full_disk(folder, 1000, errno.ENOSPC) as disk:
        write_in_commits(folder / "whole.h5", [], openings=2)
    assert 50 < disk.changes < 1000
    for number in range(times):
        error = ERRORS[number % len(ERRORS)]
        room = number * disk.changes // times
        check_refused(full_disk(folder, room, error), folder / f"{number}.h5", error, openings=2)


@pytest.mark.soak(12, 500)
def test_file_that_may_not_grow_loses_only_what_was_not_committed(
    tmp_path: Path, times: int
) -> None:
    """The writes of the HDF5 library are refused too, in the middle of what they write."""
    write_in_commits(tmp_path / "whole.h5", [], openings=1)
    size = (tmp_path / "whole.h5").stat().st_size
    for number in range(times):
        disk = small_files(number * size // times)
        check_refused(disk, tmp_path / f"{number}.h5", errno.EFBIG, openings=1)


def check_refused(
    disk: AbstractContextManager[object], path: Path, error: int, openings: int
) -> None:
    """Writes a new track to a disk that takes only a part of it."""
    committed: list[str] = []
    with disk, pytest.raises(UsageError) as refused:
        write_in_commits(path, committed, openings)
    message = str(refused.value)
    assert os.strerror(error) in message and str(path) in message and "\n" not in message
    if path.exists():
        with open_track(path) as track:
            assert set(committed) <= set(track.ids)
            assert all(same(track.read(name), random_features(int(name))) for name in track.ids)
    else:
        assert not committed
    write(path, more=random_features(99))
    assert verify(path) == [] and {"more", *committed} <= set(ids_in(path))
    assert list(path.parent.glob(f"{path.name}*")) == [path]


def write_in_commits(path: Path, committed: list[str], openings: int) -> None:
    for opening in range(openings):
        with write_track(path, IDENTITY, {}) as track:
            for number in range(3):
                name = str(10 * opening + number)
                track.write(name, random_features(int(name)))
                track.commit()
                committed.append(name)


def test_ctrl_c_during_a_commit_takes_effect_when_the_videos_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = h5py.File.flush

    def press(self: h5py.File) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        original(self)

    with write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        track.write("a", features())
        monkeypatch.setattr(h5py.File, "flush", press)
        with pytest.raises(KeyboardInterrupt):
            track.commit()
        monkeypatch.undo()
    assert ids_in(tmp_path / "t.h5") == ["a"] and verify(tmp_path / "t.h5") == []


def test_ignored_ctrl_c_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = h5py.File.flush
    monkeypatch.setattr(
        h5py.File, "flush", lambda self: (os.kill(os.getpid(), signal.SIGINT), original(self))
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        write(tmp_path / "t.h5", a=features())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert ids_in(tmp_path / "t.h5") == ["a"]


def test_exception_in_the_block_keeps_what_was_written(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        track.write("a", features())
        raise KeyboardInterrupt
    assert ids_in(tmp_path / "t.h5") == ["a"]


# --- locks ---


def test_track_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with (
        write_track(path, IDENTITY, {}) as track,
        pytest.raises(UsageError, match="in use by another process"),
        write_track(path, IDENTITY, {}),
    ):
        pass
    with write_track(path, IDENTITY, {}) as track:
        track.write("a", features())
    assert ids_in(path) == ["a"]


@pytest.mark.parametrize("number", sorted(locks.WITHOUT_LOCKS))
def test_file_system_without_locks_is_used_with_a_warning(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(handle: int, what: int) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    write(tmp_path / "t.h5", a=features())
    assert ids_in(tmp_path / "t.h5") == ["a"]
    assert "without locks" in caplog.text and "no other process writes" in caplog.text


BESIDE = """
import os, sys
from pathlib import Path
from toy_tracks import IDENTITY, random_features
from vqa_twostage.pipeline.cache import track_writer
from vqa_twostage.pipeline.errors import UsageError

# for which each of them would start a process
track_writer.structure_faults = lambda *_: []
for number in range(int(sys.argv[2])):
    path = Path(sys.argv[1]) / f"{number}.h5"
    start, go = os.pipe()
    writers = []
    for writer in range(3):
        writers.append(os.fork())
        if writers[-1]:
            continue
        os.close(go)
        os.read(start, 1)  # returns for all of them at once
        code = 1
        try:
            with track_writer.write_track(path, IDENTITY, {}, wait=writer < 2) as track:
                track.write(str(writer), random_features(writer))
            code = 0
        except UsageError as error:
            code = 2 if "in use by another process" in str(error) else 1
        finally:
            os._exit(code)
    os.close(go)
    os.close(start)
    print(*(os.waitpid(writer, 0)[1] >> 8 for writer in writers), flush=True)
"""


@pytest.mark.soak(5, 100)
def test_writers_that_start_together_lose_nothing(
    tmp_path: Path, times: int, record_property: Callable[[str, object], None]
) -> None:
    """Three make a track: two of them wait for each other, the third is refused or not."""
    refused = 0
    with started(BESIDE, tmp_path, times) as writers:
        assert writers.stdout is not None
        lines = writers.stdout.read().splitlines()
    assert len(lines) == times
    for number, line in enumerate(lines):
        assert line in ("0 0 0", "0 0 2")
        with open_track(tmp_path / f"{number}.h5") as track:
            assert track.ids == (["0", "1", "2"] if line == "0 0 0" else ["0", "1"])
            assert all(same(track.read(name), random_features(int(name))) for name in track.ids)
        refused += line == "0 0 2"
    record_property("refused", refused)


COMMITS = """
import sys
from pathlib import Path
from toy_tracks import IDENTITY, random_features
from vqa_twostage.pipeline.cache.track_writer import write_track
with write_track(Path(sys.argv[1]), IDENTITY, {}) as track:
    for number in range(1_000_000):
        track.write(str(number % 10), random_features(number))
        track.commit()
        if number == 10:
            print("begun", flush=True)
"""


@pytest.mark.soak(20, 1000)
def test_reader_beside_a_writer_sees_whole_commits(tmp_path: Path, times: int) -> None:
    """The writer does nothing but commit, and writes the same ten videos again and again."""
    path = tmp_path / "t.h5"
    newest = 0
    with started(COMMITS, path) as writer:
        assert writer.stdout is not None and writer.stdout.readline()
        for _ in range(times):
            with open_track(path) as track:
                seeds = {name: track.attributes(name).source_size for name in track.ids}
                assert len(seeds) == 10 and max(seeds.values()) - min(seeds.values()) == 9
                for name, seed in seeds.items():
                    assert same(track.read(name), random_features(seed))
            assert max(seeds.values()) >= newest
            newest = max(seeds.values())
        assert writer.poll() is None


def test_file_that_came_meanwhile_stays(tmp_path: Path) -> None:
    with journal.written_whole(tmp_path / "f", replacing=False) as aside:
        aside.write_text("ours")
        (tmp_path / "f").write_text("theirs")
    assert (tmp_path / "f").read_text() == "theirs" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("links", [True, False])
def test_new_file_is_named_on_any_file_system(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with journal.written_whole(tmp_path / "f", replacing=False) as aside:
        aside.write_text("ours")
    assert (tmp_path / "f").read_text() == "ours" and len(list(tmp_path.iterdir())) == 1


def test_imported_track_keeps_float32_and_non_finite_values(tmp_path: Path) -> None:
    array = np.array([[np.nan, np.inf, 1e30, 0.1]], np.float32)
    video = VideoFeatures(
        {ArrayName("theirs/mean"): array}, np.zeros(1, int), np.zeros(1), VideoAttributes("x")
    )
    with write_track(tmp_path / "t.h5", replace(IDENTITY, source="digest"), {}) as track:
        track.write("a", video)
    with open_track(tmp_path / "t.h5") as track:
        stored = track.read("a").arrays[ArrayName("theirs/mean")]
    assert stored.dtype == np.float32 and np.array_equal(stored, array, equal_nan=True)
    assert verify(tmp_path / "t.h5") == []


def test_files_are_put_in_place_in_one_step(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("before")
    with (
        suppress(ZeroDivisionError),
        journal.written_whole(tmp_path / "f", replacing=True) as aside,
    ):
        aside.write_text("after")
        raise ZeroDivisionError
    assert (tmp_path / "f").read_text() == "before" and len(list(tmp_path.iterdir())) == 1
