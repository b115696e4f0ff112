"""The videos that tracks lack. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import Track
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile

Stored = Mapping[str, tuple[int, int, str]]
"""Size, time of change (ns) and digest of the file of each video of a track."""


@dataclass(frozen=True)
class PendingVideo:
    """A video and the tracks that lack it."""

    id: str
    path: VideoFile
    tracks: tuple[TrackPath, ...]


def pending_videos(
    videos: Iterable[tuple[str, VideoFile]], tracks: Mapping[TrackPath, Track]
) -> list[PendingVideo]:
    """The videos that a track lacks. Nothing is asked for those at addresses: they are listed."""
    sources = {place: track.sources() for place, track in tracks.items()}
    pending = []
    for video_id, path in videos:
        if isinstance(path, RemoteFile):
            path, lacking = _tracks_without_remote(video_id, path, sources)
        else:
            lacking = _tracks_without(video_id, path, sources)
        if lacking:
            pending.append(PendingVideo(video_id, path, lacking))
    return pending


def _tracks_without(
    video_id: str, path: Path, sources: Mapping[TrackPath, Stored]
) -> tuple[TrackPath, ...]:
    """The tracks that do not hold this very file: by size and time, else by its content."""
    stored = {place: found[video_id] for place, found in sources.items() if video_id in found}
    try:
        status = path.stat()
        now = (status.st_size, status.st_mtime_ns)
        touched = {place for place, (*recorded, _) in stored.items() if tuple(recorded) != now}
        digest = Source.of(path).digest if touched else ""
    except (OSError, ValueError, VideoError):
        # the video is gone or out of reach, its features are in the cache: that is what it is for
        return tuple(place for place in sources if place not in stored)
    replaced = {place for place in touched if stored[place][2] != digest}
    return tuple(place for place in sources if place not in stored or place in replaced)


def _tracks_without_remote(
    video_id: str, file: RemoteFile, sources: Mapping[TrackPath, Stored]
) -> tuple[RemoteFile, tuple[TrackPath, ...]]:
    """The tracks that do not hold the file which its listing describes; and the file, with the
    digest that it has if only its time has changed: then the copy tells whether it is the same.
    """
    stored = {place: found[video_id] for place, found in sources.items() if video_id in found}
    if not file.is_file():
        return file, tuple(place for place in sources if place not in stored)
    changed = {
        place: (size, digest)
        for place, (size, mtime_ns, digest) in stored.items()
        if (size, mtime_ns) != (file.size, file.mtime_ns) and digest != file.mark
    }
    lacking = tuple(place for place in sources if place not in stored or place in changed)
    recorded = set(changed.values())
    if len(stored) == len(sources) and len(recorded) == 1:
        size, digest = recorded.pop()
        file = replace(file, held=digest if size == file.size else "")
    return file, lacking
