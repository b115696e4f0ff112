"""Which videos tracks lack, by size, time and content of their files; of files at addresses by what
their listing says.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from toy_tracks import IDENTITY, features

from vqa_twostage.extract.pending import PendingVideo, pending_videos
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.remote_files import RemoteFile

SIZE, TIME, DIGEST = 1000, 5 * 10**17, "d" * 64
FILE = RemoteFile("s3://b/a.mp4", SIZE, TIME, mark="an-etag")


def track_of(cache: Path, name: str, **videos: str) -> TrackPath:
    """A track that holds videos of the recorded size and time, by id and digest."""
    place = TrackPath(cache, "d", "uniform", name)
    with write_track(place, IDENTITY, {}) as track:
        for video_id, digest in videos.items():
            given = features()
            attributes = replace(
                given.attributes,
                source_digest=digest,
                source_size=SIZE,
                source_mtime_ns=TIME,
            )
            track.write(video_id, replace(given, attributes=attributes))
    return place


def pending(file: RemoteFile, *places: TrackPath) -> list[PendingVideo]:
    with ExitStack() as stack:
        return pending_videos(
            [("a", file)], {place: stack.enter_context(open_track(place)) for place in places}
        )


def test_file_as_it_was_listed_is_not_pending(tmp_path: Path) -> None:
    assert pending(FILE, track_of(tmp_path, "one", a=DIGEST)) == []


def test_file_that_is_not_there_any_more_is_not_pending(tmp_path: Path) -> None:
    held, empty = track_of(tmp_path, "held", a=DIGEST), track_of(tmp_path, "empty")
    gone = RemoteFile(FILE.address)
    assert pending(gone, held) == []
    assert pending(gone, held, empty) == [PendingVideo("a", gone, (empty,))]


@pytest.mark.parametrize("change", [{"size": SIZE + 1}, {"size": SIZE - 1, "mtime_ns": TIME + 1}])
def test_file_of_another_size_is_another(change: dict[str, int], tmp_path: Path) -> None:
    place = track_of(tmp_path, "one", a=DIGEST)
    file = replace(FILE, **change)  # type: ignore[arg-type]
    assert pending(file, place) == [PendingVideo("a", file, (place,))]


def test_file_of_another_time_is_compared_with_its_content(tmp_path: Path) -> None:
    one, same, other, empty = (
        track_of(tmp_path, "one", a=DIGEST),
        track_of(tmp_path, "same", a=DIGEST),
        track_of(tmp_path, "other", a="e" * 64),
        track_of(tmp_path, "empty"),
    )
    file = replace(FILE, mtime_ns=TIME + 1)
    compared = replace(file, held=DIGEST)
    assert pending(file, one, same) == [PendingVideo("a", compared, (one, same))]
    # a track lacks it, or holds another: it is decoded in any case
    assert pending(file, one, empty) == [PendingVideo("a", file, (one, empty))]
    assert pending(file, one, other) == [PendingVideo("a", file, (one, other))]


def test_store_that_knows_the_digest_needs_no_copy(tmp_path: Path) -> None:
    place = track_of(tmp_path, "one", a=DIGEST)
    assert pending(replace(FILE, mtime_ns=TIME + 1, mark=DIGEST), place) == []
    assert len(pending(replace(FILE, mtime_ns=TIME + 1, mark="e" * 64), place)) == 1
