"""Videos at addresses as files that can be decoded: copied into a scratch folder ahead of the
decoders, a few at a time, and removed behind them.

Decoding processes have no network (decision 0017), so the process that asks for videos copies them.
The scratch folder holds no more bytes than it may, but for a single video that is larger; nothing
stays in it, and what a killed process left there is removed by the next one.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.extract.decoding.ring import POLL_S
from vqa_twostage.pipeline.confinement import folders_of
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import GB, SCRATCH_GB
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile, opened, reason_of

TRIES = 3  # of a download that is cut or fails
PAUSE_S = 0.5  # before the second one; before the third twice as long
THREADS = 4  # downloads at the same time
END_S = 1.0  # that the end of a run waits for them
# so many videos in a row that cannot be copied end the run: it is not the videos
MOST_IN_A_ROW = 20
FREE_SHARE = 0.9  # of the room that is free on the disk, the most that is used
PREFIX, UNFINISHED, LOCK = "vqa-videos-", "vqa-new-videos-", "lock"


@dataclass(frozen=True)
class Scratch:
    """Where copies of videos lie while they are decoded: in ``folder`` ("": that of temporary
    files), at most ``gb`` GB (10^9 bytes).
    """

    folder: str = ""
    gb: float = SCRATCH_GB


DEFAULT_SCRATCH = Scratch()


@dataclass(frozen=True)
class Copied:
    """Of a video that was copied from an address: when it was changed there, and the digest that it
    had when features of it were taken, where it may have it still.
    """

    mtime_ns: int
    held: str = ""


class VideoFiles:
    """The files of videos, in their order: those of this machine as they are, the others as copies.

    `arrived` says whether the file of a video is there, `path` where, and `let_go` that nothing
    reads it any more. Videos are let go in about their order, or no room is made for later ones.
    """

    def __init__(self, files: Sequence[VideoFile], scratch: Scratch, ahead: int) -> None:
        """``ahead``: how many copies there may be at once, whatever their size."""
        self._files = files
        remote = [n for n, file in enumerate(files) if isinstance(file, RemoteFile)]
        self._copies = _Copies(files, remote, scratch, ahead) if remote else None

    @property
    def folders(self) -> list[str]:
        """The folders that decoding processes read."""
        local = folders_of(file for file in self._files if isinstance(file, Path))
        return [*local, str(self._copies.folder)] if self._copies else local

    @property
    def room(self) -> float:
        """Bytes that copies may take at once."""
        return self._copies.room if self._copies else 0.0

    def arrived(self, number: int) -> bool:
        """Whether `path` answers at once."""
        return self._copies is None or self._copies.arrived(number)

    def path(self, number: int) -> tuple[Path, Copied | None]:
        """The file of a video that has arrived.

        VideoError where it cannot be copied; UsageError where none can.
        """
        file = self._files[number]
        if isinstance(file, Path):
            return file, None
        assert self._copies
        return self._copies.path(number), Copied(file.mtime_ns, file.held)

    def let_go(self, number: int) -> None:
        """Removes the copy of a video, where it is one."""
        if self._copies is not None:
            self._copies.let_go(number)

    def close(self) -> None:
        """Ends downloads, and removes all copies."""
        if self._copies is not None:
            self._copies.close()


def copied_in_parts(
    files: Sequence[VideoFile], scratch: Scratch
) -> Iterator[list[tuple[VideoFile, Path | VideoError]]]:
    """All files of this machine in their order, copies of those at addresses included, with each
    its path or the reason why it cannot be copied.

    They come in parts of at most half of the scratch folder, and a part is gone when the next is
    asked for. UsageError where none can be copied.
    """
    with closing(VideoFiles(files, scratch, len(files))) as copies:
        first, part, size = 0, list[tuple[VideoFile, Path | VideoError]](), 0
        for number, file in enumerate(files):
            more = (isinstance(file, RemoteFile) and file.size) or 0
            if part and size + more > copies.room / 2:
                yield part
                for earlier in range(first, number):
                    copies.let_go(earlier)
                first, part, size = number, [], 0
            while not copies.arrived(number):
                time.sleep(POLL_S)
            try:
                part.append((file, copies.path(number)[0]))
            except VideoError as error:
                part.append((file, error))
            size += more
        if part:
            yield part


class _Copies:
    """Downloads by a few threads, in the order of the videos."""

    def __init__(
        self, files: Sequence[VideoFile], remote: Sequence[int], scratch: Scratch, ahead: int
    ) -> None:
        self.folder, self._lock_file = _new_folder(scratch)
        self.room = min(scratch.gb * GB, FREE_SHARE * shutil.disk_usage(self.folder).free)
        self._files, self._ahead = files, ahead
        self._queue = iter(remote)
        self._remote = frozenset(remote)
        self._sizes: dict[int, int] = {}  # of what is there or on its way
        self._results: dict[int, BaseException | None] = {}
        self._failed_in_a_row = 0
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        # room is given in the order of videos, so that the one that is waited for has its own
        self._turn = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name="download", daemon=True)
            for _ in range(min(THREADS, len(remote)))
        ]
        for thread in self._threads:
            thread.start()

    def arrived(self, number: int) -> bool:
        return number not in self._remote or number in self._results

    def path(self, number: int) -> Path:
        error = self._results[number]
        if error is None:
            self._failed_in_a_row = 0
            return self._path(number)
        self._failed_in_a_row += getattr(error, "kind", "") == "fetch"
        if self._failed_in_a_row >= MOST_IN_A_ROW:
            raise UsageError(
                f"the last {self._failed_in_a_row} videos could not be copied, so the run ends "
                f"here: {self._files[number]}: {error}. What is done is kept; run the same "
                "command again to go on"
            )
        raise error

    def let_go(self, number: int) -> None:
        if number in self._remote:
            self._path(number).unlink(missing_ok=True)
            with self._changed:
                self._sizes.pop(number, None)
                self._changed.notify_all()

    def close(self) -> None:
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        # one that waits for the network finds its folder gone, when it no longer does
        until = time.monotonic() + END_S
        try:
            for thread in self._threads:
                thread.join(max(0.0, until - time.monotonic()))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def _path(self, number: int) -> Path:
        file = self._files[number]
        suffix = file.suffix if file.suffix[1:].isalnum() else ""
        return self.folder / f"{number:06d}{suffix}"

    def _work(self) -> None:
        while (number := self._next()) is not None:
            file = self._files[number]
            assert isinstance(file, RemoteFile)
            error: BaseException | None = None
            try:
                self._check_room(file)
                _download(file, self._path(number), self._stopped)
            # all that a library can raise, to the thread that asks for the video
            except BaseException as raised:  # noqa: BLE001
                error = raised if isinstance(raised, UsageError) else _as_video_error(file, raised)
            self._put(number, error)

    def _next(self) -> int | None:
        """The next video that is to be copied, once there is room for it; None at the end."""
        with self._turn:
            number = next(self._queue, None)
            if number is None:
                return None
            file = self._files[number]
            size = (isinstance(file, RemoteFile) and file.size) or 0
            with self._changed:
                while not self._stopped.is_set() and not self._has_room(size):
                    self._changed.wait()
                self._sizes[number] = size
        return None if self._stopped.is_set() else number

    def _has_room(self, size: int) -> bool:
        there = self._sizes.values()
        return not there or (len(there) < self._ahead and sum(there) + size <= self.room)

    def _check_room(self, file: RemoteFile) -> None:
        """VideoError for a video that is larger than the disk has room for."""
        size, free = file.size or 0, shutil.disk_usage(self.folder).free
        if size > self.room and size > free:
            raise VideoError(
                f"has {size / GB:.1f} GB, and the scratch folder {self.folder.parent} has "
                f"{free / GB:.1f} GB of room; give another with --scratch",
                "fetch",
            )

    def _put(self, number: int, error: BaseException | None) -> None:
        if error is not None:
            self._path(number).unlink(missing_ok=True)
        with self._changed:
            if error is not None:
                self._sizes.pop(number, None)
            self._results[number] = error
            self._changed.notify_all()


def _download(file: RemoteFile, path: Path, stopped: threading.Event) -> None:
    """Copies a file; VideoError where it cannot be done in `TRIES` tries, or is not there."""
    if file.size is None:
        raise VideoError("file is missing", "missing")
    reason = ""
    for attempt in range(TRIES):
        if attempt:
            stopped.wait(PAUSE_S * 2 ** (attempt - 1))
        try:
            _copy(file, path, stopped)
            size = path.stat().st_size
            if size == file.size:
                return
            reason = f"{size} of {file.size} bytes arrived"
        except FileNotFoundError:
            if stopped.is_set():
                raise VideoError("the run ended", "fetch") from None
            if not path.parent.is_dir():
                raise UsageError(
                    f"the scratch folder {path.parent} was removed while it was used; run the "
                    "same command again, which goes on"
                ) from None
            raise VideoError("file is gone since its folder was listed", "missing") from None
        except (_StoppedError, UsageError):
            raise
        except _LongerError:
            reason = f"it has more than the {file.size} bytes that were listed"
        except PermissionError as error:
            raise VideoError(f"cannot be copied: {reason_of(error)}", "fetch") from None
        except Exception as error:  # noqa: BLE001  each library has its own kinds
            _raise_where_disk_is_full(error, path.parent.parent)
            reason = reason_of(error)
        path.unlink(missing_ok=True)
    raise VideoError(f"could not be copied in {TRIES} tries: {reason}", "fetch")


class _StoppedError(Exception):
    """The run has ended meanwhile."""


class _LongerError(Exception):
    """More bytes come than the listing says."""


def _copy(file: RemoteFile, path: Path, stopped: threading.Event) -> None:
    system, place = opened(file.address)
    system.get_file(place, str(path), callback=_watching(file.size or 0, stopped))


def _watching(size: int, stopped: threading.Event) -> Any:
    """What a library calls with the bytes that it has copied."""
    from fsspec.callbacks import Callback

    class Watching(Callback):
        def call(self, *args: Any, **options: Any) -> None:
            if stopped.is_set():
                raise _StoppedError
            if self.value > size:
                raise _LongerError

    return Watching()


def _raise_where_disk_is_full(error: Exception, folder: Path) -> None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise UsageError(
            f"the scratch folder {folder} is full; give another with --scratch, or let it take "
            "less with --scratch-gb. What is done is kept; run the same command again to go on"
        ) from None


def _as_video_error(file: RemoteFile, error: BaseException) -> VideoError:
    if isinstance(error, VideoError):
        return error
    if isinstance(error, _StoppedError):
        return VideoError("the run ended", "fetch")
    return VideoError(f"cannot be copied: {reason_of(error)}", "fetch")


# --- the folder ---


def _new_folder(scratch: Scratch) -> tuple[Path, int | None]:
    """A folder of this run's own, which it holds locked, after those of runs that were killed are
    removed; UsageError where none can be made.
    """
    parent = Path(scratch.folder or tempfile.gettempdir())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        remove_left_behind(parent)
        made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=parent))
        lock = _locked(made / LOCK)
        # locked before it has the name by which others look for it
        return made.rename(parent / made.name.replace(UNFINISHED, PREFIX)), lock
    except OSError as error:
        raise UsageError(
            f"videos cannot be copied to the scratch folder {parent} ({error.strerror}); give "
            "another with --scratch"
        ) from None


def remove_left_behind(parent: Path) -> None:
    """Removes the folders of runs that ended without doing so."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # of another user, or removed meanwhile
            lock = _locked(folder / LOCK, make=False)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(path: Path, make: bool = True) -> int | None:
    """A handle that holds a file locked until its process ends, or None where another has it, or
    the system locks no files.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
