"""`extract_dataset`: a dataset and options in, the tracks of its features out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vqa_twostage.extract.extraction.known_tracks import (
    REQUESTS,
    known_tracks,
    request_of,
    requests_of,
    with_request,
)
from vqa_twostage.extract.inference.timing import LOADING, PhaseTimes
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.pending import pending_videos
from vqa_twostage.extract.results import Extraction, Failure, Progress, VideoResults, no_progress
from vqa_twostage.pipeline.addresses import CACHE_ADVICE, require_local
from vqa_twostage.pipeline.cache.layout import TrackPath, extraction_path, provenance
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import write_json
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.ray_cluster import connecting
from vqa_twostage.pipeline.remote_files import VideoFile
from vqa_twostage.pipeline.versions import library_versions

if TYPE_CHECKING:
    from vqa_twostage.extract.extraction.loop import MakeEngine
    from vqa_twostage.extract.extraction.plan import ExtractionPlan, TrackPlan
    from vqa_twostage.extract.inference.engine import Engine
    from vqa_twostage.extract.inference.runtime import Runtime

# imported by processes of a cluster as they start, while this program plans: torch takes seconds
PRELOADED = ("vqa_twostage.extract.cluster.networks",)


@bar_in_notebook("extract")
def extract_dataset(
    manifest: Manifest,
    cache: str | Path,
    options: ExtractOptions,
    on_progress: Progress = no_progress,
) -> Extraction:
    """Extracts every track of ``options`` for every video that ``cache`` does not hold yet;
    `vqa-extract` is this.

    A video that cannot be used is listed under ``failed`` with its reason, and the others go on.
    What is done is kept whatever ends the run. Videos are decoded in processes of their own, which
    import nothing of the program that calls this.

    Args:
        manifest: The videos and their labels, from `vqa_twostage.load_manifest`.
        cache: The folder that features go to, as
            ``<cache>/<dataset>/<sampler>/<extractor>-<digest>.h5``.
        options: Which networks, on which frames, with what.
        on_progress: Called with the number of videos that are done, and of all; left out, a
            notebook shows a bar.

    Returns:
        What was done, what failed, and where the features are.

    Raises:
        UsageError: A spec names nothing, weights cannot be had, or the cache holds other videos;
            nothing was extracted.
    """
    require_local(cache, "the cache", CACHE_ADVICE)
    start, times, cache = time.perf_counter(), PhaseTimes(), Path(cache)
    paths = paths_of(manifest, options)
    request = request_of(options, manifest.raw)
    tracks = known_tracks(cache, manifest.name, request)
    runtime = None
    if tracks and _all_there(paths, tracks):
        save_manifest(cache, manifest)
        on_progress(len(paths), len(paths))
        results = VideoResults(
            done=0, skipped=len(paths), failed=(), damaged=(), notes=(), frames=0
        )
    else:
        with _starting_engine(options) as make_engine:
            # heavy, and not needed where everything is in the cache
            from vqa_twostage.extract.extraction.loop import extract_videos
            from vqa_twostage.extract.extraction.plan import plan_tracks
            from vqa_twostage.extract.inference.runtime import Runtime

            # the machines of a cluster choose their own device; this one need not have such
            device = "cpu" if options.engine == "ray" else options.device
            runtime = Runtime.of(options.runtime, device, options.precision, len(manifest))
            with times.measure(LOADING):
                plan = plan_tracks(manifest.name, cache, options, runtime, manifest.raw)
            save_manifest(cache, manifest)
            tracks = tuple(track.path for track in plan.tracks)
            results = extract_videos(
                paths.items(), plan, provenance(manifest), on_progress, times, make_engine
            )
    names = dict(zip(manifest.rows["id"], manifest.rows["path"], strict=True))
    extraction = Extraction(
        dataset=manifest.name,
        done=results.done,
        skipped=results.skipped,
        failed=tuple(_with_path(failure, names[failure.id]) for failure in results.failed),
        damaged=results.damaged,
        notes=results.notes,
        tracks=tuple(track.path for track in tracks),
        frames=results.frames,
        seconds=round(time.perf_counter() - start, 3),
        phases=times.to_json(),
        record=extraction_path(cache, manifest.name),
    )
    _write_record(extraction, options, runtime, manifest, request)
    return extraction


@contextmanager
def _starting_engine(options: ExtractOptions) -> Iterator[MakeEngine]:
    """What makes the engine that ``options`` name, once there is a plan. A cluster starts while the
    block goes on.
    """
    if options.engine != "ray":
        from vqa_twostage.extract.extraction.loop import local_engine

        yield local_engine
        return
    with connecting(options.ray_address, PRELOADED) as ray:

        def ray_engine(
            plan: ExtractionPlan, tracks: Sequence[TrackPlan], times: PhaseTimes
        ) -> Engine:
            from vqa_twostage.extract.cluster.driver import RayEngine
            from vqa_twostage.extract.cluster.job import Job

            return RayEngine(ray, Job.of(plan, tracks), times)

        yield ray_engine


def paths_of(manifest: Manifest, options: ExtractOptions) -> dict[str, VideoFile]:
    """The file of each video that ``options`` choose, by its id; UsageError for a manifest that was
    read from a cache.
    """
    if manifest.root is None:
        raise UsageError(
            f"the manifest of {manifest.name} has no root, the folder of its videos; "
            "load_manifest(dataset, root) sets it"
        )
    rows = manifest.rows.iloc[options.rows]
    return {
        str(video_id): manifest.root / str(path)
        for video_id, path in zip(rows["id"], rows["path"], strict=True)
    }


def _all_there(paths: Mapping[str, VideoFile], tracks: Sequence[TrackPath]) -> bool:
    """Whether all tracks are at their places and hold all videos."""
    with ExitStack() as stack:
        opened = {place: stack.enter_context(open_track(place)) for place in tracks}
        in_place = all(
            place.stem.endswith(track.identity.digest) for place, track in opened.items()
        )
        return in_place and not pending_videos(paths.items(), opened)


def _with_path(failure: Failure, path: str) -> Failure:
    """Of a file that is missing, the reason says which it is, as its dataset names it."""
    if failure.kind != "missing":
        return failure
    return replace(failure, reason=f"{failure.reason}: {path}")


def _write_record(
    extraction: Extraction,
    options: ExtractOptions,
    runtime: Runtime | None,
    manifest: Manifest,
    request: str | None,
) -> None:
    """Keeps what was asked for beside what came of it; ``runtime`` None where nothing ran."""
    tracks = [TrackPath.parse(path) for path in extraction.tracks]
    requests = requests_of(extraction.record.parent.parent, manifest.name)
    identities = []
    for track in tracks:
        with open_track(track) as opened:
            identities.append(opened.identity.to_json())
    record = {
        "options": asdict(options),
        "runtime": runtime and {"name": runtime.name, "device": str(runtime.device)},
        "identities": identities,
        "versions": library_versions(),
        "manifest": manifest.digest,
        REQUESTS: with_request(requests, request, tracks),
    }
    write_json(extraction.record, {**extraction.to_json(), **record})
