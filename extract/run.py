"""`extract_dataset`, the one loop of stage one: what the cache lacks is extracted, each video
published whole.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

import torch

from vqa_twostage.extract.decoding.containers import MISSING
from vqa_twostage.extract.decoding.video import decoder_identity, decoder_name
from vqa_twostage.extract.decoding.workers import DecodeRequest, Source
from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.inference.batching import Lane, Seconds, timed
from vqa_twostage.extract.inference.engine import Failed, Todo, extract_locally
from vqa_twostage.extract.inference.runtime import Runtime, check_view
from vqa_twostage.extract.options import BATCH_FRAMES, ExtractOptions, View
from vqa_twostage.extract.sampler import Sampler
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import (
    TrackPath,
    extraction_path,
    provenance,
    save_manifest,
)
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError, VideoError, require
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


class Failure(TypedDict):
    """A video without features, and why."""

    id: str
    reason: str


class Damage(TypedDict):
    """A video that was used as far as it goes."""

    id: str
    damage: str


class Videos(TypedDict):
    """What became of the videos of a manifest."""

    dataset: str
    videos: int
    """How many were asked for: ``done + skipped + len(failed)``."""
    done: int
    skipped: int
    """The cache held them."""
    failed: list[Failure]
    damaged: list[Damage]
    tracks: list[str]
    """The files with the features."""
    frames: int
    """Of the videos that were done, those that networks looked at."""


class Extraction(Videos):
    """The document of ``vqa-extract --json``."""

    seconds: float
    phases: dict[str, float]
    """Seconds of each part of the work."""
    record: str
    """The file that keeps this document with options, versions and identities."""


@dataclass(frozen=True)
class TrackPlan:
    """One extractor on one sampling: what will be in one file."""

    extractor: Extractor
    view: View
    identity: TrackIdentity
    path: TrackPath


def resolve_specs(options: ExtractOptions) -> tuple[Plugin, list[tuple[Kind, Plugin]]]:
    """The sampler, and the extractors with their kinds, spatial first; UsageError for a spec that
    cannot be used. No weights are loaded.
    """
    sampler = spec.resolve("extract.samplers", options.sampler)
    sampler.build()
    extractors: list[tuple[Kind, Plugin]] = [
        ("spatial", spec.resolve("extract.spatial", options.spatial)),
        *(("temporal", spec.resolve("extract.temporal", text)) for text in options.temporal),
    ]
    for _, extractor in extractors:
        extractor.shared()
    return sampler, extractors


def plan_tracks(
    dataset: str,
    cache: Path,
    options: ExtractOptions,
    runtime: Runtime,
    raw: RawFormat | None = None,
) -> list[TrackPlan]:
    """Resolves every spec and loads the weights (their digest is a part of the identity);
    UsageError on wrong use.

    A track that is asked for twice is planned once. ``raw`` is the manifest's.
    """
    sampler, extractors = resolve_specs(options)
    choose: Sampler = sampler.build()
    clip_frames = choose.clip_frames
    plans: dict[TrackPath, TrackPlan] = {}
    for kind, plugin in extractors:
        extractor = plugin.build()
        require(
            not extractor.of_clips or clip_frames == extractor.unit_frames,
            f"{plugin.spec} looks at clips of {extractor.unit_frames} frames, and the sampler "
            f"{options.sampler} gives "
            f"{f'clips of {clip_frames}' if clip_frames > 1 else 'single frames'}; "
            f"choose --sampler clips:frames={extractor.unit_frames}",
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
            decoder=decoder_identity(decoder_name(options.decoder)),
            precision=runtime.identity,
            sampler_digest=choose.digest,
            raw=str(raw or ""),  # the same bytes read otherwise are other frames
        )
        path = TrackPath.of(cache, dataset, name_of_extractor(plugin), identity)
        plans[path] = TrackPlan(extractor, view, identity, path)
    return list(plans.values())


def extract_dataset(
    manifest: Manifest,
    cache: Path,
    options: ExtractOptions,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Extraction:
    """Extracts every track of ``options`` for every video that ``cache`` does not hold yet;
    `vqa-extract` is this.

    A video that cannot be used is listed under ``failed`` with its reason, and the others go on.
    What is done is kept whatever ends the run. Videos are decoded in processes of their own, which
    import nothing of the program that calls this.

    Args:
        manifest: The videos and their labels, from `vqa_twostage.load_manifest`.
        cache: The folder that features go to, as
        ``<cache>/<dataset>/<sampler>/<extractor>-<digest>.h5``. options: Which networks, on which
        frames, with what. on_progress: Called with the number of videos that are done, and of all.

    Returns:
        What was done, what failed, and where the features are.

    Raises:
        UsageError: A spec names nothing, weights cannot be had, or the cache holds other videos;
        nothing was extracted.
    """
    if manifest.root is None:
        raise UsageError(
            f"the manifest of {manifest.name} has no root, the folder of its videos; "
            "load_manifest(dataset, root) sets it"
        )
    start, seconds = time.perf_counter(), defaultdict[str, float](float)
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(manifest))
    with timed(seconds, "load networks"):
        plans = plan_tracks(manifest.name, cache, options, runtime, manifest.raw)
    save_manifest(cache, manifest)
    videos = extract_videos(manifest, plans, options, runtime, seconds, on_progress)
    outcome: Extraction = {
        **videos,
        "seconds": round(time.perf_counter() - start, 3),
        "record": str(extraction_path(cache, manifest.name)),
        "phases": {phase: round(value, 3) for phase, value in seconds.items()},
    }
    record = {
        "options": asdict(options),
        "runtime": {"name": runtime.name, "device": str(runtime.device)},
        "identities": [plan.identity.to_json() for plan in plans],
        "versions": library_versions(),
        "manifest": manifest.digest,
    }
    write_json(Path(outcome["record"]), {**outcome, **record})
    return outcome


def extract_videos(
    manifest: Manifest,
    plans: list[TrackPlan],
    options: ExtractOptions,
    runtime: Runtime,
    seconds: Seconds,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Videos:
    """The loop of `extract_dataset`, for tracks that are planned; the part of its document that the
    videos decide.
    """
    assert manifest.root is not None
    torch.backends.cudnn.allow_tf32 = (
        False  # on by default; "fp32" in an identity is to mean float32 on a GPU as well
    )
    rows, about = manifest.rows.iloc[options.rows], provenance(manifest)
    paths = {str(name): str(path) for name, path in zip(rows["id"], rows["path"], strict=True)}
    files = {name: manifest.root / path for name, path in paths.items()}
    frames, done = 0, 0
    failed: list[Failure] = []
    damaged: list[Damage] = []
    with ExitStack() as stack:
        tracks = [
            stack.enter_context(cached.write_track(plan.path, plan.identity, about))
            for plan in plans
        ]
        lacking = [
            Todo(
                name,
                path,
                [number for number, there in enumerate(_held(tracks, name, path)) if not there],
            )
            for name, path in files.items()
        ]
        todo = [video for video in lacking if video.tracks]
        skipped = len(files) - len(todo)
        on_progress(skipped, len(files))
        with timed(seconds, "load networks"):
            wanted = sorted({number for video in todo for number in video.tracks})
            lanes = {number: lane_of(plans[number], runtime, options) for number in wanted}
        request = DecodeRequest(
            options.sampler,
            options.decoder,
            clips=any(lane.of_clips for lane in lanes.values()),
            sampler_digest=plans[0].identity.sampler_digest,
            raw=manifest.raw,
        )
        results = stack.enter_context(
            closing(extract_locally(todo, lanes, request, options.workers, seconds))
        )
        for result in results:
            try:
                if isinstance(result, Failed):
                    raise VideoError(result.reason)
                with timed(seconds, "write"):
                    for number, features in result.features.items():
                        tracks[number].write(result.id, features)
                frames += result.frames
                done += 1
                if result.damage:
                    damaged.append({"id": result.id, "damage": result.damage})
            except VideoError as error:
                where = f": {paths[result.id]}" if str(error) == MISSING else ""
                failed.append({"id": result.id, "reason": f"{error}{where}"})
            on_progress(skipped + done + len(failed), len(files))
    return {
        "dataset": manifest.name,
        "videos": len(files),
        "done": done,
        "skipped": skipped,
        "failed": failed,
        "damaged": damaged,
        "tracks": [str(plan.path) for plan in plans],
        "frames": frames,
    }


def lane_of(plan: TrackPlan, runtime: Runtime, options: ExtractOptions) -> Lane:
    frames = options.batch_size or BATCH_FRAMES[runtime.device.type]
    return Lane(plan.extractor, plan.view, runtime, frames)


def _held(tracks: list[cached.Track], name: str, path: Path) -> list[bool]:
    """Which tracks hold this very file: by size and time, else by its content."""
    known = [track.attributes(name) if name in track else None for track in tracks]
    try:
        status = path.stat()
        now = (status.st_size, status.st_mtime_ns)
        touched = any(one and (one.source_size, one.source_mtime_ns) != now for one in known)
        digest = Source.of(path).digest if touched else ""
    except (OSError, ValueError, VideoError):
        # the video is gone or out of reach, its features are here: that is what a cache is for
        return [one is not None for one in known]
    return [
        one is not None
        and ((one.source_size, one.source_mtime_ns) == now or one.source_digest == digest)
        for one in known
    ]
