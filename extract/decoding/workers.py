"""Decoding in processes of their own: a file that hangs or crashes a decoder costs one video, not
the run.

Workers never import torch. Videos come back in the order they were given, each a stream of frames.

Letters: T rows of n sampled frames (n is 1 except for clips), D distinct frames among them, k
frames at once.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from pebble import ProcessFuture

from vqa_twostage.extract.decoding.containers import MISSING
from vqa_twostage.extract.decoding.processes import as_video_error, decoding_processes
from vqa_twostage.extract.decoding.ring import POLL_S, Memory, Ring
from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.extract.sampler import Sampler
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.raw_format import RawFormat

# a decoder that gives nothing for longer than this is taken to hang: a fixed time and one per
# megabyte
TIMEOUT_S = 120.0
TIMEOUT_S_PER_MB = 1.0
RINGS_BYTES = 256 << 20  # frames on their way, of all videos together
AT_ONCE = 16  # frames given at once: resized they may be larger than the video's own


@dataclass(frozen=True)
class Order:
    """What decoding processes are asked for: specs; ``clips`` false where the first frame of each
    is enough.

    ``sampler_digest`` is that of the file that the sampler reads, if it does, when the run began.
    ``raw``: what the dataset's files without a container are.
    """

    sampler: str
    decoder: str
    clips: bool = True
    sampler_digest: str = ""
    raw: RawFormat | None = None


@dataclass(frozen=True)
class Source:
    """A video file as it was when it was read. ``digest`` is of its bytes."""

    size: int
    mtime_ns: int
    digest: str

    @staticmethod
    def of(path: Path) -> Source:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for who writes to it
                raise VideoError("not a regular file")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise VideoError(MISSING, "missing") from None
        except OSError as error:
            raise VideoError(f"file cannot be read: {error.strerror}") from None
        return Source(status.st_size, status.st_mtime_ns, digest)


@dataclass(frozen=True)
class Opened:
    """What is known of a video before its pixels.

    ``index``: which frames the sampler chose. ``distinct``: the same, ascending and without
    repeats, with their ``timestamp`` in seconds. ``width`` and ``height`` in pixels, upright;
    ``length`` in frames; ``damage`` is "" or what is wrong with the file.
    """

    index: Int64[np.ndarray, "T n"]
    distinct: Int64[np.ndarray, " D"]
    timestamp: Float64[np.ndarray, " D"]
    source: Source
    width: int
    height: int
    fps: float
    length: int
    damage: str

    @property
    def repeated(self) -> int:
        """How many of the sampled frames are there a second time: the video, or its end, is shorter
        than asked for.
        """
        rows = int((np.diff(self.index[:, 0]) == 0).sum())
        return rows + int((np.diff(self.index, axis=1) == 0).sum())


@dataclass(frozen=True)
class Decoded:
    """What is known once the last frame is out: who gave the pixels, and the seconds the worker
    spent on it.

    Without those in which it waited for frames to be taken.
    """

    decoder: str
    seconds: float


@dataclass
class Incoming:
    """A video as the main process receives it: `opened`, then all `frames`, then `decoded`."""

    id: str
    memory: Memory
    _future: ProcessFuture
    _room: int
    _patience: float  # seconds without a sign of life
    _killed: bool = False

    def opened(self) -> Opened:
        """VideoError when the video cannot be used."""
        self._ring = Ring(self.memory.path)
        self._wait(lambda: self._ring.description() is not None)
        description = self._ring.description()
        if description is None:
            self.decoded()
            raise AssertionError("a worker ended well without describing its video")
        self._opened: Opened = pickle.loads(description)
        self._ring.shape(
            self._opened.height, self._opened.width, len(self._opened.distinct), self._room
        )
        return self._opened

    def frames(self) -> Iterator[tuple[Int64[np.ndarray, " k"], UInt8[np.ndarray, "k H W 3"]]]:
        """All distinct frames, some at a time: their numbers and pixels, the latter valid until the
        next are asked for.

        VideoError where the decoder fails, crashes or hangs midway.
        """
        missing = len(self._opened.distinct)
        while missing:
            self._wait(lambda: len(self._ring.take()[0]) > 0)
            rows, pixels = (items[:AT_ONCE] for items in self._ring.take())
            if not len(rows):
                break
            yield self._opened.distinct[rows], pixels
            self._ring.release(len(rows))
            missing -= len(rows)

    def decoded(self) -> Decoded:
        """Waits for the worker's end; VideoError says what it ended with."""
        try:
            decoded: Decoded = self._future.result(timeout=self._patience)
            return decoded
        except UsageError:
            raise
        except FutureTimeout:
            raise self._hung() from None
        except Exception as error:  # noqa: BLE001  whatever a file can do to a decoder costs that file alone
            raise as_video_error(error, self._patience) from None

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Until ``ready`` or the worker has ended; VideoError when it gives no sign of life for too
        long.
        """
        quiet, progress = time.monotonic(), self._ring.progress
        while not ready() and not self._future.done():
            if self._ring.progress != progress:
                quiet, progress = time.monotonic(), self._ring.progress
            if time.monotonic() - quiet > self._patience:
                raise self._hung()
            time.sleep(POLL_S)

    def _hung(self) -> VideoError:
        self._killed = self._future.cancel()  # another process takes its place
        return as_video_error(FutureTimeout(), self._patience)

    def end(self) -> bool:
        """Kills the worker unless it has ended; whether it was killed."""
        return self._killed or (not self._future.done() and self._future.cancel())


def default_workers() -> int:
    return min(8, max(1, (os.cpu_count() or 1) // 2))


def read_all(
    videos: Sequence[tuple[str, Path]], order: Order, workers: int
) -> Generator[Incoming, None, None]:
    """Decodes ``videos`` (id, path) in ``workers`` processes, ahead of who takes them, and gives
    them in order.

    A video must be done with before the next is asked for.
    """
    workers = min(workers, len(videos))
    if not workers:
        return
    ahead = 2 * workers
    room = RINGS_BYTES // ahead
    with ExitStack() as memories, decoding_processes(workers) as pool:
        free = deque(memories.enter_context(closing(Memory())) for _ in range(ahead))
        waiting, todo = deque[Incoming](), deque(videos)
        try:
            while todo or waiting:
                while todo and free:
                    memory, (name, path) = free.popleft(), todo.popleft()
                    future = pool.schedule(decode_into, (memory.path, room, name, path, order))
                    waiting.append(Incoming(name, memory, future, room, _patience(path)))
                incoming = waiting.popleft()
                yield incoming
                if incoming.end():  # it may still write a little before it is gone
                    incoming.memory.close()
                    free.append(memories.enter_context(closing(Memory())))
                else:
                    incoming.memory.clear()
                    free.append(incoming.memory)
        except BaseException:
            pool.stop()
            raise


def decode_into(memory: str, room: int, name: str, path: Path, order: Order) -> Decoded:
    """In a worker: opens a video, chooses frames, decodes them into ``memory``; VideoError where it
    cannot be used.
    """
    start, parent = time.perf_counter(), os.getppid()
    choose = _sampler(order.sampler)
    if choose.digest != order.sampler_digest:
        raise VideoError(
            f"what the sampler {order.sampler} reads has changed since the run began; run it again",
            "sampling",
        )
    source = Source.of(path)
    ring = Ring(memory)
    with open_video(path, order.decoder, order.raw, id=name, heartbeat=ring.beat) as video:
        index = np.asarray(choose(video), np.int64)
        if not index.size:
            raise VideoError(f"the sampler {order.sampler} chose no frame", "sampling")
        index = index.reshape(len(index), -1)[:, : None if order.clips else 1]
        distinct = np.unique(index)
        timestamp = video.timestamps[distinct]
        opened = Opened(
            index,
            distinct,
            timestamp,
            source,
            width=video.width,
            height=video.height,
            fps=video.fps,
            length=len(video),
            damage=video.damage,
        )
        ring.shape(video.height, video.width, len(distinct), room)
        ring.describe(pickle.dumps(opened))
        for row, image in video.stream(distinct):
            ring.put(row, image, alive=lambda: os.getppid() == parent)
        return Decoded(video.decoder, time.perf_counter() - start - ring.waited)


@cache
def _sampler(text: str) -> Sampler:
    """Built once a process: it may have read a file."""
    sampler: Sampler = spec.resolve("extract.samplers", text).build()
    return sampler


def _patience(path: Path) -> float:
    try:
        return TIMEOUT_S + TIMEOUT_S_PER_MB * path.stat().st_size / 1e6
    except (OSError, ValueError):  # the latter: a path that no file can have
        return TIMEOUT_S
