"""`extract_dataset`, the one loop of stage one: decode once, run every extractor, publish each video whole."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from extract.decode import decoder_identity, decoder_name
from extract.options import PRECISIONS, ExtractOptions
from extract.reader import Sampled, Source, read_all
from extract.stages import Extractor
from pipeline import cache as cached
from pipeline import records, spec
from pipeline.datasets import Manifest
from pipeline.errors import UsageError, VideoError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrackPlan:
    """One extractor on one sampling: what will be in one file."""

    extractor: Extractor
    identity: dict[str, Any]
    path: Path


def plan_tracks(dataset: str, cache: Path, options: ExtractOptions) -> list[TrackPlan]:
    """Resolves every spec and loads the weights (their digest is a part of the identity); UsageError on wrong use."""
    if options.precision not in PRECISIONS:
        raise UsageError(f"unknown precision {options.precision!r}; choose from {', '.join(PRECISIONS)}")
    sampler = spec.resolve("extract.samplers", options.sampler)
    sampler.build()
    plans = []
    for kind, text in [("spatial", options.spatial), *(("temporal", text) for text in options.temporal)]:
        plugin = spec.resolve(f"extract.{kind}", text)
        extractor = plugin.build()
        identity = {
            "kind": kind,
            "extractor": str(plugin.full_spec.without("weights")),  # where they came from is not what they are
            "extractor_version": plugin.version,
            "weights": extractor.weights_digest,
            "preprocessing": str(extractor.preprocessing),
            "sampler": str(sampler.full_spec),
            "sampler_version": sampler.version,
            "decoder": decoder_identity(decoder_name(options.decoder)),
            "precision": options.precision,
        }
        path = cached.track_path(cache, dataset, sampler.full_spec.filename, plugin.short_spec.filename, identity)
        plans.append(TrackPlan(extractor, identity, path))
    return plans


def extract_dataset(
    manifest: Manifest,
    cache: Path,
    options: ExtractOptions,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Extracts every track of ``options`` for every video of ``manifest`` that ``cache`` does not hold yet.

    A video that cannot be used is listed under ``failed`` with its reason, and the others go on. What is done is kept
    whatever ends the run. Returns the document of ``vqa-extract --json``; raises UsageError on wrong use.
    """
    start = time.perf_counter()
    assert manifest.root is not None
    device = choose_device(options.device)
    torch.backends.cudnn.allow_tf32 = False  # on by default; "fp32" in an identity is to mean float32 on a GPU as well
    plans = plan_tracks(manifest.name, cache, options)
    for plan in plans:
        plan.extractor.network.to(device)
    records.save_manifest(cache, manifest)
    versions = records.versions()
    about = {"manifest": manifest.digest, **{f"version {name}": value for name, value in versions.items()}}
    rows = manifest.rows.iloc[: options.limit]
    files = {str(name): manifest.root / str(path) for name, path in zip(rows["id"], rows["path"], strict=True)}
    seconds: dict[str, float] = defaultdict(float)
    frames, done = 0, 0
    failed: list[dict[str, str]] = []
    damaged: list[dict[str, str]] = []
    with ExitStack() as stack:
        tracks = [stack.enter_context(cached.write_track(plan.path, plan.identity, about)) for plan in plans]
        lacking = {
            name: [number for number, track in enumerate(tracks) if not _holds(track, name, path)]
            for name, path in files.items()
        }
        todo = [name for name, numbers in lacking.items() if numbers]
        skipped = len(files) - len(todo)
        on_progress(skipped, len(files))
        workers = options.workers or min(8, max(1, (os.cpu_count() or 1) // 2))
        videos = read_all([files[name] for name in todo], options.sampler, options.decoder, workers)
        stack.enter_context(closing(videos))  # and with it the decoding processes, whatever ends the run
        for name in todo:
            with timed(seconds, "waiting for frames"):
                sampled = next(videos)
            try:
                if isinstance(sampled, VideoError):
                    raise sampled
                seconds["decode (in workers)"] += sampled.seconds
                wanted = [plans[number] for number in lacking[name]]
                found = run_extractors(wanted, sampled, device, options, seconds)
                for number, features in zip(lacking[name], found, strict=True):
                    with timed(seconds, "write"):
                        tracks[number].write(name, features)
                frames += len(sampled.frames.index)
                done += 1
                if sampled.damage:
                    damaged.append({"id": name, "damage": sampled.damage})
            except VideoError as error:
                failed.append({"id": name, "reason": str(error)})
            on_progress(skipped + done + len(failed), len(files))
    outcome: dict[str, Any] = {
        "dataset": manifest.name,
        "videos": len(files),
        "done": done,
        "skipped": skipped,
        "failed": failed,
        "damaged": damaged,
        "tracks": [str(plan.path) for plan in plans],
        "seconds": round(time.perf_counter() - start, 3),
        "frames": frames,
        "record": str(cache / manifest.name / "extraction.json"),
        "phases": {phase: round(value, 3) for phase, value in seconds.items()},
    }
    record = {
        "options": asdict(options),
        "identities": [plan.identity for plan in plans],
        "versions": versions,
    }
    records.write_json(Path(outcome["record"]), {**outcome, **record, "manifest": manifest.digest})
    return outcome


def run_extractors(
    plans: list[TrackPlan], sampled: Sampled, device: torch.device, options: ExtractOptions, seconds: dict[str, float]
) -> Iterator[cached.VideoFeatures]:
    """Features of one video for each plan in turn. Extractors with the same preprocessing share its result."""
    pixels = torch.from_numpy(sampled.frames.pixels).to(device)
    inputs: dict[str, torch.Tensor] = {}
    for plan in plans:
        key = str(plan.extractor.preprocessing)
        if key not in inputs:
            with timed(seconds, "resize"):
                inputs[key] = plan.extractor.preprocessing(pixels)
        with timed(seconds, "forward"), autocast(device, options.precision):
            size = len(inputs[key]) if plan.extractor.frames_mix else options.batch_size
            parts = [plan.extractor(part) for part in inputs[key].split(size)]
            arrays = {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}
        attributes = {
            "source_digest": sampled.source.digest,
            "source_size": sampled.source.size,
            "source_mtime_ns": sampled.source.mtime_ns,
            "width": sampled.width,
            "height": sampled.height,
            "fps": sampled.fps,
            "frames": sampled.length,
            "decoder": sampled.decoder,
            "damage": sampled.damage,
            "seconds": sampled.seconds,
        }
        yield cached.VideoFeatures(arrays, sampled.frames.index, sampled.frames.timestamp, attributes)


def choose_device(choice: str) -> torch.device:
    """``auto`` is the first GPU where there is one; UsageError where ``choice`` is not a device of this machine."""
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(1, device=choice).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {choice!r} cannot be used ({reason}); choose auto, cpu, cuda or cuda:N") from None


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] += time.perf_counter() - start


def _holds(track: cached.Track, name: str, path: Path) -> bool:
    """Whether the track holds this very file: by size and time, or, where those changed, by its content."""
    if name not in track:
        return False
    known = track.attributes(name)
    try:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (known["source_size"], known["source_mtime_ns"]):
            return True
        return Source.of(path).digest == known["source_digest"]
    except (FileNotFoundError, VideoError):
        return True  # the video is gone, its features are here: that is what a cache is for


def autocast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(
        device.type, dtype=DTYPES[precision] if precision != "fp32" else None, enabled=precision != "fp32"
    )
