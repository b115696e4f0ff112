"""A file with a write-ahead log: its changes take effect all at once, or not at all.

Changes are gathered in memory until `JournaledFile.commit`, which writes them to a journal beside
the file, renames the journal into place (from then on the commit counts), applies it to the file,
and removes it. Whoever opens the file and finds a journal replays it first, or, when only reading,
reads as if it had been replayed. Each step is forced to the disk before the next one begins, so
this holds for a power failure as well as for a killed process. `docs/cache_format.md` describes the
journal's bytes.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.cache.locks import lock_to_write
from vqa_twostage.pipeline.checksum import ENCODED, checksum, checksum_of_all

MAGIC = b"VQAJRNL1"
# the magic, the file's size when all is applied, how many changes follow
HEADER = struct.Struct("<8sQQ")
# offset and length of a change, before its bytes
CHANGE = struct.Struct("<QQ")
# what a commit may add to a file beside the bytes that it changes: chunks that are partly empty
LARGEST_GAP = 256 << 20


class DamagedJournalError(Exception):
    """A journal whose bytes are not those that were written."""


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


class JournaledFile(io.RawIOBase):
    """A binary file in the sense of Python's ``io``; without ``writable`` it changes nothing.

    A writer has the file locked. FileNotFoundError, DamagedJournalError, and BlockingIOError where
    another process has the file open to write.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self._path, self._writable, self._place = path, writable, 0
        self._changes: list[tuple[int, bytes]] = []
        self._handle = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            if writable:
                lock_to_write(self._handle, path)
                if not os.path.samestat(os.fstat(self._handle), path.stat()):
                    # what is written to a file that has no name any more is lost
                    raise BlockingIOError(f"{path} was replaced by another process")
            self._size = os.fstat(self._handle).st_size
            journal = _read_journal(path)
            if journal is not None:
                self._size, self._changes = journal
                if writable:
                    self._replay(self._size)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes, uncommitted changes included."""
        return self._size

    def commit(self, tail: bytes = b"") -> None:
        """Makes all changes since the last commit take effect in one step, with ``tail`` behind
        them.

        The tail is no part of what this object reads and writes. OSError where the disk does not
        take it: then nothing has changed, or the journal is complete and the next opening replays
        it.
        """
        size = self._size + len(tail)
        changes = [*self._changes, (self._size, tail)] if tail else self._changes
        journal = journal_of(self._path)
        aside = journal.with_name(journal.name + ".new")
        try:
            _write_journal(aside, size, changes)
            aside.replace(journal)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(journal.parent)
        self._changes = changes
        self._replay(size)

    def _replay(self, size: int) -> None:
        for offset, data in self._changes:
            done = 0
            while done < len(data):
                done += os.pwrite(self._handle, data[done:], offset + done)
        os.ftruncate(self._handle, size)
        os.fsync(self._handle)
        journal_of(self._path).unlink()
        self._changes = []

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fills ``target``, contiguous bytes, from ``offset`` on; EOFError beyond the end."""
        done = 0
        while done < len(target):
            count = os.preadv(self._handle, [target[done:]], offset + done)
            if count == 0 and not self._changes:
                raise EOFError(f"{self._path} ends before {offset + len(target)}")
            if count == 0:  # what is missing is in the changes, or was never written
                target[done:] = bytes(len(target) - done)
                break
            done += count
        for start, data in self._changes:
            left = max(offset, start)
            right = min(offset + len(target), start + len(data))
            if left < right:
                target[left - offset : right - offset] = data[left - start : right - start]

    # the interface of a binary file; h5py passes buffers that are not Python's memoryviews

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        length = max(0, min(len(target), self._size - self._place))
        self.read_into(target[:length], self._place)
        self._place += length
        return length

    def write(self, data: Any) -> int:
        if not self._writable:
            raise io.UnsupportedOperation("write")
        kept = bytes(data)
        self._changes.append((self._place, kept))
        self._place += len(kept)
        self._size = max(self._size, self._place)
        return len(kept)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._place if size is None else size
        # changes beyond are gone: they must not come back when the file grows again
        self._changes = [
            (offset, data[: self._size - offset])
            for offset, data in self._changes
            if offset < self._size
        ]
        return self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = (
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        )
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._writable

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Discards what was not committed."""
        if not self.closed:
            os.close(self._handle)
        super().close()


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to the disk: a file that was made or renamed is found again."""
    if os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def written_whole(path: Path, *, replacing: bool) -> Iterator[Path]:
    """Gives the path of a new file beside ``path``, and at the end puts it in its place, on the
    disk.

    Without ``replacing`` a file that another process has put there meanwhile stays.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        if replacing:
            aside.replace(path)
        else:
            _name_new(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _name_new(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            aside.replace(path)


def _write_journal(path: Path, size: int, changes: list[tuple[int, bytes]]) -> None:
    parts = [HEADER.pack(MAGIC, size, len(changes))]
    for offset, data in changes:
        parts += [CHANGE.pack(offset, len(data)), data]
    with path.open("wb") as file:
        file.writelines(parts)
        file.write(ENCODED.pack(checksum_of_all(parts)))
        file.flush()
        os.fsync(file.fileno())


def _read_journal(path: Path) -> tuple[int, list[tuple[int, bytes]]] | None:
    """The file's size and the changes; None where there is no journal."""
    try:
        data = memoryview(journal_of(path).read_bytes())
    except FileNotFoundError:
        return None
    body, changes = data[: -ENCODED.size], []
    if len(data) < HEADER.size + ENCODED.size or data[-ENCODED.size :] != ENCODED.pack(
        checksum(body)
    ):
        raise DamagedJournalError(f"{journal_of(path)} is damaged")
    magic, size, count = HEADER.unpack_from(body)
    place = HEADER.size
    try:
        for _ in range(count):
            offset, length = CHANGE.unpack_from(body, place)
            place += CHANGE.size + length
            changes.append((offset, bytes(body[place - length : place])))
    except (struct.error, OverflowError):  # a length that no memory has
        place = -1
    # from a stranger it may have a right checksum, and make a file of any size
    most = 2 * path.stat().st_size + len(body) + LARGEST_GAP
    inside = size <= most and all(start + len(bytes_) <= size for start, bytes_ in changes)
    if magic != MAGIC or place != len(body) or not inside:
        raise DamagedJournalError(f"{journal_of(path)} is damaged")
    return size, changes
