"""Which files of a dataset cannot be used, before anything is extracted: each is opened, and its
first frame decoded.

No more is read than that, so that terabytes take minutes; damage further on shows when frames are
extracted. It happens in processes of its own (pipeline/processes.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from vqa_twostage.extract.decoding.containers import check_video
from vqa_twostage.extract.decoding.decoding_errors import as_video_error
from vqa_twostage.extract.decoding.workers import TIMEOUT_S, default_workers
from vqa_twostage.pipeline.confinement import confine, folders_of, tell_what_is_not_offered
from vqa_twostage.pipeline.limits import DEFAULTS, GB, Limits
from vqa_twostage.pipeline.processes import start_processes
from vqa_twostage.pipeline.raw_format import RawFormat

AHEAD = 4  # files scheduled per worker, so that none waits for its next one


def probe_all(
    videos: Sequence[tuple[str, Path]],
    raw: RawFormat | None,
    workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    limits: Limits = DEFAULTS,
) -> dict[str, str]:
    """Why a file cannot be used, by id, in the order of ``videos`` (id, path); usable ones are left
    out.

    ``raw`` is the manifest's: the format of files without a container. ``workers``: processes, 0
    for one per two cores. ``on_progress`` is called with the number of files done, and of all. A
    file that hangs or crashes its decoder costs itself alone, after ``TIMEOUT_S`` at most: how long
    a first frame takes does not grow with the file. ``limits`` of frames and memory are kept; how
    long a video is shows when it is extracted.
    """
    workers = min(workers or default_workers(), len(videos))
    if not workers:
        return {}
    reasons: dict[str, str] = {}
    pending, under_way, done = deque(videos), dict[Future[None], str](), 0
    tell_what_is_not_offered()
    confined = (folders_of(path for _, path in videos), limits.memory * GB)
    with start_processes(workers, confine, confined) as pool:
        try:
            while pending or under_way:
                while pending and len(under_way) < AHEAD * workers:
                    name, path = pending.popleft()
                    call = (path, raw, limits)
                    under_way[pool.schedule(check_video, call, timeout=TIMEOUT_S)] = name
                # whichever is first: one that hangs holds up its own worker only
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    name, error = under_way.pop(future), future.exception()
                    if error is not None:
                        reasons[name] = str(as_video_error(error, TIMEOUT_S))
                    done += 1
                    on_progress(done, len(videos))
        except BaseException:
            pool.stop()
            raise
    return {name: reasons[name] for name, _ in videos if name in reasons}
