"""The engine of one machine: processes decode, this one runs the networks and gives whole videos
back.

Another engine (many machines) is another function of this signature: `extract/run.py` is the one
writer for all.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.extract.decoding.workers import (
    DecodedStream,
    DecodeRequest,
    DecodeSummary,
    decode_videos,
    default_workers,
)
from vqa_twostage.extract.inference.batching import Job, Lane, Seconds, timed
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.features import VideoAttributes, VideoFeatures


@dataclass(frozen=True)
class Todo:
    """A video and the numbers of the tracks that lack it."""

    id: str
    path: Path
    tracks: list[int]


@dataclass(frozen=True)
class Extracted:
    """All that was lacking of a video: track's number -> features; how many frames were looked at;
    any damage.
    """

    id: str
    features: dict[int, VideoFeatures]
    frames: int
    damage: str


@dataclass(frozen=True)
class Failed:
    id: str
    reason: str


def extract_locally(
    todo: list[Todo], lanes: dict[int, Lane], request: DecodeRequest, workers: int, seconds: Seconds
) -> Generator[Extracted | Failed, None, None]:
    """Gives every video of ``todo`` back as soon as it is whole: frames of neighbours share
    batches.

    ``lanes``: by the numbers of their tracks. ``workers``: decoding processes, 0 for one per two
    cores.
    """
    videos = decode_videos(
        [(video.id, video.path) for video in todo], request, workers or default_workers()
    )
    under_way: list[tuple[Job, DecodeSummary, list[int]]] = []
    with closing(videos):  # and with it the decoding processes, whatever ends the run
        for video, stream in zip(todo, videos, strict=True):
            try:
                job, decoded = _receive(stream, [lanes[number] for number in video.tracks], seconds)
            except VideoError as error:
                yield Failed(video.id, str(error))
                continue
            under_way.append((job, decoded, video.tracks))
            # not in their order: one may wait long for its batch to fill, where it alone lacks a
            # track
            for whole in [item for item in under_way if item[0].complete]:
                under_way.remove(whole)
                yield _extracted(*whole, lanes)
    for lane in lanes.values():
        lane.flush(seconds)
    for job, decoded, tracks in under_way:
        yield _extracted(job, decoded, tracks, lanes)


def _receive(
    stream: DecodedStream, lanes: list[Lane], seconds: Seconds
) -> tuple[Job, DecodeSummary]:
    with timed(seconds, "waiting for frames"):
        header, frames = stream.open()
        job = Job(stream.id, header, lanes)
    while True:
        with timed(seconds, "waiting for frames"):
            some = next(frames, None)
        if some is None:
            break
        job.receive(*some, seconds)
    with timed(seconds, "waiting for frames"):
        decoded = stream.summary()
    seconds["decode (in workers)"] += decoded.seconds
    return job, decoded


def _extracted(
    job: Job, decoded: DecodeSummary, tracks: list[int], lanes: dict[int, Lane]
) -> Extracted:
    opened = job.opened
    attributes = VideoAttributes(
        source_digest=opened.source.digest,
        source_size=opened.source.size,
        source_mtime_ns=opened.source.mtime_ns,
        width=opened.width,
        height=opened.height,
        fps=opened.fps,
        frames=opened.length,
        repeated=opened.repeated,
        decoder=decoded.decoder,
        damage=opened.damage,
        seconds=decoded.seconds,
    )
    features = {
        number: job.features(lanes[number], replace(attributes, runtime=lanes[number].runtime))
        for number in tracks
    }
    return Extracted(job.id, features, len(opened.distinct), opened.damage)
