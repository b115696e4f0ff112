"""`plan_removal` and `remove`: tracks, whole datasets, or videos are taken out of a cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vqa_twostage.pipeline.cache.journal import journal_of, sync_folder
from vqa_twostage.pipeline.cache.layout import (
    SUFFIX,
    TrackPath,
    datasets,
    extraction_path,
    manifest_path,
    tracks,
)
from vqa_twostage.pipeline.cache.locks import lock_to_write
from vqa_twostage.pipeline.cache.rewriting import remove_videos
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.wording import first_of

LISTED = 10


@dataclass(frozen=True)
class Removal:
    """What is to be removed: ``videos`` from each of ``tracks``, or the whole ``tracks`` where
    there are no ``videos``; with ``folder`` also everything else that is kept of that dataset.
    """

    tracks: tuple[TrackPath, ...]
    videos: tuple[str, ...] = ()
    folder: Path | None = None

    def __str__(self) -> str:
        """For people, with a line for each track."""
        paths = "".join(f"\n  {path}" for path in self.tracks)
        if self.videos:
            return f"the features of {first_of(self.videos, LISTED)} in{paths}"
        if self.folder is not None:
            return f"{self.folder}, the features and the labels{paths}"
        return f"the track{paths}"


def plan_removal(place: Path, dataset: str | None, videos: Sequence[str] = ()) -> Removal:
    """What `remove` is to remove; nothing is changed yet.

    Args:
        place: A cache; or a track, which is meant as a whole, or only its ``videos``.
        dataset: Which dataset of a cache; None where ``place`` is a track.
        videos: Ids, to be removed from every track of the dataset; none means all of it.

    Returns:
        The tracks, and the videos of them.

    Raises:
        UsageError: There is no such track, dataset or video. The message lists those that are.
    """
    wanted = tuple(dict.fromkeys(videos))
    if place.suffix == SUFFIX or place.is_file():
        if not place.is_file():
            raise UsageError(f"{place} does not exist; vqa-cache info lists the tracks of a cache")
        if dataset is not None:
            raise UsageError(f"{place} is a track, of one dataset; leave out --dataset {dataset}")
        paths: tuple[TrackPath, ...] = (TrackPath.parse(place.absolute()),)
        return _with_videos(paths, wanted, str(place)) if wanted else Removal(paths)
    name = _known_dataset(place, dataset)
    paths = tuple(tracks(place, name))
    if wanted:
        return _with_videos(paths, wanted, f"any track of {name}")
    return Removal(paths, folder=place / name)


def _known_dataset(cache: Path, dataset: str | None) -> str:
    names = datasets(cache)
    if not names:
        raise UsageError(f"{cache} holds no dataset; give a folder that vqa-extract --cache made")
    if dataset is None:
        raise UsageError(
            f"{cache} is a cache, which is not removed as a whole; give a track, or choose with "
            f"--dataset: {', '.join(names)}"
        )
    if dataset not in names:
        raise UsageError(
            f"{cache} holds no dataset {dataset!r}; it holds {', '.join(names)}"
            f"{close_to(dataset, names)}"
        )
    return dataset


def _with_videos(paths: tuple[TrackPath, ...], wanted: tuple[str, ...], where: str) -> Removal:
    held: dict[TrackPath, set[str]] = {}
    for path in paths:
        with open_track(path) as track:
            held[path] = set(track.ids)
    known = sorted(set().union(*held.values()))
    unknown = [video_id for video_id in wanted if video_id not in known]
    if unknown:
        close = [name for video_id in unknown for name in get_close_matches(video_id, known, 1)]
        choices = list(dict.fromkeys([*close, *known]))
        raise UsageError(
            f"no video {', '.join(map(repr, unknown[:LISTED]))} is in {where}; "
            f"choose from {first_of(choices, LISTED) or 'none'}"
        )
    return Removal(tuple(path for path in paths if held[path] & set(wanted)), wanted)


def remove(removal: Removal) -> None:
    """Removes what `plan_removal` found. Each track changes in one step.

    Args:
        removal: As `plan_removal` gives it.

    Raises:
        UsageError: Another process writes to one of the tracks; then nothing was removed.
    """
    if removal.videos:
        remove_videos([path.path for path in removal.tracks], removal.videos)
        return
    with ExitStack() as stack:
        for path in removal.tracks:
            stack.enter_context(_locked(path.path))
        for path in removal.tracks:
            # a journal that outlived its track would be replayed into the next one of that name
            journal_of(path.path).unlink(missing_ok=True)
            path.path.unlink()
            sync_folder(path.path.parent)
    if removal.folder is not None:
        _remove_rest(removal.folder)
    for path in removal.tracks:
        _remove_if_empty(path.path.parent)
    if removal.folder is not None:
        _remove_if_empty(removal.folder)


def _remove_rest(folder: Path) -> None:
    """What killed processes left, the record, and the labels; no file that is not of the cache."""
    for path in folder.glob(f"*/*{SUFFIX}.*"):
        path.unlink()
    cache, dataset = folder.parent, folder.name
    # the manifest last: until then the same command goes on where it was stopped
    for path in (extraction_path(cache, dataset), manifest_path(cache, dataset)):
        path.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """No other process writes to the track meanwhile; one that is damaged can be locked too."""
    handle = os.open(path, os.O_RDWR)
    try:
        lock_to_write(handle, path)
        yield
    except BlockingIOError:
        raise UsageError(
            f"{path} is in use by another process, which writes to it; nothing was removed, "
            "try again when it has finished"
        ) from None
    finally:
        os.close(handle)
