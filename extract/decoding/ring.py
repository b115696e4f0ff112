"""Frames of one video on their way from a decoding process to the main one, through memory that
both see.

It has room for a few frames and is used round and round: the decoder waits while it is full, so a
video's length does not decide how much is held. Nothing is locked: one process writes, one reads,
and either may die at any moment.

Letters: k frames taken at once, H x W pixels.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable
from threading import Lock

import numpy as np
from jaxtyping import Int64, UInt8

# counters: frames put in, frames taken out, bytes of the description, signs of life
WRITTEN, RELEASED, DESCRIBED, BEATS = 0, 1, 2, 3
MOST_FRAMES = 4096
ROWS_AT = 64  # where each frame's row stands, after the counters
DESCRIPTION_AT = ROWS_AT + 8 * MOST_FRAMES
FRAMES_AT = 1 << 28  # pages that nobody writes to take no memory
LEAST_FRAMES = 2
POLL_S = 0.002
_BARRIER = Lock()  # taking and releasing any lock is one


class Memory:
    """A file without a place on disk where the system has such, of which only the written parts
    take memory.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):  # unlike /dev/shm, it is not held small in containers
            self._handle = os.memfd_create("vqa-frames")
            self.path, self._file = f"/proc/{os.getpid()}/fd/{self._handle}", None
        else:
            self._file = tempfile.NamedTemporaryFile(prefix="vqa-frames-")  # noqa: SIM115  closed in `close`
            self._handle, self.path = self._file.fileno(), self._file.name

    def clear(self) -> None:
        """Makes it ready for another video. It keeps its size, so that what is still mapped stays
        readable.
        """
        os.pwrite(self._handle, bytes(ROWS_AT), 0)

    def close(self) -> None:
        """What is mapped stays readable; closing twice does nothing."""
        if self._file is not None:
            self._file.close()
        elif self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Ring:
    """One process's view of a `Memory`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.waited = 0.0  # seconds, in `put`
        self._head = _map(path, DESCRIPTION_AT)
        self._counters = np.frombuffer(self._head, np.int64, ROWS_AT // 8)
        self._rows = np.frombuffer(self._head, np.int64, MOST_FRAMES, ROWS_AT)

    def describe(self, description: bytes) -> None:
        """Says what the frames are of, before the first of them."""
        end = DESCRIPTION_AT + len(description)
        assert end <= FRAMES_AT, "frames would be written over the description"
        _map(self._path, end)[DESCRIPTION_AT:end] = description
        _in_order()
        self._counters[DESCRIBED] = len(description)

    def description(self) -> bytes | None:
        """What the other side said, or None while it has not."""
        end = DESCRIPTION_AT + int(self._counters[DESCRIBED])
        return _map(self._path, end)[DESCRIPTION_AT:end] if end > DESCRIPTION_AT else None

    def beat(self) -> None:
        """Says that this side works on it, though there is nothing to hand over yet."""
        self._counters[BEATS] += 1

    @property
    def progress(self) -> int:
        """A number that changes as long as the other side is at work."""
        return int(self._counters[BEATS] + self._counters[WRITTEN])

    def shape(self, height: int, width: int, most: int, room: int) -> None:
        """Makes room for frames of that size: ``room`` bytes of them, at most ``most``, at least
        two.
        """
        size = height * width * 3
        capacity = min(max(LEAST_FRAMES, min(most, room // size)), MOST_FRAMES)
        memory = _map(self._path, FRAMES_AT + capacity * size)
        self._frames = np.frombuffer(memory, np.uint8, capacity * size, FRAMES_AT).reshape(
            capacity, height, width, 3
        )

    def put(self, row: int, image: UInt8[np.ndarray, "H W 3"], alive: Callable[[], bool]) -> None:
        """Hands over one frame; waits while there is no room. SystemExit when nobody is ``alive``
        to take any.
        """
        written = int(self._counters[WRITTEN])
        while written - self._counters[RELEASED] >= len(self._frames):
            if not alive():
                raise SystemExit
            before = time.perf_counter()
            time.sleep(POLL_S)
            self.waited += time.perf_counter() - before
        place = written % len(self._frames)
        self._frames[place] = image
        self._rows[place] = row
        _in_order()
        self._counters[WRITTEN] = written + 1  # what is counted is there

    def take(self) -> tuple[Int64[np.ndarray, " k"], UInt8[np.ndarray, "k H W 3"]]:
        """Rows and pixels of frames that are there, perhaps none; valid until `release`."""
        released = int(self._counters[RELEASED])
        place = released % len(self._frames)
        stop = min(place + int(self._counters[WRITTEN]) - released, len(self._frames))
        _in_order()
        return self._rows[place:stop], self._frames[place:stop]

    def release(self, frames: int) -> None:
        _in_order()
        self._counters[RELEASED] += frames


def _in_order() -> None:
    """What was read and written before is so for the other side too: not every processor keeps to
    the order.
    """
    with _BARRIER:
        pass


def _map(path: str, size: int) -> mmap.mmap:
    with open(path, "r+b") as file:
        if os.fstat(file.fileno()).st_size < size:
            os.ftruncate(file.fileno(), size)
        return mmap.mmap(file.fileno(), size)
