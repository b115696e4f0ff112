"""Videos are decoded in processes of their own, which never import torch: a file that hangs or
crashes a decoder costs one video, not the run.

Videos come back in the order in which they were asked for, each a stream of frames.

Dimensions: T samples of n frames (n is 1 except for clips), D distinct frames among them, k frames
at once, H x W pixels.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from vqa_twostage.extract.decoding.decoding_errors import as_video_error
from vqa_twostage.extract.decoding.fetching import DEFAULT_SCRATCH, Copied, Scratch, VideoFiles
from vqa_twostage.extract.decoding.ring import (
    POLL_S,
    ControlBlock,
    Ring,
    SharedBuffer,
    hold_open,
    occupied,
)
from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.extract.sampler import Sampler
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.confinement import (
    confine,
    processor_time,
    tell_what_is_not_offered,
)
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import DEFAULTS, GB, Limits
from vqa_twostage.pipeline.processes import start_processes
from vqa_twostage.pipeline.raw_format import RawFormat
from vqa_twostage.pipeline.remote_files import VideoFile

# a decoder that shows no progress for longer than this is taken to hang: a fixed time and one per
# megabyte
TIMEOUT_S = 120.0
TIMEOUT_S_PER_MB = 1.0
OUT_OF_TIME = getattr(signal, "SIGXCPU", 0)  # what ends a process after its `processor_time`
RINGS_BYTES = 256 << 20  # frames on their way, of all videos together
AHEAD = 2  # videos that are decoded or being decoded, for each process
AT_ONCE = 16  # frames handed over at once: resized they may be larger than the video's own

SomeFrames = tuple[Int64[np.ndarray, " k"], UInt8[np.ndarray, "k H W 3"]]


@dataclass(frozen=True)
class DecodeRequest:
    """What decoding processes do with every video.

    ``sampler``: a spec. ``decoder``: one of `extract.options.DECODERS`. ``clips``: whether any
    network looks at clips; if none does, the first frame of each clip is enough. ``neighbours``:
    whether any network looks at differences, and the neighbour of each frame is needed as well.
    ``sampler_digest``: the sampler's own when the run began. ``raw``: what the dataset's files
    without a container are. ``hdr``: what becomes of HDR, one of `extract.options.HDRS`.
    ``limits``: what a video may have and take. ``scratch``: where videos at addresses are copied
    to.
    """

    sampler: str
    decoder: str
    clips: bool = True
    sampler_digest: str = ""
    raw: RawFormat | None = None
    neighbours: bool = False
    hdr: str = "tonemap"
    limits: Limits = DEFAULTS
    scratch: Scratch = DEFAULT_SCRATCH


@dataclass(frozen=True, eq=False)
class VideoHeader:
    """What is known of a video before its pixels.

    ``index``: which frames the sampler chose. ``distinct``: those that are decoded, which are the
    same and, where asked for, their `neighbours`, ascending and without repeats, with their
    ``timestamp`` in seconds. ``width`` and ``height`` in pixels, upright; ``length`` in frames;
    ``note`` is "" or what should be known of how it was read.
    """

    index: Int64[np.ndarray, "T n"]
    distinct: Int64[np.ndarray, " D"]
    timestamp: Float64[np.ndarray, " D"]
    source: Source
    width: int
    height: int
    fps: float
    length: int
    note: str = ""

    @property
    def repeated(self) -> int:
        """How many of the sampled frames are repetitions: the video, or its end, is shorter than
        what was asked for.
        """
        samples = int((np.diff(self.index[:, 0]) == 0).sum())
        return samples + int((np.diff(self.index, axis=1) == 0).sum())


@dataclass(frozen=True)
class DecodeSummary:
    """What is known once the last frame is out.

    ``decoder``: what gave the pixels. ``seconds``: the worker's on this video, without those in
    which it waited for frames to be taken. ``damage``: "" or what is wrong with the file.
    """

    decoder: str
    seconds: float
    damage: str = ""


class DecodedStream:
    """A video as the main process receives it: `open` it, take all its frames, then ask for its
    `summary`.
    """

    def __init__(
        self,
        id: str,
        buffer: SharedBuffer,
        future: ProcessFuture[DecodeSummary],
        room: int,
        path: Path,
        limits: Limits,
    ) -> None:
        """``room``: bytes of frames."""
        self.id, self.buffer = id, buffer
        self._control = ControlBlock(buffer.path)
        self._future, self._room = future, room
        self._size, self._limits = _size_of(path), limits
        # seconds without progress before it is given up
        self._patience = TIMEOUT_S + TIMEOUT_S_PER_MB * self._size / 1e6
        self._killed = False

    def open(self) -> tuple[VideoHeader, Iterator[SomeFrames]]:
        """What is known of the video, and all its distinct frames, some at a time: their numbers
        and pixels.

        Pixels are valid until the next are asked for. VideoError when the video cannot be used, or
        where its decoder fails, crashes or hangs midway.
        """
        self._wait(lambda: self._control.description() is not None)
        description = self._control.description()
        if description is None:
            self.summary()  # raises what the worker ended with
            raise AssertionError("a worker ended well without describing its video")
        header: VideoHeader = pickle.loads(description)
        ring = Ring(self._control, header.height, header.width, len(header.distinct), self._room)
        return header, self._frames(header, ring)

    def _frames(self, header: VideoHeader, ring: Ring) -> Iterator[SomeFrames]:
        missing = len(header.distinct)
        while missing:
            self._wait(lambda: len(ring.take()[0]) > 0)
            rows, pixels = (items[:AT_ONCE] for items in ring.take())
            if not len(rows):  # the worker ended early: `summary` says why
                break
            yield header.distinct[rows], pixels
            ring.release(len(rows))
            missing -= len(rows)

    def summary(self) -> DecodeSummary:
        """Waits for the worker's end; VideoError where it failed."""
        try:
            summary: DecodeSummary = self._future.result(timeout=self._patience)
            return summary
        except UsageError:
            raise
        except FutureTimeout:
            raise self._hung() from None
        except ProcessExpired as error:
            if error.exitcode == -OUT_OF_TIME:
                raise self._limits.out_of_time(self._size) from None
            raise as_video_error(error, self._patience) from None
        except Exception as error:  # noqa: BLE001  whatever a file can do to a decoder costs that file alone
            raise as_video_error(error, self._patience) from None

    def stop(self) -> bool:
        """Kills the worker unless it has ended; whether it was killed."""
        return self._killed or (not self._future.done() and self._future.cancel())

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Until ``ready`` or the worker has ended; VideoError where it shows no progress for too
        long.
        """
        since, progress = time.monotonic(), self._control.progress
        while not ready() and not self._future.done():
            if self._control.progress != progress:
                since, progress = time.monotonic(), self._control.progress
            if time.monotonic() - since > self._patience:
                raise self._hung()
            time.sleep(POLL_S)

    def _hung(self) -> VideoError:
        self._killed = self._future.cancel()  # another process takes its place
        return as_video_error(FutureTimeout(), self._patience)


def default_workers() -> int:
    return min(8, max(1, (os.cpu_count() or 1) // 2))


def decode_videos(
    videos: Sequence[tuple[str, VideoFile]], request: DecodeRequest, workers: int
) -> Generator[DecodedStream, None, None]:
    """Decodes ``videos`` (id, file) in ``workers`` processes, ahead of the caller, and yields them
    in their order. Those at addresses are copied to this machine meanwhile.

    The caller must be done with a video before it asks for the next. UsageError where no video can
    be copied.
    """
    workers = min(workers, len(videos))
    if not workers:
        return
    with (
        closing(files_of(videos, request, workers)) as files,
        closing(DecodingProcesses(request, workers, files.folders)) as processes,
    ):
        yield from processes.decode(videos, files)


def files_of(
    videos: Sequence[tuple[str, VideoFile]], request: DecodeRequest, workers: int
) -> VideoFiles:
    return VideoFiles([file for _, file in videos], request.scratch, 2 * AHEAD * workers)


class DecodingProcesses:
    """``workers`` processes that may read files in ``folders``."""

    def __init__(self, request: DecodeRequest, workers: int, folders: Iterable[str]) -> None:
        tell_what_is_not_offered()
        self.folders = frozenset(folders)
        self._request, self._room = request, RINGS_BYTES // (AHEAD * workers)
        self._stack = ExitStack()
        self._buffers = [
            self._stack.enter_context(closing(SharedBuffer())) for _ in range(AHEAD * workers)
        ]
        paths = [buffer.path for buffer in self._buffers]
        arguments = (os.getpid(), paths, request, sorted(self.folders))
        self._pool = self._stack.enter_context(start_processes(workers, prepare_process, arguments))

    def close(self) -> None:
        self._stack.close()

    def decode(
        self, videos: Sequence[tuple[str, VideoFile]], files: VideoFiles
    ) -> Generator[DecodedStream, None, None]:
        """As `decode_videos`; ``files`` are those of ``videos``. What does not go on to the end
        ends the processes.
        """
        request, room = self._request, self._room
        taken, waiting = list[SharedBuffer](), deque[DecodedStream]()
        pending = deque(enumerate(name for name, _ in videos))
        try:
            while pending or waiting:
                while (
                    pending
                    and files.arrived(pending[0][0])
                    and (buffer := _free(self._buffers, taken))
                ):
                    buffer.clear()
                    taken.append(buffer)
                    number, name = pending.popleft()
                    target = buffer.path, room, name
                    future, path = _scheduled(self._pool, target, files, number, request)
                    waiting.append(DecodedStream(name, buffer, future, room, path, request.limits))
                if not waiting:  # until a process that was killed is gone, or a video has arrived
                    time.sleep(POLL_S)
                    continue
                stream = waiting.popleft()
                yield stream
                stream.stop()
                taken.remove(stream.buffer)
        except BaseException:
            self._pool.stop()
            raise


def _scheduled(
    pool: ProcessPool,
    target: tuple[str, int, str],
    files: VideoFiles,
    number: int,
    request: DecodeRequest,
) -> tuple[ProcessFuture[DecodeSummary], Path]:
    """What comes of the video ``number``, which has arrived, and its file."""
    try:
        path, copied = files.path(number)
    except VideoError as error:  # it is told where the video is asked for
        failed = ProcessFuture[DecodeSummary]()
        failed.set_exception(error)
        return failed, Path()
    call = (*target, path, request)
    future = pool.schedule(decode_into, call if copied is None else (*call, copied))
    future.add_done_callback(lambda _: files.let_go(number))
    return future, path


def _free(buffers: Sequence[SharedBuffer], taken: Sequence[SharedBuffer]) -> SharedBuffer | None:
    """One that no video is in, and that no process which was killed may still write to."""
    unused = (buffer for buffer in buffers if buffer not in taken and buffer.is_let_go())
    return next(unused, None)


def prepare_process(
    parent: int, buffers: Sequence[str], request: DecodeRequest, folders: Sequence[str]
) -> None:
    """What a decoding process does first: it opens all that it needs, and gives up the rest. It
    ends with the process ``parent``, which started it.

    ``folders``: those of the videos.
    """
    from vqa_twostage.pipeline.process_context import end_with

    end_with(parent)
    # what fails here fails again for each video, which then says so
    with suppress(Exception):
        hold_open(buffers)
        importlib.import_module("av")
        _sampler(request.sampler)  # it may read a file that lies anywhere
    confine(folders, request.limits.memory * GB)


def decode_into(
    buffer: str,
    room: int,
    name: str,
    path: Path,
    request: DecodeRequest,
    copied: Copied | None = None,
) -> DecodeSummary:
    """In a worker: opens a video, chooses frames, decodes them into the `SharedBuffer` at that
    path; VideoError where the video cannot be used.

    ``copied``: what is known of a file that is a copy.
    """
    limits, size = request.limits, _size_of(path)
    with occupied(buffer), limits.memory_named(), processor_time(limits.seconds_for(size)):
        return _decode_into(buffer, room, name, path, request, copied)


def _decode_into(
    buffer: str, room: int, name: str, path: Path, request: DecodeRequest, copied: Copied | None
) -> DecodeSummary:
    start, parent = time.perf_counter(), os.getppid()
    sampler = _sampler(request.sampler)
    if sampler.digest != request.sampler_digest:
        raise VideoError(
            f"what the sampler {request.sampler} reads has changed since the run began; "
            "run it again",
            "sampling",
        )
    source = Source.of(path)
    if copied is not None:
        source = replace(source, mtime_ns=copied.mtime_ns)
        if source.digest == copied.held:
            raise VideoError("only the time of its file has changed", "unchanged")
    control = ControlBlock(buffer)
    with open_video(
        path,
        request.decoder,
        request.raw,
        id=name,
        heartbeat=control.heartbeat,
        hdr=request.hdr,
        limits=request.limits,
    ) as video:
        index = np.asarray(sampler(video), np.int64)
        if not index.size:
            raise VideoError(f"the sampler {request.sampler} chose no frame", "sampling")
        index = index.reshape(len(index), -1)[:, : None if request.clips else 1]
        asked = [index, neighbours(index, len(video))] if request.neighbours else [index]
        distinct = np.unique(asked)
        header = VideoHeader(
            index,
            distinct,
            video.timestamps[distinct],
            source,
            width=video.width,
            height=video.height,
            fps=video.fps,
            length=len(video),
            note="; ".join(
                filter(None, [video.note, _repeats(request.sampler, index, len(video))])
            ),
        )
        ring = Ring(control, video.height, video.width, len(distinct), room)
        control.describe(pickle.dumps(header))
        for row, image in video.stream(distinct):
            ring.put(row, image, alive=lambda: os.getppid() == parent)
        seconds = time.perf_counter() - start - ring.waited
        return DecodeSummary(video.decoder, seconds, video.damage)


def neighbours(index: Int64[np.ndarray, "T n"], length: int) -> Int64[np.ndarray, "T n"]:
    """Of each frame of a video of so many frames the next one, of the last the one before; a single
    frame is its own.
    """
    return np.where(index + 1 < length, index + 1, max(0, length - 2))


def _repeats(sampler: str, index: Int64[np.ndarray, "T n"], length: int) -> str:
    """In words, where a sampler chose more frames than there are; else ""."""
    if index.size <= length:
        return ""
    return (
        f"has {length} frames, and the sampler {sampler} asks for {index.size}: some stand more "
        "than once"
    )


@cache
def _sampler(text: str) -> Sampler:
    """Built once in a process, since it may read a file."""
    sampler: Sampler = spec.resolve("extract.samplers", text).build()
    return sampler


def _size_of(path: Path) -> int:
    """In bytes; 0 where there is no file."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # the latter: a path that no file can have
        return 0
