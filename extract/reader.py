"""Decoding in processes of their own: a file that hangs or crashes a decoder costs one video, not the run.

Workers never import torch. Results come back in the order of the paths.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from extract.decode import Frames, open_video
from pipeline import spec
from pipeline.errors import VideoError

# a decoder that needs longer for a file is taken to hang: a fixed time and one per megabyte
TIMEOUT_S = 120.0
TIMEOUT_S_PER_MB = 1.0


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
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise VideoError("file is missing") from None
        except OSError as error:
            raise VideoError(f"file cannot be read: {error.strerror}") from None
        return Source(status.st_size, status.st_mtime_ns, digest)


@dataclass(frozen=True)
class Sampled:
    """The sampled frames of one video, and what is known of it.

    ``width`` and ``height`` in pixels, upright; ``length`` in frames; ``decoder`` is who gave the pixels; ``damage`` is
    "" or what is wrong with the file; ``seconds`` is the time all this took in the worker.
    """

    frames: Frames
    source: Source
    width: int
    height: int
    fps: float
    length: int
    decoder: str
    damage: str
    seconds: float


def read_sampled(path: Path, sampler: str, decoder: str) -> Sampled:
    """Opens a video, chooses frames and decodes them; VideoError says why it cannot be used."""
    start = time.perf_counter()
    choose = spec.resolve("extract.samplers", sampler).build()
    source = Source.of(path)
    with open_video(path, decoder) as video:
        frames = video.read(choose(video))
        return Sampled(
            frames,
            source,
            width=video.width,
            height=video.height,
            fps=video.fps,
            length=len(video),
            decoder=video.decoder,
            damage=video.damage,
            seconds=time.perf_counter() - start,
        )


def read_all(
    paths: Sequence[Path], sampler: str, decoder: str, workers: int
) -> Generator[Sampled | VideoError, None, None]:
    """Decodes ``paths`` in ``workers`` processes and yields in order; at most two videos a worker are held at once."""
    if not paths:
        return
    # spawned, not forked: the parent has torch's threads and an open HDF5 file
    with ProcessPool(max_workers=min(workers, len(paths)), context=get_context("spawn")) as pool:
        try:
            waiting: deque[tuple[Path, ProcessFuture]] = deque()
            for path in paths:
                waiting.append((path, pool.schedule(read_sampled, (path, sampler, decoder), timeout=_timeout(path))))
                if len(waiting) > 2 * workers:
                    yield _outcome(*waiting.popleft())
            while waiting:
                yield _outcome(*waiting.popleft())
        except BaseException:
            pool.stop()
            raise


def _outcome(path: Path, future: ProcessFuture) -> Sampled | VideoError:
    try:
        sampled: Sampled = future.result()
        return sampled
    except VideoError as error:
        return error
    except FutureTimeout:
        return VideoError(f"the decoder hung: stopped after {_timeout(path):.0f} s")
    except ProcessExpired as error:
        return VideoError(f"the decoder crashed (exit code {error.exitcode})")


def _timeout(path: Path) -> float:
    try:
        return TIMEOUT_S + TIMEOUT_S_PER_MB * path.stat().st_size / 1e6
    except OSError:
        return TIMEOUT_S
