"""`merge_caches`: caches that several machines extracted become one cache.

Everything that can be refused is refused before the first byte is written. Then videos are copied
as they are stored, a block at a time, each in one step: a merge that was killed goes on where it
was. In memory are one block, and what tracks always hold of their videos: some hundred bytes each.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from vqa_twostage.pipeline.cache.layout import (
    TrackPath,
    datasets,
    load_cached_manifest,
    manifest_path,
    provenance,
    tracks,
)
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.same_files import of_different_files
from vqa_twostage.pipeline.cache.track import ArrayKind, Track, open_track
from vqa_twostage.pipeline.cache.track_index import FEATURES
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.checksum import checksum
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.notebook import bar_in_notebook

Outcome = Literal["added", "there", "differing", "conflict"]
CONFLICT = "features of another file are there under this id, and were kept"
# of a block, which is in memory as read, as changes of the file, and as its journal
BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class MergedTrack:
    """A track of the cache that was merged into: of its dataset's ``of`` videos it holds
    ``videos``.

    ``added`` were copied now, ``there`` it had already; of these ``differing`` have other features
    in a source, of the same file: another machine rounds otherwise.
    """

    path: str
    videos: int
    of: int
    added: int
    there: int
    differing: int = 0


@dataclass(frozen=True)
class Conflict:
    """A video whose features in ``track`` are of another file than those that the cache holds."""

    id: str
    track: str
    reason: str = CONFLICT


@dataclass(frozen=True)
class Merge:
    """What `merge_caches` did. ``notes`` say which tracks lack videos because parts of them have
    another identity, and which tracks are of different files.
    """

    cache: str
    tracks: list[MergedTrack]
    conflicts: list[Conflict]
    notes: list[str]

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
    A block of videos is published in one step, so after an interruption the same call goes on. Two
    caches that hold different files under one id are a conflict, and the first is kept.

    Raises:
        UsageError: A source holds no dataset, or another dataset of the same name, or a track that
            is damaged or has another identity than its name says; nothing was written. Or the disk
            takes no more; what was copied stays.
    """
    manifests = _manifests(sources, cache)
    parts = [
        path for source in sources for name in datasets(source) for path in tracks(source, name)
    ]
    total, done = _checked(parts, cache), 0
    on_progress(done, total)
    recorded = {name: provenance(manifest) for name, manifest in manifests.items()}
    for manifest in manifests.values():
        save_manifest(cache, manifest)
    counts: dict[TrackPath, Counter[Outcome]] = {}
    conflicts: list[Conflict] = []
    for path in parts:
        target = path.in_cache(cache)
        count = counts.setdefault(target, Counter())
        videos = len(manifests[path.dataset])
        for ids, outcome in _copied(path, target, recorded[path.dataset], videos):
            count[outcome] += len(ids)
            if outcome == "conflict":
                conflicts += [Conflict(video_id, str(path)) for video_id in ids]
            done += len(ids)
            on_progress(done, total)
    merged = [
        MergedTrack(
            str(path),
            _videos_in(path),
            len(manifests[path.dataset]),
            count["added"],
            count["there"] + count["differing"],
            count["differing"],
        )
        for path, count in counts.items()
    ]
    notes = [*_notes(merged), *_notes_of_files(counts, manifests)]
    return Merge(str(cache), merged, conflicts, notes)


def _manifests(sources: Sequence[Path], cache: Path) -> dict[str, Manifest]:
    """The manifest of each dataset, which all caches must agree on; UsageError otherwise."""
    manifests: dict[str, Manifest] = {}
    seen: set[tuple[str, int]] = set()
    for source in sources:
        names = datasets(source)
        if not names:
            raise UsageError(
                f"{source} holds no dataset; give a folder that vqa-extract --cache made"
            )
        if cache.exists() and cache.samefile(source):
            raise UsageError(f"{source} is the cache that is merged into; leave it out")
        for name in names:
            # the parts of one extraction have one text, and reading 40,000 labels takes a second
            text = (name, checksum(manifest_path(source, name).read_bytes()))
            if text in seen:
                continue
            seen.add(text)
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


