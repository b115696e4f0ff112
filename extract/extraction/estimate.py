"""What an extraction would take, measured: some of its videos are extracted into a folder that is
removed again.

Those are of all file sizes, since long and large videos take longer: any beginning of their order
is spread over the whole range. Videos are tried until the mean time of one is known within 10 %, or
for a minute. The interval is that of videos on a machine that goes on as it did while they were
tried: what other work takes of it later is not foreseen.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from vqa_twostage.extract.extraction.loop import extract_videos
from vqa_twostage.extract.extraction.plan import ExtractionPlan
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.usage import bytes_a_video
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile

FEWEST, MOST = 24, 192  # videos that are tried, where there are as many
# seconds of trying that are enough where the rate is known, and where it is not
ENOUGH_S, MOST_S = 10.0, 60.0
PRECISION = 0.1  # of the rate, as a part of it
TWO_SIDED_95 = 1.96
# the first videos wait for processes to start, and for networks to be warm
WARMING = 4
# of the mean time between two videos: what comes sooner was computed in the batch of the one before
SAME_BATCH = 0.1


class _Enough(Exception):
    """Ends an extraction that has told what it can."""


@dataclass(frozen=True)
class Pace:
    """How fast videos came: ``seconds`` for each when all is running, after ``start`` seconds
    before the first; ``error``: half the width of the 95 % interval of ``seconds``, infinite where
    too few were tried to tell.
    """

    seconds: float
    start: float
    error: float


@dataclass(frozen=True)
class Estimate:
    """What the videos that are to be extracted take on ``machines`` equal machines.

    ``seconds`` from start to end, within ``low`` to ``high`` (95 % intervals of the mean time of a
    video; None where too few were tried to tell). Measured with ``tried`` videos, of all file
    sizes, in ``trial_seconds``. ``cost`` in the currency of ``price``, of a machine for an hour.
    """

    seconds: float
    low: float | None
    high: float | None
    bytes: int
    tried: int
    trial_seconds: float
    machines: int
    machine_hours: float
    price: float | None
    cost: float | None


@dataclass(frozen=True)
class Machines:
    """``count`` equal machines, each as this one, and what one costs for an hour."""

    count: int = 1
    price: float | None = None


def estimated(
    pending: Sequence[PendingVideo], plan: ExtractionPlan, loading: float, machines: Machines
) -> tuple[Estimate | None, str]:
    """From some of ``pending``; and a note where none of those could be extracted.

    ``loading``: seconds until the plan was made, which each machine takes too.
    """
    some = of_all_sizes(pending)[:MOST]
    with tempfile.TemporaryDirectory(prefix="vqa-dry-run-") as folder:
        begun = perf_counter()
        moments, reason = _extracted(some, plan, Path(folder), len(pending))
        if reason:
            return None, reason
        trial = perf_counter() - begun
        size = _bytes_of(pending, plan, Path(folder))
    found = pace([moment - begun for moment in moments], len(pending))
    each = -(-len(pending) // machines.count)
    start = loading + found.start
    seconds = start + found.seconds * each
    known = math.isfinite(found.error)
    hours = seconds * min(machines.count, len(pending)) / 3600
    return Estimate(
        seconds=round(seconds, 1),
        low=round(start + max(0.0, found.seconds - found.error) * each, 1) if known else None,
        high=round(start + (found.seconds + found.error) * each, 1) if known else None,
        bytes=round(size),
        tried=len(moments) - 1,
        trial_seconds=round(trial, 1),
        machines=machines.count,
        machine_hours=round(hours, 4),
        price=machines.price,
        cost=None if machines.price is None else round(hours * machines.price, 4),
    ), ""


def of_all_sizes(videos: Sequence[PendingVideo]) -> list[PendingVideo]:
    """In an order of which each beginning is spread over the sizes of all files."""
    by_size = sorted(videos, key=lambda video: _size_of(video.path))
    bits = max(1, (len(videos) - 1).bit_length())
    # van der Corput's sequence: the bits of 0, 1, 2 … in reverse
    order = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [by_size[place] for place in order if place < len(by_size)]


def pace(moments: Sequence[float], of: int) -> Pace:
    """From the second at which networks were ready, and those at which each video was done; ``of``
    so many videos, all of which may have been tried.

    Networks run on batches, and the videos of a batch are done at nearly one moment. Time is
    therefore counted from the first video of a batch to the first of a later one, between which lie
    as many videos as batches.
    """
    ready, *done = moments
    warming = min(WARMING, len(done) // 4)
    ended = np.array(done[warming:])
    gaps = np.diff(ended)
    if not gaps.sum():  # a single video: nothing tells what of its time was starting
        return Pace(done[-1] - ready, ready, math.inf)
    first = 1 + np.flatnonzero(gaps > SAME_BATCH * gaps.mean())
    if len(first) == 1:
        first = np.array([0, len(gaps)])
    counts, times = np.diff(first), np.diff(ended[first])
    rate = float(times.sum() / counts.sum())
    batches = len(counts)
    error = math.inf
    if batches >= 4:
        spread = float(((times - rate * counts) ** 2).sum()) * batches / (batches - 1)
        left = max(0.0, 1 - len(done) / of)  # nothing is unknown where all were tried
        error = TWO_SIDED_95 * math.sqrt(spread * left) / float(counts.sum())
    # what the first videos took longer than later ones
    starting = max(0.0, float(ended[0]) - ready - rate * (warming + 1))
    return Pace(rate, ready + starting, error)


def _extracted(
    some: Sequence[PendingVideo], plan: ExtractionPlan, scratch: Path, of: int
) -> tuple[list[float], str]:
    """When networks were ready and each video was done; and why none was, else an empty text."""
    wanted = {path for video in some for path in video.tracks}
    tracks = tuple(
        replace(track, path=track.path.in_cache(scratch))
        for track in plan.tracks
        if track.path in wanted
    )
    moments: list[float] = []

    def note(done: int, total: int) -> None:
        moments.append(perf_counter())
        if done and _is_enough(moments, of):
            raise _Enough

    tried = replace(plan, tracks=tracks)
    videos = [(video.id, video.path) for video in some]
    try:
        # on this machine, whatever engine is to do the whole: the estimate is for machines like it
        results = extract_videos(videos, tried, {}, note)
    except _Enough:
        if any(_videos_in(track.path.path) for track in tracks):
            return moments, ""
        results = extract_videos(videos[:4], tried, {})  # again, for their reasons
    if results.done:
        return moments, ""
    reasons = "; ".join(failure.reason for failure in results.failed)
    return moments, f"no estimate: none of {len(results.failed)} videos works: {reasons}"


def _is_enough(moments: Sequence[float], of: int) -> bool:
    tried, seconds = len(moments) - 1, moments[-1] - moments[0]
    if seconds >= MOST_S:
        return tried > WARMING
    if tried < FEWEST or seconds < ENOUGH_S:
        return False
    found = pace(moments, of)
    return found.error <= PRECISION * found.seconds


def _bytes_of(pending: Sequence[PendingVideo], plan: ExtractionPlan, scratch: Path) -> float:
    """What all of ``pending`` take, if they are as those in the tracks of ``scratch``."""
    size = 0.0
    for track in plan.tracks:
        path = track.path.in_cache(scratch)
        if path.path.exists():
            with open_track(path) as opened:
                lacking = sum(track.path in video.tracks for video in pending)
                size += bytes_a_video(opened) * lacking if len(opened) else 0.0
    return size


def _videos_in(path: Path) -> int:
    with open_track(path) as track:
        return len(track)


def _size_of(file: VideoFile) -> int:
    """In bytes; 0 where it cannot be told."""
    if isinstance(file, RemoteFile):
        return file.size or 0
    try:
        return file.stat().st_size
    except (OSError, ValueError):
        return 0
