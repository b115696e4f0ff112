"""A file with a write-ahead log: its changes take effect all at once, or not at all.

Changes are gathered in memory until `commit`, which writes them to a journal beside the file,
renames the journal into place (from then on the commit counts), applies it to the file, and removes
it. Whoever opens the file and finds a journal replays it first, or, when only reading, reads as if
it had been replayed. This protects against a killed process, not against a power failure: nothing
is forced to the disk.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
from pathlib import Path
from typing import Any

# offset and length of a change, before its bytes; the first is (size of the file, -1)
ENTRY = struct.Struct("<qq")


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + ".journal")


class JournaledFile(io.RawIOBase):
    """A binary file in the sense of Python's ``io``; without ``writable`` it changes nothing.

    BlockingIOError when another process has the file open to write (or, for a writer, at all).
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self._path, self._writable, self._place = path, writable, 0
        self._handle = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        self._changes: list[tuple[int, bytes]] = []
        try:
            self._lock()
            self._size = os.fstat(self._handle).st_size
            self._load()
            if writable and self._changes:
                self._replay()
        except BaseException:
            os.close(self._handle)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(
                self._handle, (fcntl.LOCK_EX if self._writable else fcntl.LOCK_SH) | fcntl.LOCK_NB
            )
        except BlockingIOError:
            raise
        except OSError:
            pass  # some network file systems have no locks

    def commit(self) -> None:
        """Makes all changes since the last commit take effect in one step."""
        if not self._changes and self._size == os.fstat(self._handle).st_size:
            return
        journal = journal_of(self._path)
        aside = journal.with_name(journal.name + ".new")
        with aside.open("wb") as file:
            file.write(ENTRY.pack(self._size, -1))
            for offset, data in self._changes:
                file.write(ENTRY.pack(offset, len(data)))
                file.write(data)
        aside.replace(journal)
        self._replay()

    def _replay(self) -> None:
        for offset, data in self._changes:
            done = 0
            while done < len(data):
                done += os.pwrite(self._handle, data[done:], offset + done)
        os.ftruncate(self._handle, self._size)
        journal_of(self._path).unlink()
        self._changes.clear()

    def _load(self) -> None:
        try:
            data = journal_of(self._path).read_bytes()
        except FileNotFoundError:
            return
        self._size, _ = ENTRY.unpack_from(data)
        place = ENTRY.size
        while place < len(data):
            offset, length = ENTRY.unpack_from(data, place)
            place += ENTRY.size + length
            self._changes.append((offset, data[place - length : place]))

    # the interface of a binary file; h5py passes buffers that are not Python's memoryviews

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        start, length = self._place, max(0, min(len(target), self._size - self._place))
        found = os.pread(self._handle, length, start)
        target[:length] = found + bytes(length - len(found))
        for offset, data in self._changes:
            left, right = max(start, offset), min(start + length, offset + len(data))
            if left < right:
                target[left - start : right - start] = data[left - offset : right - offset]
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
