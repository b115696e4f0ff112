"""A disk that takes no more from some change on, as one that is full, broken or read-only."""

from __future__ import annotations

import errno
import io
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
ON_HANDLES = ("pwrite", "ftruncate", "fsync")
ON_NAMES = ("link", "replace", "rename", "mkdir")


class FullDisk:
    """Counts the changes to what lies in ``folder``, and refuses those after the first ``room``."""

    def __init__(self, folder: Path, room: int, error: int) -> None:
        self.changes = 0
        self._folder, self._room, self._error = str(folder), room, error

    def change(self, where: Any) -> None:
        """``where`` is a path, or the handle of an open file."""
        place = os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else str(where)
        if not place.startswith(self._folder):
            return
        self.changes += 1
        if self.changes > self._room:
            raise OSError(self._error, os.strerror(self._error), place)


@contextmanager
def full_disk(folder: Path, room: int, error: int) -> Iterator[FullDisk]:
    """Within the block the calls by which Python changes files fail; the HDF5 library's own do not
    (`small_files` bounds those).
    """
    disk = FullDisk(folder, room, error)
    open_file, open_handle = io.open, os.open

    class File(io.FileIO):
        def write(self, data: Any) -> int:
            disk.change(self.fileno())
            return super().write(data) or 0

    def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+") or isinstance(file, int):
            return open_file(file, mode, *arguments, **options)
        disk.change(os.path.abspath(file))
        buffered = io.BufferedWriter(File(file, mode.replace("b", "").replace("t", "")))
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding="utf-8", newline="")

    def creating(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            disk.change(os.path.abspath(path))
        return open_handle(path, flags, *arguments, **options)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(where: Any, *arguments: Any, **options: Any) -> Any:
            disk.change(where if isinstance(where, int) else os.path.abspath(where))
            return call(where, *arguments, **options)

        return called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opening)
        patch.setattr(os, "open", creating)
        for name in (*ON_HANDLES, *ON_NAMES):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield disk


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file grows beyond ``most`` bytes: the system refuses it, whichever library writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
