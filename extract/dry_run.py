"""`dry_run`: what an extraction would do: which videos it lacks, what each `auto` means here, how
long it takes and how much it writes.

The estimate is measured: some of the videos are extracted into a folder that is removed again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from vqa_twostage.extract.decoding.video import decoder_name
from vqa_twostage.extract.decoding.workers import default_workers
from vqa_twostage.extract.extraction.loop import extract_videos
from vqa_twostage.extract.extraction.plan import ExtractionPlan, plan_tracks, resolve_specs
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.networks.hub import NotFetchedError, without_fetching
from vqa_twostage.extract.options import BATCH_FRAMES, ExtractOptions
from vqa_twostage.extract.pending import PendingVideo, pending_videos
from vqa_twostage.extract.run import paths_of
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.usage import bytes_a_video
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.limits import parse_limits

TRIED = 4  # videos, of which the first also waits for processes to start


@dataclass(frozen=True)
class PlannedTrack:
    """A track, and how many of the videos it holds already."""

    path: Path
    identity: TrackIdentity
    there: int

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "there": self.there,
            "weights": self.identity.weights,
            "preprocessing": self.identity.preprocessing,
        }


@dataclass(frozen=True)
class Estimate:
    """What the videos that are to be extracted would take, from ``tried`` of them."""

    seconds: float
    bytes: int
    tried: int


@dataclass(frozen=True)
class DryRun:
    """What an extraction would do. Without ``tracks`` where these are not known, without
    ``estimate`` where there is nothing to extract or nothing to try; ``note`` says why.
    """

    dataset: str
    folder: Path
    """Of the dataset in the cache."""
    options: ExtractOptions
    """As they were given."""
    resolved: ExtractOptions
    """With what each ``auto``, and each 0 that stands for one, means here."""
    videos: int
    missing: int
    """Videos whose files are not there."""
    pending: int | None
    """Videos that are there, and that a track lacks."""
    tracks: tuple[PlannedTrack, ...] = ()
    estimate: Estimate | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-extract --dry-run --json``, to which the command adds what the same
        preset says to the other stage.
        """
        return {
            "dataset": self.dataset,
            "videos": self.videos,
            "missing": self.missing,
            "pending": self.pending,
            "cache": str(self.folder),
            "extract": asdict(self.options),
            "resolved": asdict(self.resolved),
            "tracks": [track.to_json() for track in self.tracks],
            "estimate": self.estimate and asdict(self.estimate),
            "note": self.note,
        }


def dry_run(manifest: Manifest, cache: Path, options: ExtractOptions) -> DryRun:
    """Writes nothing to the cache, and fetches no weights.

    UsageError as `extract.run.extract_dataset`, but for weights that are not on this machine: then
    the tracks are not known.
    """
    resolve_specs(options)
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(manifest))
    paths = paths_of(manifest, options)
    missing = [video_id for video_id, path in paths.items() if not path.is_file()]
    found = DryRun(
        dataset=manifest.name,
        folder=cache / manifest.name,
        options=options,
        resolved=_resolved(options, runtime),
        videos=len(paths),
        missing=len(missing),
        pending=None,
    )
    start = perf_counter()
    try:
        with without_fetching():
            plan = plan_tracks(manifest.name, cache, options, runtime, manifest.raw)
    except NotFetchedError as error:
        return replace(found, note=str(error))
    loading = perf_counter() - start
    there = [track.path for track in plan.tracks if track.path.path.exists()]
    pending = _pending(paths, there, plan)
    tracks = tuple(
        PlannedTrack(
            track.path.path,
            track.identity,
            len(paths) - sum(track.path in video.tracks for video in pending),
        )
        for track in plan.tracks
    )
    extracted = [video for video in pending if video.id not in set(missing)]
    found = replace(found, tracks=tracks, pending=len(extracted))
    if not extracted:
        return found
    estimate, note = _estimate(extracted, plan, loading)
    return replace(found, estimate=estimate, note=note)


def _resolved(options: ExtractOptions, runtime: Runtime) -> ExtractOptions:
    return replace(
        options,
        limits=str(parse_limits(options.limits)),
        decoder=decoder_name(options.decoder),
        device=str(runtime.device),
        runtime=runtime.name,
        batch_size=options.batch_size or BATCH_FRAMES[runtime.device.type],
        workers=options.workers or default_workers(),
    )


def _pending(
    paths: Mapping[str, Path], there: Sequence[TrackPath], plan: ExtractionPlan
) -> list[PendingVideo]:
    """The videos that a track lacks, tracks that are not there yet included."""
    absent = tuple(track.path for track in plan.tracks if track.path not in there)
    with ExitStack() as stack:
        opened = {place: stack.enter_context(open_track(place)) for place in there}
        by_id = {video.id: video for video in pending_videos(paths.items(), opened)}
    return [
        PendingVideo(name, path, (*(by_id[name].tracks if name in by_id else ()), *absent))
        for name, path in paths.items()
        if absent or name in by_id
    ]


def _estimate(
    pending: Sequence[PendingVideo], plan: ExtractionPlan, loading: float
) -> tuple[Estimate | None, str]:
    """From videos spread over ``pending``; and a note where these could not be extracted."""
    some = [pending[place * len(pending) // TRIED] for place in range(TRIED)]
    wanted = {path for video in pending for path in video.tracks}
    moments: list[float] = []
    with tempfile.TemporaryDirectory(prefix="vqa-dry-run-") as folder:
        scratch = Path(folder)
        tracks = [track for track in plan.tracks if track.path in wanted]
        tried = replace(
            plan,
            tracks=tuple(replace(track, path=track.path.in_cache(scratch)) for track in tracks),
        )
        start = perf_counter()
        results = extract_videos(
            {video.id: video.path for video in some}.items(),
            tried,
            {},
            lambda done, total: moments.append(perf_counter()),
        )
        if not results.done:
            reasons = "; ".join(failure.reason for failure in results.failed)
            return None, f"no estimate: none of {len(results.failed)} videos works: {reasons}"
        size = 0.0
        for track in tracks:
            with open_track(track.path.in_cache(scratch)) as opened:
                size += bytes_a_video(opened) * sum(track.path in video.tracks for video in pending)
    # the first moment is when the networks are ready; processes start before the first video
    ready, *ended = moments
    rate = (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else ended[-1] - ready
    started = max(0.0, ended[0] - ready - rate)
    seconds = loading + (ready - start) + started + rate * len(pending)
    return Estimate(round(seconds, 1), round(size), results.done), ""
