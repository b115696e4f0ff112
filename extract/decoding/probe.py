"""Which files of a dataset cannot be used, before anything is extracted: each is opened, and its
first frame decoded.

No more is read than that, so that terabytes take minutes; damage further on shows when frames are
extracted. Files at addresses are copied for it, whole. It happens in processes of its own
(pipeline/processes.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing

from pebble import ProcessPool

from vqa_twostage.extract.decoding.containers import check_video
from vqa_twostage.extract.decoding.decoding_errors import as_video_error
from vqa_twostage.extract.decoding.fetching import DEFAULT_SCRATCH, Scratch, VideoFiles
from vqa_twostage.extract.decoding.ring import POLL_S
from vqa_twostage.extract.decoding.workers import TIMEOUT_S, default_workers
from vqa_twostage.pipeline.confinement import confine, tell_what_is_not_offered
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.limits import DEFAULTS, GB, Limits
from vqa_twostage.pipeline.processes import start_processes
from vqa_twostage.pipeline.raw_format import RawFormat
from vqa_twostage.pipeline.remote_files import VideoFile

AHEAD = 4  # files scheduled per worker, so that none waits for its next one


def probe_all(
    videos: Sequence[tuple[str, VideoFile]],
    raw: RawFormat | None,
    workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    limits: Limits = DEFAULTS,
    scratch: Scratch = DEFAULT_SCRATCH,
) -> dict[str, str]:
    """Why a file cannot be used, by id, in the order of ``videos`` (id, path); usable ones are left
    out.

    ``raw`` is the manifest's: the format of files without a container. ``workers``: processes, 0
    for one per two cores. ``on_progress`` is called with the number of files done, and of all. A
    file that hangs or crashes its decoder costs itself alone, after ``TIMEOUT_S`` at most: how long
    a first frame takes does not grow with the file. ``limits`` of frames and memory are kept; how
    long a video is shows when it is extracted. Files at addresses are copied to ``scratch``;
    UsageError where none can be.
    """
    workers = min(workers or default_workers(), len(videos))
    if not workers:
        return {}
    reasons: dict[str, str] = {}
    pending = deque(enumerate(name for name, _ in videos))
    under_way, done = dict[Future[None], tuple[int, str]](), 0
    tell_what_is_not_offered()
    at_once = AHEAD * workers
    with closing(VideoFiles([file for _, file in videos], scratch, 2 * at_once)) as files:
        confined = (files.folders, limits.memory * GB)
        with start_processes(workers, confine, confined) as pool:
            try:
                while pending or under_way:
                    while pending and len(under_way) < at_once and files.arrived(pending[0][0]):
                        number, name = pending.popleft()
                        future = _scheduled(pool, files, number, (raw, limits))
                        under_way[future] = number, name
                    # whichever is first: one that hangs holds up its own worker only
                    arriving = bool(pending) and len(under_way) < at_once
                    for future in _ended(under_way, arriving):
                        number, name = under_way.pop(future)
                        files.let_go(number)
                        if (error := future.exception()) is not None:
                            reasons[name] = str(as_video_error(error, TIMEOUT_S))
                        done += 1
                        on_progress(done, len(videos))
            except BaseException:
                pool.stop()
                raise
    return {name: reasons[name] for name, _ in videos if name in reasons}


def _scheduled(
    pool: ProcessPool, files: VideoFiles, number: int, how: tuple[RawFormat | None, Limits]
) -> Future[None]:
    """What comes of the file ``number``, which has arrived."""
    try:
        path, _ = files.path(number)
    except VideoError as error:
        failed = Future[None]()
        failed.set_exception(error)
        return failed
    future: Future[None] = pool.schedule(check_video, (path, *how), timeout=TIMEOUT_S)
    return future


def _ended(under_way: Collection[Future[None]], arriving: bool) -> set[Future[None]]:
    """Those that have ended, at least one unless the next file may arrive before."""
    if not under_way:
        time.sleep(POLL_S)
        return set()
    return wait(under_way, POLL_S if arriving else None, FIRST_COMPLETED).done
