"""`extract_videos`, the one loop of stage one: what tracks lack is extracted, each video published
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing

from vqa_twostage.extract.extraction.assembly import (
    decode_request,
    lacking_tracks,
    load_batchers,
)
from vqa_twostage.extract.extraction.plan import ExtractionPlan, TrackPlan
from vqa_twostage.extract.inference.engine import (
    Engine,
    ExtractedVideo,
    FailedVideo,
    LocalEngine,
)
from vqa_twostage.extract.inference.runtime import few_threads, full_float32
from vqa_twostage.extract.inference.timing import LOADING, PhaseTimes
from vqa_twostage.extract.pending import PendingVideo, pending_videos
from vqa_twostage.extract.results import Damage, Failure, Note, Progress, VideoResults, no_progress
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track_writer import TrackWriter, write_track
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile

MakeEngine = Callable[[ExtractionPlan, Sequence[TrackPlan], PhaseTimes], Engine]


def local_engine(
    plan: ExtractionPlan, tracks: Sequence[TrackPlan], times: PhaseTimes
) -> LocalEngine:
    """The engine of this machine for ``tracks``, with their networks loaded."""
    request, batchers = decode_request(plan, tracks), load_batchers(plan, tracks)
    return LocalEngine(batchers, request, plan.options.workers, times)


def extract_videos(
    videos: Iterable[tuple[str, VideoFile]],
    plan: ExtractionPlan,
    provenance: Mapping[str, str],
    on_progress: Progress = no_progress,
    times: PhaseTimes | None = None,
    make_engine: MakeEngine = local_engine,
) -> VideoResults:
    """Extracts what the tracks of a plan lack of ``videos``, pairs of a unique id and a file.

    ``provenance`` is recorded in tracks that are created. ``make_engine`` is called with
    the tracks that lack a video.
    """
    times, videos = times or PhaseTimes(), list(videos)
    with ExitStack() as stack:
        tracks = {
            # in one order, so that two commands that wait for each other's tracks cannot block
            track.path: stack.enter_context(
                write_track(track.path, track.identity, provenance, plan.options.wait, len(videos))
            )
            for track in sorted(plan.tracks, key=lambda track: track.path)
        }
        pending = pending_videos(videos, tracks)
        with times.measure(LOADING):
            engine = make_engine(plan, lacking_tracks(plan, pending), times)
        skipped = len(videos) - len(pending)
        on_progress(skipped, len(videos))
        stack.enter_context(full_float32())
        stack.enter_context(few_threads(plan.runtime))
        results = stack.enter_context(closing(engine.extract(pending)))
        by_id = {video.id: video for video in pending}
        return _publish(
            results, tracks, by_id, skipped, times, lambda done: on_progress(done, len(videos))
        )


def _publish(
    results: Iterable[ExtractedVideo | FailedVideo],
    tracks: Mapping[TrackPath, TrackWriter],
    pending: Mapping[str, PendingVideo],
    skipped: int,
    times: PhaseTimes,
    on_progress: Callable[[int], None],
) -> VideoResults:
    """Writes each video into its tracks, whole or not at all, and counts what became of it."""
    frames, done = 0, 0
    failed: list[Failure] = []
    damaged: list[Damage] = []
    notes: list[Note] = []
    for result in results:
        try:
            if isinstance(result, FailedVideo):
                raise result.error
            with times.measure("write"):
                for place, features in result.features.items():
                    tracks[place].write(result.id, features)
            frames += result.frames
            done += 1
            if result.damage:
                damaged.append(Damage(result.id, result.damage))
            if result.note:
                notes.append(Note(result.id, result.note))
        except VideoError as error:
            if error.kind == "unchanged":
                _set_times(pending[result.id], tracks)
                skipped += 1
            else:
                failed.append(Failure.of(result.id, error))
        on_progress(skipped + done + len(failed))
    return VideoResults(done, skipped, tuple(failed), tuple(damaged), tuple(notes), frames)


def _set_times(video: PendingVideo, tracks: Mapping[TrackPath, TrackWriter]) -> None:
    """Of a file at an address that only has another time, so that it is not copied again."""
    if isinstance(video.path, RemoteFile):
        for place in video.tracks:
            tracks[place].set_time(video.id, video.path.mtime_ns)
