"""`merge_caches`: caches that several machines extracted become one cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from vqa_twostage.pipeline.cache.layout import (
    TrackPath,
    datasets,
    load_cached_manifest,
    provenance,
    tracks,
)
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.notebook import bar_in_notebook

Outcome = Literal["added", "there", "conflict"]
CONFLICT = "features of another file are there under this id, and were kept"


@dataclass(frozen=True)
class MergedTrack:
    """A track of the cache that was merged into: of its dataset's ``of`` videos it holds
    ``videos``.

    ``added`` were copied now, ``there`` it had already.
    """

    path: str
    videos: int
    of: int
    added: int
    there: int


@dataclass(frozen=True)
class Conflict:
    """A video whose features in ``track`` are of another file than those that the cache holds."""

    id: str
    track: str
    reason: str = CONFLICT


@dataclass(frozen=True)
class Merge:
    """What `merge_caches` did."""

    cache: str
    tracks: list[MergedTrack]
    conflicts: list[Conflict]

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-cache merge --json``."""
        return asdict(self)


@bar_in_notebook("merge")
def merge_caches(
    sources: Sequence[Path],
    cache: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Merge:
    """Copies every video that ``cache`` lacks from ``sources``; what ``cache`` holds stays as it
    is.

    Tracks are one where their identities are equal: features of other weights or options never mix.
    Each video is published in one step, so after an interruption the same call goes on. Two caches
    that hold different files under one id are a conflict, and the first is kept.

    Raises:
        UsageError: A source holds no dataset, or another dataset of the same name; nothing was
            written.
    """
    manifests = _manifests(sources, cache)
    paths = [
        path for source in sources for name in datasets(source) for path in tracks(source, name)
    ]
    total, done = sum(map(_videos_in, paths)), 0
    on_progress(done, total)
    recorded = {name: provenance(manifest) for name, manifest in manifests.items()}
    for manifest in manifests.values():
        save_manifest(cache, manifest)
    counts: dict[TrackPath, dict[Outcome, int]] = {}
    conflicts: list[Conflict] = []
    for path in paths:
        target = path.in_cache(cache)
        count = counts.setdefault(target, {"added": 0, "there": 0, "conflict": 0})
        videos = len(manifests[path.dataset])
        for video_id, outcome in _copy(path, target, recorded[path.dataset], videos):
            done += 1
            on_progress(done, total)
            count[outcome] += 1
            if outcome == "conflict":
                conflicts.append(Conflict(video_id, str(path)))
    merged = [
        MergedTrack(
            str(path),
            _videos_in(path),
            len(manifests[path.dataset]),
            count["added"],
            count["there"],
        )
        for path, count in counts.items()
    ]
    return Merge(str(cache), merged, conflicts)


def _manifests(sources: Sequence[Path], cache: Path) -> dict[str, Manifest]:
    """The manifest of each dataset, which all caches must agree on; UsageError otherwise."""
    manifests: dict[str, Manifest] = {}
    for source in sources:
        names = datasets(source)
        if not names:
            raise UsageError(
                f"{source} holds no dataset; give a folder that vqa-extract --cache made"
            )
        if cache.exists() and cache.samefile(source):
            raise UsageError(f"{source} is the cache that is merged into; leave it out")
        for name in names:
            manifest = load_cached_manifest(source, name)
            if name not in manifests:
                holds = name in datasets(cache)
                manifests[name] = load_cached_manifest(cache, name) if holds else manifest
            if _labels(manifest) != _labels(manifests[name]):
                raise UsageError(
                    f"{source / name} has other videos or labels than the dataset it is to be "
                    "merged with; extract parts of one dataset from the same manifest and label "
                    "files"
                )
    return manifests


def _labels(manifest: Manifest) -> list[str]:
    """Digests of all labels of a dataset, those of its axes as well."""
    return [manifest.digest, *(manifest.axis_digest(axis.name) for axis in manifest.axes)]


def _videos_in(path: PathLike[str]) -> int:
    with open_track(path) as track:
        return len(track)


def _copy(
    source: TrackPath, target: TrackPath, recorded: dict[str, str], videos: int
) -> Iterator[tuple[str, Outcome]]:
    """Each id of the track ``source``, and what became of it."""
    with (
        open_track(source) as origin,
        write_track(target, origin.identity, recorded, videos=videos) as track,
    ):
        for video_id in origin.ids:
            if video_id not in track:
                track.write(video_id, origin.read(video_id))
                yield video_id, "added"
            else:
                digests = {held.attributes(video_id).source_digest for held in (track, origin)}
                yield video_id, "there" if len(digests) == 1 else "conflict"
