"""`dry_run`: what an extraction would do: which videos it lacks, what each `auto` means here, how
long it takes and how much it writes.

The estimate is measured (`extract.extraction.estimate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from vqa_twostage.extract.decoding.video import decoder_name
from vqa_twostage.extract.decoding.workers import default_workers
from vqa_twostage.extract.extraction.estimate import Estimate, Machines, estimated
from vqa_twostage.extract.extraction.plan import ExtractionPlan, plan_tracks, resolve_specs
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.networks.hub import NotFetchedError, without_fetching
from vqa_twostage.extract.options import BATCH_FRAMES, ExtractOptions
from vqa_twostage.extract.pending import PendingVideo, pending_videos
from vqa_twostage.extract.run import paths_of
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.limits import parse_limits
from vqa_twostage.pipeline.remote_files import VideoFile

ONE = Machines()


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


def dry_run(
    manifest: Manifest, cache: Path, options: ExtractOptions, machines: Machines = ONE
) -> DryRun:
    """Writes nothing to the cache, and fetches no weights. The estimate is for so many
    ``machines``, each with an equal part of the videos.

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
    estimate, note = estimated(extracted, plan, loading, machines)
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
    paths: Mapping[str, VideoFile], there: Sequence[TrackPath], plan: ExtractionPlan
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