def _checked(parts: Sequence[TrackPath], cache: Path) -> int:
    """How many videos there are in all ``parts``; UsageError where one of them, or the track in
    ``cache`` that it goes to, cannot be opened, or where they do not belong together.
    """
    held: dict[TrackPath, tuple[Path, TrackIdentity, dict[str, ArrayKind]]] = {}
    videos = 0
    for part in parts:
        target = part.in_cache(cache)
        new = target not in held and target.path.exists()
        for path in (target.path, part.path) if new else (part.path,):
            with open_track(path) as track:
                first, identity, kinds = held.get(target, (path, track.identity, {}))
                _check_alike(first, identity, kinds, track)
                held[target] = (first, identity, kinds or track.kinds)
        videos += len(track)
    return videos


def _check_alike(
    first: Path, identity: TrackIdentity, kinds: Mapping[str, ArrayKind], track: Track
) -> None:
    """UsageError unless ``track`` can be merged with the one at ``first``, which has this identity
    and these columns. A track without videos has none.
    """
    differing = identity.differs_in(track.identity)
    if not differing and kinds and track.kinds:
        differing = ", ".join(
            name.removeprefix(FEATURES)
            for name in sorted(kinds.keys() | track.kinds.keys())
            if kinds.get(name) != track.kinds.get(name)
        )
    if differing:
        raise UsageError(
            f"{first} and {track.path} have the name of one track, and differ in {differing}. "
            "Nothing was merged; leave out the one that is wrong"
        )


def _copied(
    source: TrackPath, target: TrackPath, recorded: Mapping[str, str], videos: int
) -> Iterator[tuple[list[str], Outcome]]:
    """What became of the videos of the track ``source``, some at a time."""
    with (
        open_track(source) as origin,
        write_track(target, origin.identity, recorded, videos=videos) as track,
    ):
        theirs, ours = origin.digests(), track.digests()
        by_outcome: dict[Outcome, list[str]] = {"there": [], "differing": [], "conflict": []}
        for video_id in sorted(theirs.keys() & ours.keys()):
            (file, stored), (own_file, own_stored) = theirs[video_id], ours[video_id]
            outcome = _of_both(file == own_file, stored == own_stored)
            by_outcome[outcome].append(video_id)
        for outcome, ids in by_outcome.items():
            if ids:
                yield ids, outcome
        row_bytes = sum(column.row_bytes for column in origin.index.columns)
        # the same blocks whatever was copied before
        for block in origin.blocks(origin.ids, max(1, BLOCK_BYTES // max(1, row_bytes))):
            lacking = [video_id for video_id in block if video_id not in ours]
            if lacking:
                track.copy(origin, lacking)
                yield lacking, "added"


def _of_both(same_file: bool, same_values: bool) -> Outcome:
    """What a video is that both tracks hold."""
    if not same_file:
        return "conflict"
    return "there" if same_values else "differing"


def _notes(merged: Sequence[MergedTrack]) -> Iterator[str]:
    """Of tracks of one extractor that both lack videos: most likely the machines were not asked for
    the same thing.
    """
    lacking = [TrackPath.parse(Path(track.path)) for track in merged if track.videos < track.of]
    for one, other in itertools.combinations(lacking, 2):
        if (one.dataset, one.sampler, one.name) == (other.dataset, other.sampler, other.name):
            with open_track(one) as first, open_track(other) as second:
                differing = first.identity.differs_in(second.identity)
            yield (
                f"{one} and {other} hold parts of {one.dataset} that differ in {differing}, and "
                "stay apart; extract all parts with equal options, versions and runtimes"
            )


def _notes_of_files(merged: Collection[TrackPath], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        with ExitStack() as stack:
            paths = [path for path in merged if path.dataset == name]
            yield from of_different_files([stack.enter_context(open_track(path)) for path in paths])
