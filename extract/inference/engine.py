"""What engines are made of, and the engine of one machine: processes decode, this one runs the
networks and gives whole videos back.

The engine of a cluster is `extract/cluster/driver.py`; `extract/extraction/loop.py` is the one
writer for both.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vqa_twostage.extract.decoding.workers import (
    DecodedStream,
    DecodeRequest,
    DecodeSummary,
    SomeFrames,
    VideoHeader,
    decode_videos,
    default_workers,
)
from vqa_twostage.extract.inference.batching import TrackBatcher, VideoInFlight
from vqa_twostage.extract.inference.resizing import ResizedFrames, Resizer
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.inference.units import UnitLayout
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


@runtime_checkable
class ResizedVideo(Protocol):
    """A video on its way to the networks: `open` it, take all its frames, then ask for its
    `summary`. Each raises VideoError where the video cannot be used.
    """

    def open(self) -> tuple[VideoHeader, Iterator[Sequence[ResizedFrames]]]: ...

    def summary(self) -> DecodeSummary: ...


class Networks:
    """The networks of tracks with the videos that are in their batches.

    ``times`` adds up how long each phase takes.
    """

    def __init__(self, batchers: Mapping[TrackPath, TrackBatcher], times: PhaseTimes) -> None:
        self._batchers, self._times = batchers, times
        self._in_flight: dict[str, VideoInFlight] = {}

    def layouts(self, video: PendingVideo) -> dict[TrackPath, UnitLayout]:
        """How frames of a video become units, for the tracks that lack it."""
        return {track: self._batchers[track].layout for track in video.tracks}

    def extract(
        self, video: PendingVideo, stream: ResizedVideo
    ) -> Generator[ExtractedVideo | FailedVideo, None, None]:
        """Takes a video whole, and gives those that are complete by then.

        Frames of neighbours share batches. A video that alone lacks a track may wait long for that
        batch to fill, and others come before it.
        """
        try:
            self._receive(video, stream)
        except VideoError as error:
            self.drop(video)
            yield FailedVideo(video.id, error)
        yield from self._complete_videos()

    def drop(self, video: PendingVideo) -> None:
        """Units of it may be in a batch: what comes of them is dropped."""
        self._in_flight.pop(video.id, None)

    def finish(self) -> Generator[ExtractedVideo, None, None]:
        """Runs the batches that are not full, and gives the videos that wait for them."""
        for track, batcher in self._batchers.items():
            if not batcher.empty:
                self._run(track)
        yield from self._complete_videos()

    def _receive(self, video: PendingVideo, stream: ResizedVideo) -> None:
        """All frames of a video, through the batches that they fill."""
        header, frames = stream.open()
        in_flight = VideoInFlight(video.id, header, self.layouts(video))
        self._in_flight[video.id] = in_flight
        for some in frames:
            in_flight.receive(some)
            for unit in in_flight.ready_units():
                self._batchers[unit.track].add(unit)
                if self._batchers[unit.track].full:
                    self._run(unit.track)
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


@dataclass(frozen=True)
class DecodedHere:
    """A video that a process of this machine decodes, resized in this one for ``layouts``."""

    stream: DecodedStream
    layouts: Mapping[TrackPath, UnitLayout]
    times: PhaseTimes

    def open(self) -> tuple[VideoHeader, Iterator[Sequence[ResizedFrames]]]:
        with self.times.measure(WAITING):
            header, frames = self.stream.open()
        return header, self._resized(header, frames)

    def _resized(
        self, header: VideoHeader, frames: Iterator[SomeFrames]
    ) -> Iterator[Sequence[ResizedFrames]]:
        resizer = Resizer(header, self.layouts.values())
        while True:
            with self.times.measure(WAITING):
                some = next(frames, None)
            if some is None:
                return
            with self.times.measure("resize"):
                resized = resizer.resize(*some)
            yield resized

    def summary(self) -> DecodeSummary:
        with self.times.measure(WAITING):
            return self.stream.summary()


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
        self._networks = Networks(batchers, times)
        self._request, self._times = request, times
        self._workers = workers or default_workers()

    def extract(
        self, videos: Sequence[PendingVideo]
    ) -> Generator[ExtractedVideo | FailedVideo, None, None]:
        """As `Engine.extract`."""
        networks, pairs = self._networks, [(video.id, video.path) for video in videos]
        streams = decode_videos(pairs, self._request, self._workers)
        with closing(streams):  # and with it the decoding processes, whatever ends the run
            for video, stream in zip(videos, streams, strict=True):
                decoded = DecodedHere(stream, networks.layouts(video), self._times)
                yield from networks.extract(video, decoded)
        yield from networks.finish()
