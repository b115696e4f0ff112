"""The engine of one machine: processes decode, this one runs the networks and gives whole videos
back.

Another engine, for many machines, is another `Engine`; `extract/extraction/loop.py` is the one
writer for all.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vqa_twostage.extract.decoding.workers import (
    DecodedStream,
    DecodeRequest,
    decode_videos,
    default_workers,
)
from vqa_twostage.extract.inference.batching import TrackBatcher, VideoInFlight
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.features import VideoFeatures

WAITING = "waiting for frames"


@dataclass(frozen=True)
class ExtractedVideo:
    """The features of a video for all tracks that lacked it.

    ``frames``: how many of its frames networks looked at; ``damage``: what is wrong with its file;
    ``note``: what should be known of how it was read.
    """

    id: str
    features: dict[TrackPath, VideoFeatures]
    frames: int
    damage: str
    note: str


@dataclass(frozen=True)
class FailedVideo:
    id: str
    error: VideoError


@runtime_checkable
class Engine(Protocol):
    """What extracts videos: gives each of ``videos``, whose ids are unique, as soon as it is whole
    or has failed, in any order.
    """

    def extract(
        self, videos: Sequence[PendingVideo]
    ) -> Generator[ExtractedVideo | FailedVideo, None, None]: ...


class LocalEngine:
    """Decodes in ``workers`` processes (0: one per two cores) and runs the networks of ``batchers``
    in this one.

    ``times`` adds up how long each phase takes.
    """

    def __init__(
        self,
        batchers: Mapping[TrackPath, TrackBatcher],
        request: DecodeRequest,
        workers: int,
        times: PhaseTimes,
    ) -> None:
        self._batchers, self._request, self._times = batchers, request, times
        self._workers = workers or default_workers()
        self._in_flight: dict[str, VideoInFlight] = {}

    def extract(
        self, videos: Sequence[PendingVideo]
    ) -> Generator[ExtractedVideo | FailedVideo, None, None]:
        """As `Engine.extract`.

        Frames of neighbours share batches. A video that alone lacks a track may wait long for that
        batch to fill, and others come before it.
        """
        pairs = [(video.id, video.path) for video in videos]
        streams = decode_videos(pairs, self._request, self._workers)
        with closing(streams):  # and with it the decoding processes, whatever ends the run
            for video, stream in zip(videos, streams, strict=True):
                try:
                    self._receive(video, stream)
                except VideoError as error:
                    # units of it may be in a batch: what comes of them is dropped
                    self._in_flight.pop(video.id, None)
                    yield FailedVideo(video.id, error)
                    continue
                yield from self._complete_videos()
        for track, batcher in self._batchers.items():
            if not batcher.empty:
                self._run(track)
        yield from self._complete_videos()

    def _receive(self, video: PendingVideo, stream: DecodedStream) -> None:
        """All frames of a video, through the batches that they fill; VideoError where its decoder
        fails.
        """
        with self._times.measure(WAITING):
            header, frames = stream.open()
        layouts = {track: self._batchers[track].layout for track in video.tracks}
        in_flight = self._in_flight[video.id] = VideoInFlight(video.id, header, layouts)
        while True:
            with self._times.measure(WAITING):
                some = next(frames, None)
            if some is None:
                break
            with self._times.measure("resize"):
                in_flight.receive(*some)
            for unit in in_flight.ready_units():
                self._batchers[unit.track].add(unit)
                if self._batchers[unit.track].full:
                    self._run(unit.track)
        with self._times.measure(WAITING):
            in_flight.decoded = stream.summary()
        self._times.add("decode (in workers)", in_flight.decoded.seconds)

    def _run(self, track: TrackPath) -> None:
        with self._times.measure("forward"):
            features = self._batchers[track].run()
        for part in features:
            if video := self._in_flight.get(part.video):
                video.collect(part)

    def _complete_videos(self) -> Generator[ExtractedVideo, None, None]:
        for video in [video for video in self._in_flight.values() if video.complete]:
            del self._in_flight[video.id]
            features = {
                track: video.features(track, self._batchers[track].runtime)
                for track in video.tracks
            }
            header, decoded = video.header, video.decoded
            damage = decoded.damage if decoded else ""
            yield ExtractedVideo(video.id, features, len(header.distinct), damage, header.note)
