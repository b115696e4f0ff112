"""Videos at addresses are copied to a bounded scratch folder ahead of the decoders, and removed
behind them; a download that fails costs its video alone.
"""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.extract.decoding import fetching
from vqa_twostage.extract.decoding.fetching import (
    LOCK,
    PREFIX,
    TRIES,
    Scratch,
    VideoFiles,
    copied_in_parts,
    remove_left_behind,
)
from vqa_twostage.extract.decoding.probe import probe_all
from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.extract.decoding.workers import DecodeRequest, decode_videos
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import GB
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile, files_named

PIECE = 1000  # bytes that are copied between two looks at the scratch folder


class Store:
    """Files in memory, whose downloads tests break. ``failing``: name -> what happens in the middle
    of each of so many of its downloads; ``looks``: what is called after each piece.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.failing: dict[str, list[Callable[[], None]]] = {}
        self.looks: list[Callable[[], object]] = []
        self.downloads: list[str] = []
        patch.setattr(MemoryFileSystem, "store", {})
        patch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
        patch.setattr(MemoryFileSystem, "get_file", self._get_file)
        patch.setattr(fetching, "PAUSE_S", 0.001)

    def put(self, contents: dict[str, bytes]) -> list[VideoFile]:
        MemoryFileSystem().pipe({f"/videos/{name}": content for name, content in contents.items()})
        found = {file.name: file for file in files_named("memory://videos", "x")}
        return [found[name] for name in contents]

    def _get_file(self, rpath: str, lpath: str, callback: Any = None, **_: Any) -> None:
        name = rpath.rpartition("/")[2]
        self.downloads.append(name)
        content = MemoryFileSystem().cat_file(rpath)
        fail = self.failing[name].pop(0) if self.failing.get(name) else None
        with open(lpath, "wb") as file:
            for start in range(0, len(content), PIECE):
                if fail is not None and start >= len(content) // 2:
                    fail()
                    return  # without a word, as some servers end
                file.write(content[start : start + PIECE])
                file.flush()
                for look in self.looks:
                    look()
                callback.relative_update(min(PIECE, len(content) - start))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


def cut() -> None:
    """The connection ends without an error."""


def reset() -> None:
    raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")


def refused() -> None:
    raise PermissionError(errno.EACCES, "AccessDenied")


def full() -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


def gone() -> None:
    raise FileNotFoundError("gone")


def taken(files: VideoFiles, number: int) -> Path:
    """The file of a video, once it has arrived."""
    until = time.monotonic() + 30
    while not files.arrived(number):
        assert time.monotonic() < until, "it never arrives"
        time.sleep(0.001)
    return files.path(number)[0]


def frames_of(videos: list[tuple[str, VideoFile]], scratch: Scratch) -> dict[str, Any]:
    """The frames of each video, or why it has none."""
    request = DecodeRequest("uniform:frames=3", "pyav", scratch=scratch)
    found: dict[str, Any] = {}
    for stream in decode_videos(videos, request, workers=2):
        try:
            header, frames = stream.open()
            found[stream.id] = header.source, [image.copy() for _, image in frames]
            stream.summary()
        except VideoError as error:
            found[stream.id] = error
    return found


def test_frames_of_copies_are_those_of_the_files(store: Store, clips: Path, tmp_path: Path) -> None:
    names = [path.name for path in sorted(clips.glob("*.mp4"))]
    remote = store.put({name: (clips / name).read_bytes() for name in names})
    local = frames_of([(name, clips / name) for name in names], Scratch())
    mixed = [remote[0], clips / names[1], *remote[2:]]
    copied = frames_of(list(zip(names, mixed, strict=True)), Scratch(str(tmp_path)))
    assert [*copied] == names
    for name, file in zip(names, mixed, strict=True):
        assert np.array_equal(np.concatenate(copied[name][1]), np.concatenate(local[name][1]))
        source = copied[name][0]
        assert source.digest == local[name][0].digest
        if isinstance(file, RemoteFile):  # as its listing says, not as its copy
            assert (source.size, source.mtime_ns) == (file.size, file.mtime_ns)
    assert not [*tmp_path.iterdir()]


def test_video_that_cannot_be_copied_is_told_in_its_place_and_the_others_are_decoded(
    store: Store, clips: Path, tmp_path: Path
) -> None:
    clip = (clips / "testsrc.mp4").read_bytes()
    names = ["a.mp4", "cut.mp4", "b.mp4", "closed.mp4", "c.mp4", "gone.mp4"]
    remote = store.put(dict.fromkeys(names, clip))
    store.failing |= {"cut.mp4": [reset] * TRIES, "closed.mp4": [refused], "gone.mp4": [gone]}
    missing = RemoteFile("memory://videos/missing.mp4")
    videos = [*zip(names, remote, strict=True), ("missing.mp4", missing)]
    found = frames_of(videos, Scratch(str(tmp_path)))
    reasons = {name: str(item) for name, item in found.items() if isinstance(item, VideoError)}
    assert reasons == {
        "cut.mp4": "could not be copied in 3 tries: the connection broke off "
        "(ConnectionResetError: [Errno 104] connection reset by peer)",
        "closed.mp4": "cannot be copied: no permission; check the credentials of the environment, "
        "and what they may read (PermissionError: [Errno 13] AccessDenied)",
        "gone.mp4": "file is gone since its folder was listed",
        "missing.mp4": "file is missing",
    }
    kinds = {name: found[name].kind for name in reasons}
    assert kinds == dict(
        zip(sorted(reasons), ["fetch", "fetch", "missing", "missing"], strict=True)
    ) | {"cut.mp4": "fetch", "closed.mp4": "fetch"}
    assert store.downloads.count("closed.mp4") == 1  # asked again it would be refused again
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("fault", [cut, reset])
def test_download_that_breaks_off_is_tried_again(
    fault: Callable[[], None], store: Store, tmp_path: Path
) -> None:
    (file,) = store.put({"a.mp4": b"x" * 5000})
    store.failing["a.mp4"] = [fault] * (TRIES - 1)
    with closing(VideoFiles([file], Scratch(str(tmp_path)), 8)) as files:
        assert taken(files, 0).read_bytes() == b"x" * 5000
    assert store.downloads == ["a.mp4"] * TRIES


def test_file_that_is_shorter_or_longer_than_its_listing_says_is_not_used(
    store: Store, tmp_path: Path
) -> None:
    short, long = store.put({"a.mp4": b"x" * 5000, "b.mp4": b"x" * 5000})
    store.put({"a.mp4": b"x" * 4000, "b.mp4": b"x" * 50_000})
    with closing(VideoFiles([short, long], Scratch(str(tmp_path)), 8)) as files:
        with pytest.raises(VideoError, match="in 3 tries: 4000 of 5000 bytes arrived"):
            taken(files, 0)
        with pytest.raises(VideoError, match="it has more than the 5000 bytes that were listed"):
            taken(files, 1)
        assert not [*tmp_path.glob("*/*.mp4")]


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    room=st.integers(1000, 20_000),
    ahead=st.integers(1, 8),
)
def test_scratch_folder_never_holds_more_than_it_may(
    sizes: list[int], room: int, ahead: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        store = Store(patch)
        scratch, most = tmp_path_factory.mktemp("scratch"), [0]

        def look() -> None:
            copies = sizes_held(scratch)
            # one alone may be larger
            if len(copies) > 1:
                most[0] = max(most[0], sum(copies))
            assert len(copies) <= ahead

        store.looks.append(look)
        contents = {f"{n}.mp4": bytes([n]) * size for n, size in enumerate(sizes)}
        remote = store.put(contents)
        with closing(VideoFiles(remote, Scratch(str(scratch), room / GB), ahead)) as files:
            for number, content in enumerate(contents.values()):
                assert taken(files, number).read_bytes() == content
                files.let_go(number)
        assert most[0] <= room
        assert not [*scratch.iterdir()]


def sizes_held(scratch: Path) -> list[int]:
    """Of the copies in a scratch folder, those on their way included."""
    sizes = []
    for path in scratch.glob(f"{PREFIX}*/*.mp4"):
        with suppress(FileNotFoundError):  # it was let go meanwhile
            sizes.append(path.stat().st_size)
    return sizes


def test_later_videos_are_copied_while_an_earlier_one_is_decoded(
    store: Store, tmp_path: Path
) -> None:
    remote = store.put({f"{n}.mp4": b"x" * 2000 for n in range(9)})
    with closing(VideoFiles(remote, Scratch(str(tmp_path)), 5)) as files:
        taken(files, 0)
        taken(files, 4)
        time.sleep(0.1)
        assert not files.arrived(5)
        files.let_go(0)
        taken(files, 5)


def test_copies_come_in_parts_that_are_gone_when_the_next_is_asked_for(
    store: Store, tmp_path: Path
) -> None:
    remote = store.put({f"{n}.mp4": bytes([n]) * 4000 for n in range(7)})
    store.failing["2.mp4"] = [refused]
    sizes = []
    for part in copied_in_parts(remote, Scratch(str(tmp_path), 16_500 / GB)):
        sizes.append(len(part))
        for file, path in part:
            if isinstance(path, VideoError):
                assert file.name == "2.mp4"
            else:
                assert path.read_bytes()[0] == int(file.name[0])
        assert sum(sizes_held(tmp_path)) <= 16_500
    assert sizes == [2, 2, 2, 1]
    assert not [*tmp_path.iterdir()]


def test_disk_with_less_room_than_allowed_makes_smaller_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = store.put({f"{n}.mp4": bytes([n]) * 4000 for n in range(7)})
    used = type("Usage", (), {"free": 20_000})
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: used)
    sizes = []
    for part in copied_in_parts(remote, Scratch(str(tmp_path))):
        sizes.append(len(part))
        assert sum(sizes_held(tmp_path)) <= fetching.FREE_SHARE * 20_000
    assert sizes == [2, 2, 2, 1]


def test_what_a_killed_run_left_is_removed_and_what_a_running_one_holds_stays(
    store: Store, tmp_path: Path
) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "000001.mp4").write_bytes(b"x" * 100)
    other = tmp_path / f"{PREFIX}of-something-else"  # which has no lock
    other.mkdir()
    (file,) = store.put({"a.mp4": b"x" * 5000})
    with closing(VideoFiles([file], Scratch(str(tmp_path)), 8)) as files:
        copy = taken(files, 0)
        remove_left_behind(tmp_path)
        assert copy.exists() and not left.exists() and other.exists()


def test_end_in_the_middle_of_downloads_leaves_nothing(
    store: Store, clips: Path, tmp_path: Path
) -> None:
    clip = (clips / "testsrc.mp4").read_bytes()
    names = [f"{n}.mp4" for n in range(8)]
    remote = store.put(dict.fromkeys(names, clip))
    waiting = threading.Event()
    store.looks.append(lambda: waiting.wait(0.05) and None)
    streams = decode_videos(
        list(zip(names, remote, strict=True)),
        DecodeRequest("uniform:frames=2", "pyav", scratch=Scratch(str(tmp_path))),
        workers=1,
    )
    next(streams)
    assert [*tmp_path.iterdir()]
    streams.close()
    waiting.set()
    time.sleep(0.2)
    assert not [*tmp_path.iterdir()]


def test_disk_that_is_full_ends_the_run_in_one_message(store: Store, tmp_path: Path) -> None:
    (file,) = store.put({"a.mp4": b"x" * 5000})
    store.failing["a.mp4"] = [full]
    with (
        closing(VideoFiles([file], Scratch(str(tmp_path)), 8)) as files,
        pytest.raises(UsageError, match=rf"scratch folder {tmp_path} is full; give another with"),
    ):
        taken(files, 0)


def test_scratch_folder_that_is_removed_ends_the_run_in_one_message(
    store: Store, tmp_path: Path
) -> None:
    (file,) = store.put({"a.mp4": b"x" * 5000})
    store.looks.append(lambda: [shutil.rmtree(folder) for folder in tmp_path.iterdir()])
    with (
        closing(VideoFiles([file], Scratch(str(tmp_path)), 8)) as files,
        pytest.raises(
            UsageError, match=r"the scratch folder .* was removed while it was used; run"
        ),
    ):
        taken(files, 0)


def test_video_that_the_disk_has_no_room_for_fails_alone(store: Store, tmp_path: Path) -> None:
    huge = RemoteFile("memory://videos/huge.mp4", size=10**18)
    (small,) = store.put({"small.mp4": b"x"})
    with closing(VideoFiles([huge, small], Scratch(str(tmp_path)), 8)) as files:
        with pytest.raises(VideoError, match=r"has 1000000000\.0 GB, and the scratch folder .* GB"):
            taken(files, 0)
        files.let_go(0)
        assert taken(files, 1).read_bytes() == b"x"


def test_many_failures_in_a_row_end_the_run(store: Store, tmp_path: Path) -> None:
    names = [f"{n}.mp4" for n in range(40)]
    remote = store.put(dict.fromkeys(names, b"x" * 2000))
    store.failing |= {name: [refused] for name in names}
    store.failing["5.mp4"] = []
    errors = []
    with closing(VideoFiles(remote, Scratch(str(tmp_path)), 99)) as files:
        for number in range(40):
            try:
                taken(files, number)
            except (VideoError, UsageError) as error:
                errors.append(error)
    # five, one that arrives, and twenty more
    ends = next(number for number, error in enumerate(errors) if isinstance(error, UsageError))
    assert ends + 1 == 5 + fetching.MOST_IN_A_ROW
    assert str(errors[ends]).startswith("the last 20 videos could not be copied, so the run ends")


def test_scratch_folder_that_cannot_be_made_is_one_message(store: Store, tmp_path: Path) -> None:
    (file,) = store.put({"a.mp4": b"x"})
    (tmp_path / "file").touch()
    with pytest.raises(
        UsageError, match=r"copied to the scratch folder .*file.* give another with"
    ):
        VideoFiles([file], Scratch(str(tmp_path / "file")), 8)


def test_files_of_this_machine_make_no_scratch_folder(clips: Path, tmp_path: Path) -> None:
    clip = clips / "testsrc.mp4"
    with closing(VideoFiles([clip], Scratch(str(tmp_path / "scratch")), 8)) as files:
        assert files.arrived(0) and files.path(0) == (clip, None)
        files.let_go(0)
    assert clip.exists() and not (tmp_path / "scratch").exists()


def test_check_opens_copies_and_names_what_is_wrong(
    store: Store, clips: Path, tmp_path: Path
) -> None:
    clip = (clips / "testsrc.mp4").read_bytes()
    contents = {f"{n}.mp4": clip for n in range(12)} | {"text.mp4": b"no video" * 100}
    remote = store.put(contents)
    store.failing["3.mp4"] = [refused]
    videos = [*zip(contents, remote, strict=True), ("own", clips / "testsrc.mp4")]
    reasons = probe_all(videos, None, workers=1, scratch=Scratch(str(tmp_path), 60_000 / GB))
    assert [*reasons] == ["3.mp4", "text.mp4"]
    assert reasons["3.mp4"].startswith("cannot be copied: no permission")
    assert not [*tmp_path.iterdir()]


def test_copy_of_the_content_that_is_held_is_not_decoded(
    store: Store, clips: Path, tmp_path: Path
) -> None:
    clip = clips / "testsrc.mp4"
    (file,) = store.put({"a.mp4": clip.read_bytes()})
    assert isinstance(file, RemoteFile)
    same = RemoteFile(file.address, file.size, file.mtime_ns, held=Source.of(clip).digest)
    other = RemoteFile(file.address, file.size, file.mtime_ns, held="another")
    found = frames_of([("same", same), ("other", other)], Scratch(str(tmp_path)))
    assert isinstance(found["same"], VideoError) and found["same"].kind == "unchanged"
    assert len(found["other"][1]) > 0
