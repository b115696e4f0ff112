"""Frames of one video on their way from a decoding process to the main one, through memory that
both share.

It has room for a few frames and is used round and round: the decoder waits while it is full, so a
video's length does not decide how much is held. Nothing is locked: one process writes, one reads,
and either may die at any moment.

Dimensions: k frames taken at once, H x W pixels.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import numpy as np
from jaxtyping import Int64, UInt8

# counters: frames put in, frames taken out, bytes of the description, heartbeats
WRITTEN, RELEASED, DESCRIBED, HEARTBEATS = 0, 1, 2, 3
MOST_FRAMES = 4096
ROWS_AT = 64  # where each frame's row stands, after the counters
DESCRIPTION_AT = ROWS_AT + 8 * MOST_FRAMES
FRAMES_AT = 1 << 28  # pages that nobody writes to take no memory
LEAST_FRAMES = 2
POLL_S = 0.002
_BARRIER = Lock()  # taking and releasing any lock is one
_HELD: dict[str, int] = {}
"""The handles of buffers that this process keeps open, by their paths."""


class SharedBuffer:
    """A file that both processes map, in memory where the system has such files. Only the parts
    that are written to take memory.
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

    def is_let_go(self) -> bool:
        """Whether no process works on it (`occupied`): one that is killed may still write a little
        before it is gone.
        """
        import fcntl

        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._handle, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        """What is mapped stays readable. Closing twice does nothing."""
        if self._file is not None:
            self._file.close()
        elif self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def hold_open(paths: Iterable[str]) -> None:
    """Opens buffers for as long as this process lives, which may not open them later on."""
    _HELD.update((path, os.open(path, os.O_RDWR)) for path in paths)


@contextmanager
def occupied(path: str) -> Iterator[None]:
    """Meanwhile the buffer is not `SharedBuffer.is_let_go`, unless this process ends, however it
    does.
    """
    import fcntl

    handle = _HELD.get(path)
    if handle is None:  # it is the process that made the buffer
        yield
        return
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


class ControlBlock:
    """The beginning of a `SharedBuffer`, as one process sees it: what is known of the video, and
    how far both sides are.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        memory = _map(path, DESCRIPTION_AT)
        self.counters = np.frombuffer(memory, np.int64, ROWS_AT // 8)
        self.rows = np.frombuffer(memory, np.int64, MOST_FRAMES, ROWS_AT)

    def describe(self, description: bytes) -> None:
        """Tells the other side what the frames are of, before the first of them."""
        end = DESCRIPTION_AT + len(description)
        assert end <= FRAMES_AT, "frames would be written over the description"
        _map(self.path, end)[DESCRIPTION_AT:end] = description
        _memory_barrier()
        self.counters[DESCRIBED] = len(description)

    def description(self) -> bytes | None:
        """What the other side wrote with `describe`, or None until it has."""
        end = DESCRIPTION_AT + int(self.counters[DESCRIBED])
        return _map(self.path, end)[DESCRIPTION_AT:end] if end > DESCRIPTION_AT else None

    def heartbeat(self) -> None:
        """Tells the other side that this one is at work, though it has nothing to hand over yet."""
        self.counters[HEARTBEATS] += 1

    @property
    def progress(self) -> int:
        """A number that changes as long as the other side is at work."""
        return int(self.counters[HEARTBEATS] + self.counters[WRITTEN])


class Ring:
    """The frames of a `SharedBuffer`, as one process sees them; both sides make it of equal size.

    It has ``room`` for so many bytes of frames, but for no more than ``most`` frames, and for two
    at least.
    """

    def __init__(
        self, control: ControlBlock, height: int, width: int, most: int, room: int
    ) -> None:
        self._counters, self._rows = control.counters, control.rows
        size = height * width * 3
        capacity = min(max(LEAST_FRAMES, min(most, room // size)), MOST_FRAMES)
        memory = _map(control.path, FRAMES_AT + capacity * size)
        self._frames = np.frombuffer(memory, np.uint8, capacity * size, FRAMES_AT).reshape(
            capacity, height, width, 3
        )
        self.waited = 0.0
        """Seconds that `put` has waited for room."""

    def put(self, row: int, image: UInt8[np.ndarray, "H W 3"], alive: Callable[[], bool]) -> None:
        """Hands over one frame; waits while there is no room. SystemExit when the other side is no
        longer ``alive`` to take any.
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
        _memory_barrier()
        self._counters[WRITTEN] = written + 1  # only now: what is counted is there

    def take(self) -> tuple[Int64[np.ndarray, " k"], UInt8[np.ndarray, "k H W 3"]]:
        """Rows and pixels of frames that are there, perhaps none; valid until `release`."""
        released = int(self._counters[RELEASED])
        place = released % len(self._frames)
        stop = min(place + int(self._counters[WRITTEN]) - released, len(self._frames))
        _memory_barrier()
        return self._rows[place:stop], self._frames[place:stop]

    def release(self, frames: int) -> None:
        _memory_barrier()
        self._counters[RELEASED] += frames


def _memory_barrier() -> None:
    """The other side sees what was written before this call before it sees what is written after:
    not every processor keeps to the order by itself.
    """
    with _BARRIER:
        pass


def _map(path: str, size: int) -> mmap.mmap:
    held = _HELD.get(path)
    handle = os.open(path, os.O_RDWR) if held is None else held
    try:
        if os.fstat(handle).st_size < size:
            os.ftruncate(handle, size)
        return mmap.mmap(handle, size)
    finally:
        if held is None:
            os.close(handle)
