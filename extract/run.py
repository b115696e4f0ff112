"""`extract_dataset`, the one loop of stage one: what the cache lacks is extracted, each video
published whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vqa_twostage.extract.decoding.video import DECODING_VERSION, decoder_name
from vqa_twostage.extract.decoding.workers import DecodeRequest, Source
from vqa_twostage.extract.extractor import Extractor, View
from vqa_twostage.extract.inference.batching import TrackBatcher
from vqa_twostage.extract.inference.engine import (
    Engine,
    ExtractedVideo,
    FailedVideo,
    LocalEngine,
    PendingVideo,
)
from vqa_twostage.extract.inference.runtime import Runtime, check_view, full_float32
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.options import BATCH_FRAMES, ExtractOptions
from vqa_twostage.extract.results import Damage, Extraction, Failure, VideoResults
from vqa_twostage.extract.sampler import Sampler
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, extraction_path, provenance
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import Track
from vqa_twostage.pipeline.cache.track_writer import TrackWriter, write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.files import write_json
from vqa_twostage.pipeline.identity import (
    Kind,
    TrackIdentity,
    name_of_extractor,
    spec_of_extractor,
)
from vqa_twostage.pipeline.raw_format import RawFormat
from vqa_twostage.pipeline.spec import Plugin
from vqa_twostage.pipeline.versions import library_versions

Progress = Callable[[int, int], None]
LOADING = "load networks"


def _no_progress(done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class TrackPlan:
    """One extractor on one sampling: what will be in one file."""

    extractor: Extractor
    view: View
    identity: TrackIdentity
    path: TrackPath


@dataclass(frozen=True)
class ExtractionPlan:
    """All that is known of an extraction before its first video; ``raw`` is the format of files
    that have no container.
    """

    tracks: tuple[TrackPlan, ...]
    options: ExtractOptions
    runtime: Runtime
    raw: RawFormat | None = None


def resolve_specs(options: ExtractOptions) -> tuple[Plugin, list[tuple[Kind, Plugin]]]:
    """The sampler, and the extractors with their kinds, spatial first; UsageError for a spec or a
    decoder that cannot be used. No weights are loaded.
    """
    decoder_name(options.decoder)
    sampler = spec.resolve("extract.samplers", options.sampler)
    sampler.build()
    extractors: list[tuple[Kind, Plugin]] = [
        ("spatial", spec.resolve("extract.spatial", options.spatial)),
        *(("temporal", spec.resolve("extract.temporal", text)) for text in options.temporal),
    ]
    for _, extractor in extractors:
        extractor.shared()
    return sampler, extractors


def _build_extractor(plugin: Plugin) -> Extractor:
    """With its weights; TypeError where a plug-in does not keep the contract."""
    extractor = plugin.build()
    if not isinstance(extractor, Extractor):
        raise TypeError(
            f"build() of the plug-in {plugin.module.__name__} returned a "
            f"{type(extractor).__name__}, not an Extractor"
        )
    return extractor


def plan_tracks(
    dataset: str,
    cache: Path,
    options: ExtractOptions,
    runtime: Runtime,
    raw: RawFormat | None = None,
) -> ExtractionPlan:
    """Resolves every spec and loads the weights, whose digest is a part of the identity.

    A track that is asked for twice is planned once. ``raw`` is the manifest's. UsageError for a
    spec that cannot be used, weights that cannot be had, or a sampler that does not suit.
    """
    sampler, extractors = resolve_specs(options)
    choose: Sampler = sampler.build()
    clip_frames = choose.clip_frames
    plans: dict[TrackPath, TrackPlan] = {}
    for kind, plugin in extractors:
        extractor = _build_extractor(plugin)
        if extractor.of_clips and clip_frames != extractor.unit_frames:
            sampled = f"clips of {clip_frames}" if clip_frames > 1 else "single frames"
            raise UsageError(
                f"{plugin.spec} looks at clips of {extractor.unit_frames} frames, and the sampler "
                f"{options.sampler} gives {sampled}; "
                f"choose --sampler clips:frames={extractor.unit_frames}"
            )
        view: View = plugin.shared()
        if view.grid or view.resolutions:
            check_view(extractor, view)
        identity = TrackIdentity(
            kind,
            spec_of_extractor(plugin),
            sampler.portable_spec,
            plugin.version,
            sampler.version,
            weights=extractor.weights_digest,
            preprocessing=str(replace(extractor.preprocessing, fit=view.fit)),
            decoding_version=DECODING_VERSION,
            precision=runtime.identity,
            sampler_digest=choose.digest,
            raw=str(raw or ""),  # the same bytes read otherwise are other frames
        )
        path = TrackPath.of(cache, dataset, name_of_extractor(plugin), identity)
        plans[path] = TrackPlan(extractor, view, identity, path)
    return ExtractionPlan(tuple(plans.values()), options, runtime, raw)


def extract_dataset(
    manifest: Manifest,
    cache: str | Path,
    options: ExtractOptions,
    on_progress: Progress = _no_progress,
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
        on_progress: Called with the number of videos that are done, and of all.

    Returns:
        What was done, what failed, and where the features are.

    Raises:
        UsageError: A spec names nothing, weights cannot be had, or the cache holds other videos;
            nothing was extracted.
    """
    start, times, cache = time.perf_counter(), PhaseTimes(), Path(cache)
    rows = manifest.rows.iloc[options.rows]
    paths = dict(zip(rows["id"].astype(str), rows["path"].astype(str), strict=True))
    root = _root_of(manifest)
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(manifest))
    with times.measure(LOADING):
        plan = plan_tracks(manifest.name, cache, options, runtime, manifest.raw)
    save_manifest(cache, manifest)
    videos = [(video_id, root / path) for video_id, path in paths.items()]
    results = extract_videos(videos, plan, provenance(manifest), on_progress, times)
    extraction = Extraction(
        dataset=manifest.name,
        done=results.done,
        skipped=results.skipped,
        failed=tuple(_with_path(failure, paths[failure.id]) for failure in results.failed),
        damaged=results.damaged,
        tracks=tuple(track.path.path for track in plan.tracks),
        frames=results.frames,
        seconds=round(time.perf_counter() - start, 3),
        phases=times.to_json(),
        record=extraction_path(cache, manifest.name),
    )
    _write_record(extraction, plan, manifest)
    return extraction


