"""Scores of videos at addresses: copied in parts into a scratch folder, scored there, and called by
their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vqa_twostage.fuse.video_score import Score
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.remote_files import VideoFile

OnProgress = Callable[[int, int], None]
OnScore = Callable[[Score], None]
Scoring = Callable[[list[Path], OnProgress, OnScore | None], list[Score]]
"""`fuse.score.score` of files of this machine."""
Part = Sequence[tuple[VideoFile, Path | VideoError]]
"""Some files, and of each the copy or the reason why there is none."""


def score_copies(
    parts: Iterable[Part],
    total: int,
    score: Scoring,
    unscored: Callable[[str], Score],
    on_progress: OnProgress,
    on_score: OnScore | None,
) -> list[Score]:
    """The scores of ``total`` files in their order; a part is scored before the next is asked for.

    ``unscored``: what a video has that cannot be copied, but for the reason.
    """
    scores: list[Score] = []
    for part in parts:
        done = len(scores)
        scores += _score_part(part, score, unscored, _shifted(on_progress, done, total), on_score)
    return scores


def _score_part(
    part: Part,
    score: Scoring,
    unscored: Callable[[str], Score],
    on_progress: OnProgress,
    on_score: OnScore | None,
) -> list[Score]:
    names = {str(path): str(file) for file, path in part if isinstance(path, Path)}
    failed = {
        str(file): replace(unscored(str(file)), error=str(error))
        for file, error in part
        if isinstance(error, VideoError)
    }

    def named(found: Score) -> Score:
        return replace(found, video=names[found.video])

    tell = None
    if on_score is not None:
        for found in failed.values():
            on_score(found)
        tell = _after(named, on_score)
    copies = [path for _, path in part if isinstance(path, Path)]
    scored = score(copies, on_progress, tell) if copies else []
    by_name = failed | {names[found.video]: named(found) for found in scored}
    return [by_name[str(file)] for file, _ in part]


def _shifted(on_progress: OnProgress, done: int, total: int) -> OnProgress:
    return lambda now, _: on_progress(done + now, total)


def _after(named: Callable[[Score], Score], on_score: OnScore) -> OnScore:
    return lambda found: on_score(named(found))
