"""`merge_caches`: caches that several machines extracted become one cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.datasets.loading import Manifest
from vqa_twostage.pipeline.errors import require

ADDED, THERE = "added", "there"
DIFFERENT = "features of another file are there under this id, and were kept"


def merge_caches(
    sources: Sequence[Path],
    cache: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Copies from ``sources`` every video that ``cache`` lacks; nothing that ``cache`` holds is
    changed.

    Tracks are one where their identities are: features of other weights or options never mix. Each
    video is published in one step, so that after an interruption the same call goes on. Returns the
    document of ``vqa-cache merge
    --json``; its ``conflicts`` are videos of which two caches hold different files. UsageError,
      with nothing written,
    where a source holds no dataset, or another dataset of the same name.
    """
    manifests: dict[str, Manifest] = {}
    for source in sources:
        for dataset in _datasets(source, cache):
            other = records.load_cached_manifest(source, dataset)
            if dataset not in manifests:
                there = dataset in cached.datasets(cache)
                manifests[dataset] = (
                    records.load_cached_manifest(cache, dataset) if there else other
                )
            require(
                other.digest == manifests[dataset].digest,
                f"{source / dataset} is not of the same videos and labels as what it is to be "
                "merged with; "
                "extract parts of one dataset from the same manifest and label files",
            )
    paths = [
        path
        for source in sources
        for dataset in cached.datasets(source)
        for path in cached.tracks(source, dataset)
    ]
    total, done = sum(map(_size, paths)), 0
    on_progress(done, total)
    counts: dict[Path, dict[str, int]] = {}
    conflicts: list[dict[str, str]] = []
    about = {dataset: records.about(manifest) for dataset, manifest in manifests.items()}
    for manifest in manifests.values():
        records.save_manifest(cache, manifest)
    for path in paths:
        target = cache.joinpath(*path.parts[-3:])
        count = counts.setdefault(target, {ADDED: 0, THERE: 0})
        for video_id, outcome in _copied(path, target, about[path.parts[-3]]):
            done += 1
            on_progress(done, total)
            if outcome == DIFFERENT:
                conflicts.append({"id": video_id, "track": str(path), "reason": outcome})
            else:
                count[outcome] += 1
    tracks = [
        {"path": str(path), "videos": _size(path), "of": len(manifests[path.parts[-3]]), **count}
        for path, count in counts.items()
    ]
    return {"cache": str(cache), "tracks": tracks, "conflicts": conflicts}


def _datasets(source: Path, cache: Path) -> list[str]:
    found = cached.datasets(source)
    require(bool(found), f"{source} holds no dataset; give a folder that vqa-extract --cache made")
    require(
        not (cache.exists() and cache.samefile(source)),
        f"{source} is the cache that is merged into; leave it out",
    )
    return found


def _size(path: Path) -> int:
    with cached.open_track(path) as track:
        return len(track)


def _copied(path: Path, target: Path, about: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Each id of the track at ``path``, and what became of it."""
    with (
        cached.open_track(path) as source,
        cached.write_track(target, source.identity, about) as track,
    ):
        for video_id in source.ids:
            if video_id not in track:
                track.write(video_id, source.read(video_id))
                yield video_id, ADDED
            else:
                here, there = (
                    one.attributes(video_id).get("source_digest") for one in (track, source)
                )
                yield video_id, THERE if here == there else DIFFERENT
