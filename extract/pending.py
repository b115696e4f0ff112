"""The videos that tracks lack. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import Track
from vqa_twostage.pipeline.errors import VideoError


@dataclass(frozen=True)
class PendingVideo:
    """A video and the tracks that lack it."""

    id: str
    path: Path
    tracks: tuple[TrackPath, ...]


def pending_videos(
    videos: Iterable[tuple[str, Path]], tracks: Mapping[TrackPath, Track]
) -> list[PendingVideo]:
    """The videos that a track lacks."""
    sources = {place: track.sources() for place, track in tracks.items()}
    pending = []
    for video_id, path in videos:
        lacking = _tracks_without(video_id, path, sources)
        if lacking:
            pending.append(PendingVideo(video_id, path, lacking))
    return pending


def _tracks_without(
    video_id: str, path: Path, sources: Mapping[TrackPath, Mapping[str, tuple[int, int, str]]]
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
