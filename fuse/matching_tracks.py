"""The tracks of a dataset that were made as those of a run."""

from __future__ import annotations

from pathlib import Path

from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, tracks
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import OF_ANOTHER_DATASET, TrackIdentity


def matching_tracks(
    cache: Path, dataset: str, wanted: Streams[list[TrackIdentity]]
) -> Streams[list[TrackPath]]:
    """A track of ``dataset`` for each of ``wanted``, made by the same sampler and extractor.
    UsageError where there is none.
    """
    return wanted.map(lambda side: [_same_track(cache, dataset, track) for track in side])


def _same_track(cache: Path, dataset: str, wanted: TrackIdentity) -> TrackPath:
    differing = {}
    for path in tracks(cache, dataset):
        with cached.open_track(path) as track:
            identity = track.identity
        differences = wanted.differences(identity, ignoring=OF_ANOTHER_DATASET)
        if not differences:
            return path
        if identity.kind == wanted.kind:
            differing[path.stem] = ", ".join(difference.field for difference in differences)
    listed = "".join(f"\n  {stem} differs in {keys}" for stem, keys in differing.items()) or " none"
    raise UsageError(
        f"{cache / dataset} has no {wanted.kind} track made as the run's; extract it with the same "
        f"options. It has:{listed}"
    )
