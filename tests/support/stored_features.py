"""Everything that tracks hold of their videos, for comparing two caches to the last bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.features import VideoAttributes

Stored = dict[str, bytes]


def stored_in(places: Iterable[Path | TrackPath]) -> Stored:
    """Every array of every video, the numbers and times of its frames, and the digest of its file,
    by track, video, name and kind: ``tsm-96b8e6e1d5/000/last/mean float16 (4, 64)``.
    """
    found = {}
    for place in places:
        with open_track(place) as track:
            for video_id in track.ids:
                video = track.read(video_id)
                arrays = {**video.arrays, "index": video.frame_index, "time": video.timestamp}
                for name, array in arrays.items():
                    kind = f"{array.dtype} {array.shape}"
                    found[f"{place.stem}/{video_id}/{name} {kind}"] = array.tobytes()
                digest = video.attributes.source_digest
                found[f"{place.stem}/{video_id}/file"] = digest.encode()
    return found


def attributes_in(places: Iterable[Path | TrackPath]) -> dict[str, VideoAttributes]:
    """What is recorded of every video, but for the time that it took, by track and video."""
    found = {}
    for place in places:
        with open_track(place) as track:
            for video_id in track.ids:
                recorded = replace(track.attributes(video_id), seconds=0.0)
                found[f"{place.stem}/{video_id}"] = recorded
    return found
