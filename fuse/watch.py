"""Scores for a folder that videos keep arriving in: each is scored once it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vqa_twostage.fuse import score as scoring
from vqa_twostage.fuse.learning.scorer import Scorer
from vqa_twostage.fuse.scored_tracks import CHANGED
from vqa_twostage.fuse.video_score import Score
from vqa_twostage.pipeline.datasets.videos import videos_below
from vqa_twostage.pipeline.errors import UsageError

EVERY_S = 2.0  # between two looks at the folder


class _State(NamedTuple):
    """What of a file says that it has changed."""

    size: int
    modified_ns: int


def watch(
    folder: str | Path,
    run: str | Path | Scorer | None = None,
    cache: str | Path | None = None,
    pause: Callable[[float], object] = time.sleep,
    new_only: bool = False,
    **options: Any,
) -> Iterator[Score]:
    """The scores of the videos in ``folder`` and below it, those that are there and those that
    arrive, without an end.

    A video is scored when its size and its time of change were the same in two looks at the folder,
    2 s apart, and again when they change later. Its networks are loaded anew for each group of
    arrivals, and not held between.

    Args:
        folder: The folder; its files count by the extensions of videos.
        run: As `fuse.score.score` takes it.
        cache: The same; None keeps nothing.
        pause: Waits for so many seconds; what it raises ends the watch.
        new_only: What is there already gets no score, unless it changes.
        **options: The others of `fuse.score.score`.

    Raises:
        UsageError: ``folder`` is none, there is no such model, or ``worse_than`` lies outside of
            its scale.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; give one that videos arrive in")
    # before the model is loaded, which takes its time
    scored = _states(root) if new_only else {}
    scorer = run if isinstance(run, Scorer) else scoring.load(run)
    scoring.require_within_scale(scorer, options.get("worse_than"))
    before: dict[Path, _State] = {}
    while True:
        now = _states(root)
        whole = {path: state for path, state in now.items() if before.get(path) == state}
        new = [path for path, state in whole.items() if scored.get(path) != state]
        for score in scoring.score(new, scorer, cache, **options) if new else []:
            if score.error == CHANGED:  # it was still being written, and comes again
                new.remove(Path(score.video))
            else:
                yield score
        # what is gone is forgotten, so that it is scored if it comes back
        scored = {path: state for path, state in scored.items() if path in now}
        scored |= {path: whole[path] for path in new}
        before = now
        pause(EVERY_S)


def _states(folder: Path) -> dict[Path, _State]:
    states = {}
    for path in videos_below(folder):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # it was moved away since the folder was listed
        states[path] = _State(stat.st_size, stat.st_mtime_ns)
    return states
