"""What a cache holds: its tracks, with their sizes and identities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.cache.layout import TrackPath, datasets, tracks
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity


@dataclass(frozen=True)
class TrackInfo:
    """A track: how many videos it holds, how large its file is, and what it is."""

    path: Path
    videos: int
    bytes: int
    identity: TrackIdentity

    def to_json(self) -> dict[str, Any]:
        """One entry of the document of ``vqa-cache info --json``."""
        return {
            "path": str(self.path),
            "videos": self.videos,
            "bytes": self.bytes,
            "identity": self.identity.to_json(),
        }


def track_info(path: Path) -> TrackInfo:
    with open_track(path) as track:
        return TrackInfo(path, len(track), path.stat().st_size, track.identity)


def resembles(path: Path) -> str:
    """Which other track of the same extractor on the same sampler the cache holds and where their
    identities differ, in words; "" where there is none.
    """
    place = TrackPath.parse(path)
    for other in tracks(place.cache, place.dataset):
        if other != place and (other.sampler, other.name) == (place.sampler, place.name):
            with open_track(other) as old, open_track(place) as track:
                return f"as {other.stem} but for {old.identity.differs_in(track.identity)}"
    return ""


def track_files(cache: Path) -> list[Path]:
    """The tracks of all datasets in ``cache``, or the one track that it is; UsageError if none."""
    if cache.is_file():
        return [TrackPath.parse(cache.absolute()).path]
    paths = [place.path for dataset in datasets(cache) for place in tracks(cache, dataset)]
    if not paths:
        raise UsageError(f"{cache} holds no track; vqa-extract --cache {cache} makes some")
    return paths
