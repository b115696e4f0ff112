"""`export_tracks`: tracks of a cache as files for other programs, with the labels of their videos.

Dimensions: N videos, R rows in all: sampled frames, or one a video where they are pooled.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.pipeline.cache.choosing import as_names, choose_dataset, choose_tracks
from vqa_twostage.pipeline.cache.export_formats import (
    FORMAT,
    FORMAT_VERSION,
    FORMATS,
    IDS,
    SAFE_NAME,
    Contents,
    Rows,
)
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest, tracks
from vqa_twostage.pipeline.cache.track import Track, open_track
from vqa_twostage.pipeline.cache.track_index import FEATURES, OF_FRAMES
from vqa_twostage.pipeline.cache.video_rows import VideoRows, ids_with_rows
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import Kind
from vqa_twostage.pipeline.notebook import bar_in_notebook

# of the manifest, what is written beside the ids
NUMBERS, TEXTS = ("mos", "mos_std"), ("group", "split")

Read = Callable[[str, int, int], np.ndarray]


@dataclass(frozen=True)
class ExportedTrack:
    """A file, or a folder, that `export_tracks` wrote.

    ``rows``: of each of its ``arrays``. ``missing``: ids that have labels and no features.
    """

    track: str
    output: str
    videos: int
    rows: int
    arrays: list[str]
    missing: list[str]

    def __str__(self) -> str:
        """A line for people."""
        total = self.videos + len(self.missing)
        return (
            f"{self.output}: {self.videos} of {total} videos, {self.rows} rows of "
            f"{', '.join(self.arrays)}"
        )


@dataclass(frozen=True)
class Export:
    """What `export_tracks` wrote: ``to`` is the format, ``pooled`` whether a row is a video."""

    dataset: str
    to: str
    pooled: bool
    tracks: list[ExportedTrack]

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-cache export --json``."""
        return asdict(self)


def tracks_to_export(
    cache: Path,
    dataset: str | None,
    spatial: str | Sequence[str] | None,
    temporal: str | Sequence[str] | None,
) -> list[TrackPath]:
    """The tracks that were named, as training takes their names; all of the dataset if none was.

    UsageError lists the choices where it is not clear which is meant.
    """
    name = choose_dataset(cache, dataset)
    named: dict[Kind, tuple[str, ...] | None] = {
        "spatial": as_names(spatial),
        "temporal": as_names(temporal),
    }
    kinds = {kind for kind, wanted in named.items() if wanted}
    if kinds:
        chosen = choose_tracks(cache, name, named, kinds)
        return [path for paths in chosen.values() for path in paths]
    found = [path for path in tracks(cache, name) if _has_videos(path)]
    if not found:
        raise UsageError(f"{cache / name} holds no features; run vqa-extract --cache {cache} first")
    return found


def _has_videos(path: TrackPath) -> bool:
    with open_track(path) as track:
        return len(track) > 0


@bar_in_notebook("export")
def export_tracks(
    paths: Sequence[TrackPath],
    to: str,
    output: Path,
    pooled: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Export:
    """Writes each track of a dataset to a file of its name in the folder ``output``, in one step.

    It holds the videos that have labels and features, in the order of the labels;
    `docs/reference/exported-features.md` says how.

    Args:
        paths: As `tracks_to_export` gives them.
        to: ``npz``, ``npy`` (a folder of files) or ``parquet`` (a table).
        output: It is made where it is not there.
        pooled: A row for each video, the mean of its frames in float32, instead of one for each
            frame as it is stored.
        on_progress: Called with how many blocks were read, and how many there are.

    Returns:
        The files, and what is in them.

    Raises:
        UsageError: One of the files is there already (then none was written), a track is damaged,
            or a package that the format needs is not installed.
    """
    suffix, write = FORMATS[to]
    targets = [output / f"{path.stem}{'-pooled' if pooled else ''}{suffix}" for path in paths]
    for target in targets:
        if target.exists():
            raise UsageError(
                f"{target} is there already and stays as it is; remove it, or give another --output"
            )
    manifest = load_cached_manifest(paths[0].cache, paths[0].dataset)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_track(path)) for path in paths]
        contents = [_contents_of(track, manifest, pooled) for track in opened]
        total, done = (
            sum(len(each.blocks) * len(each.columns) for each in contents),
            itertools.count(1),
        )

        def counted(read: Read) -> Read:
            def reading(name: str, first: int, last: int) -> np.ndarray:
                rows = read(name, first, last)
                on_progress(next(done), total)
                return rows

            return reading

        for each, target in zip(contents, targets, strict=True):
            write(target, replace(each, read=counted(each.read)))
    written = [
        _outcome(path, target, manifest, each)
        for path, target, each in zip(paths, targets, contents, strict=True)
    ]
    return Export(manifest.name, to, pooled, written)


def _contents_of(track: Track, manifest: Manifest, pooled: bool) -> Contents:
    ids = ids_with_rows(track, manifest.rows["id"])
    if not ids:
        raise UsageError(f"{track.path} has no features of any video that has a label")
    stored = VideoRows.of(track, ids)
    columns = _columns_of(track, pooled)
    labels = manifest.rows.set_index("id").loc[ids]
    videos = {IDS: np.array(ids, np.str_)}
    numbers = (*NUMBERS, *(axis.column for axis in manifest.axes))
    videos |= {name: labels[name].to_numpy(np.float64) for name in numbers}
    videos |= {name: np.array(labels[name].tolist(), np.str_) for name in TEXTS}

    def read(name: str, first: int, last: int) -> np.ndarray:
        column = name if name in OF_FRAMES else f"{FEATURES}{name}"
        return (stored.means if pooled else stored.read)(column, first, last)

    return Contents(
        about=_about(track, manifest, columns, pooled),
        videos=videos,
        start=np.append(0, np.cumsum(np.ones_like(stored.lengths) if pooled else stored.lengths)),
        pooled=pooled,
        columns=columns,
        blocks=stored.blocks(),
        read=read,
    )


def _columns_of(track: Track, pooled: bool) -> list[Rows]:
    found = []
    for column in sorted(track.index.columns, key=lambda column: column.name not in OF_FRAMES):
        name = column.name.removeprefix(FEATURES)
        if column.name not in OF_FRAMES and SAFE_NAME.fullmatch(name) is None:
            raise UsageError(f"{track.path}: its array {name!r} cannot be the name of a file")
        if not (pooled and column.name in OF_FRAMES):
            dtype = np.dtype(np.float32) if pooled else column.dtype
            found.append(Rows(name, dtype, column.shape))
    return found


def _about(track: Track, manifest: Manifest, columns: Sequence[Rows], pooled: bool) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "pooled": pooled,
            "arrays": {
                column.name: list(column.shape)
                for column in columns
                if column.name not in OF_FRAMES
            },
            "dataset": manifest.name,
            "label": manifest.label,
            "scale": list(manifest.scale),
            "better": manifest.better,
            "manifest": manifest.digest,
            "identity": track.identity.to_json(),
        }
    )


def _outcome(
    path: TrackPath, target: Path, manifest: Manifest, contents: Contents
) -> ExportedTrack:
    ids = set(contents.videos[IDS].tolist())
    return ExportedTrack(
        track=str(path),
        output=str(target),
        videos=len(ids),
        rows=int(contents.start[-1]),
        arrays=[column.name for column in contents.columns if column.name not in OF_FRAMES],
        missing=[video_id for video_id in manifest.rows["id"] if video_id not in ids],
    )