def extract_videos(
    videos: Iterable[tuple[str, Path]],
    plan: ExtractionPlan,
    provenance: Mapping[str, str],
    on_progress: Progress = _no_progress,
    times: PhaseTimes | None = None,
) -> VideoResults:
    """Extracts what the tracks of a plan lack of ``videos``, pairs of a unique id and a path.

    ``provenance`` is recorded in tracks that are created.
    """
    times, videos = times or PhaseTimes(), list(videos)
    with ExitStack() as stack:
        tracks = {
            # in one order, so that two commands that wait for each other's tracks cannot block
            track.path: stack.enter_context(
                write_track(track.path, track.identity, provenance, plan.options.wait)
            )
            for track in sorted(plan.tracks, key=lambda track: track.path)
        }
        pending = _pending_videos(videos, tracks)
        with times.measure(LOADING):
            engine = _local_engine(plan, pending, times)
        skipped = len(videos) - len(pending)
        on_progress(skipped, len(videos))
        stack.enter_context(full_float32())
        results = stack.enter_context(closing(engine.extract(pending)))
        return _publish(
            results, tracks, skipped, times, lambda done: on_progress(done, len(videos))
        )


def _pending_videos(
    videos: Iterable[tuple[str, Path]], tracks: Mapping[TrackPath, Track]
) -> list[PendingVideo]:
    """The videos that a track lacks."""
    pending = []
    for video_id, path in videos:
        lacking = _tracks_without(video_id, path, tracks)
        if lacking:
            pending.append(PendingVideo(video_id, path, lacking))
    return pending


def _tracks_without(
    video_id: str, path: Path, tracks: Mapping[TrackPath, Track]
) -> tuple[TrackPath, ...]:
    """The tracks that do not hold this very file: by size and time, else by its content."""
    stored = {
        place: track.attributes(video_id) for place, track in tracks.items() if video_id in track
    }
    try:
        status = path.stat()
        now = (status.st_size, status.st_mtime_ns)
        touched = {
            place
            for place, attributes in stored.items()
            if (attributes.source_size, attributes.source_mtime_ns) != now
        }
        digest = Source.of(path).digest if touched else ""
    except (OSError, ValueError, VideoError):
        # the video is gone or out of reach, its features are in the cache: that is what it is for
        return tuple(place for place in tracks if place not in stored)
    replaced = {place for place in touched if stored[place].source_digest != digest}
    return tuple(place for place in tracks if place not in stored or place in replaced)


def _local_engine(
    plan: ExtractionPlan, pending: Sequence[PendingVideo], times: PhaseTimes
) -> Engine:
    """The engine with the networks of those tracks that lack a video."""
    options, wanted = plan.options, {place for video in pending for place in video.tracks}
    batch_frames = options.batch_size or BATCH_FRAMES[plan.runtime.device.type]
    tracks = [track for track in plan.tracks if track.path in wanted]
    batchers = {
        track.path: TrackBatcher(track.extractor, track.view, plan.runtime, batch_frames)
        for track in tracks
    }
    request = DecodeRequest(
        options.sampler,
        options.decoder,
        clips=any(track.extractor.of_clips for track in tracks),
        sampler_digest=plan.tracks[0].identity.sampler_digest,
        raw=plan.raw,
    )
    return LocalEngine(batchers, request, options.workers, times)


def _publish(
    results: Iterable[ExtractedVideo | FailedVideo],
    tracks: Mapping[TrackPath, TrackWriter],
    skipped: int,
    times: PhaseTimes,
    on_progress: Callable[[int], None],
) -> VideoResults:
    """Writes each video into its tracks, whole or not at all, and counts what became of it."""
    frames, done = 0, 0
    failed: list[Failure] = []
    damaged: list[Damage] = []
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
        except VideoError as error:
            failed.append(Failure.of(result.id, error))
        on_progress(skipped + done + len(failed))
    return VideoResults(done, skipped, tuple(failed), tuple(damaged), frames)


def _root_of(manifest: Manifest) -> Path:
    """The folder of the videos; UsageError for a manifest that was read from a cache."""
    if manifest.root is None:
        raise UsageError(
            f"the manifest of {manifest.name} has no root, the folder of its videos; "
            "load_manifest(dataset, root) sets it"
        )
    return manifest.root


def _with_path(failure: Failure, path: str) -> Failure:
    """Of a file that is missing, the reason says which it is, as its dataset names it."""
    if failure.kind != "missing":
        return failure
    return replace(failure, reason=f"{failure.reason}: {path}")


def _write_record(extraction: Extraction, plan: ExtractionPlan, manifest: Manifest) -> None:
    """Keeps what was asked for beside what came of it."""
    record = {
        "options": asdict(plan.options),
        "runtime": {"name": plan.runtime.name, "device": str(plan.runtime.device)},
        "identities": [track.identity.to_json() for track in plan.tracks],
        "versions": library_versions(),
        "manifest": manifest.digest,
    }
    write_json(extraction.record, {**extraction.to_json(), **record})
