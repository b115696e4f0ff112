"""What a disk may hold after the power fails: everything that was forced to it, and any part of
what was not.

File systems keep writes in memory until `fsync`, in no order, and a write may reach the disk in
part. Names change in the order in which they were changed, and are on the disk for certain when
their folder was forced there.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# a write (offset, bytes), or the size that a file was given
Change = tuple[int, bytes] | int


@dataclass(frozen=True)
class Moment:
    """The disk at one moment: files are known by their inodes.

    ``forced`` are the contents on the disk, ``changes`` what was done to them since; ``names`` the
    folder on the disk, then after each change of it. ``promised`` is what the program had told.
    """

    forced: dict[int, bytes]
    changes: dict[int, list[Change]]
    names: list[dict[str, int]]
    promised: int


class Disk:
    """Watches what a program does to the files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.moments: list[Moment] = []
        self._forced: dict[int, bytes] = {}
        self._changes: dict[int, list[Change]] = {}
        self._names: list[dict[str, int]] = [{}]
        self._promised = 0

    def promise(self, number: int) -> int:
        self._promised = number
        self._note()
        return number

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        pwrite, ftruncate, fsync = os.pwrite, os.ftruncate, os.fsync

        def note_write(handle: int, data: Any, offset: int) -> int:
            self._changed(handle).append((offset, bytes(data)))
            self._note()
            return pwrite(handle, data, offset)

        def note_size(handle: int, size: int) -> None:
            self._changed(handle).append(size)
            self._note()
            ftruncate(handle, size)

        def note_force(handle: int) -> None:
            fsync(handle)
            inode = os.fstat(handle).st_ino
            if Path(f"/proc/self/fd/{handle}").is_dir():
                self._names = [self._listing()]
            else:
                self._forced[inode] = Path(f"/proc/self/fd/{handle}").read_bytes()
                self._changes[inode] = []
            self._note()

        def note_name(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any, **options: Any) -> Any:
                try:
                    return call(*arguments, **options)
                finally:
                    self._names.append(self._listing())
                    self._note()

            return called

        patch.setattr(os, "pwrite", note_write)
        patch.setattr(os, "ftruncate", note_size)
        patch.setattr(os, "fsync", note_force)
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, note_name(getattr(Path, name)))
        patch.setattr(os, "link", note_name(os.link))

    def _changed(self, handle: int) -> list[Change]:
        return self._changes.setdefault(os.fstat(handle).st_ino, [])

    def _listing(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in self.folder.iterdir()}

    def _note(self) -> None:
        # what was written in another way than by pwrite, and not forced, may be there in part
        for path in self.folder.iterdir():
            inode = path.stat().st_ino
            if inode not in self._forced and not self._changes.get(inode):
                self._changes[inode] = [(0, path.read_bytes())]
        changes = {inode: list(changes) for inode, changes in self._changes.items()}
        names = list(self._names)
        self.moments.append(Moment(dict(self._forced), changes, names, self._promised))

    def fail(self, moment: Moment, folder: Path, generator: random.Random) -> None:
        """Makes ``folder`` what the disk may hold when the power fails at ``moment``."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, inode in generator.choice(moment.names).items():
            content = bytearray(moment.forced.get(inode, b""))
            for change in moment.changes.get(inode, []):
                if generator.random() < 0.5:
                    _apply(content, change, generator)
            (folder / name).write_bytes(content)


def _apply(content: bytearray, change: Change, generator: random.Random) -> None:
    if isinstance(change, int):
        content[change:] = bytes(max(0, change - len(content)))
        return
    offset, data = change
    if generator.random() < 0.3:
        data = data[: generator.randrange(len(data) + 1)]
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data
