"""`import_features`: features that other programs computed become a track like any other.

Dimensions: T frames, C columns. Columns are counted from 0, as the file has them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from vqa_twostage.pipeline.cache.exported_files import (
    ExportedVideo,
    digest_of,
    is_export,
    read_export,
)
from vqa_twostage.pipeline.cache.feature_files import FoundFeatures, Wanted, read_features
from vqa_twostage.pipeline.cache.layout import TrackPath, provenance, tracks
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.files import sha256_of
from vqa_twostage.pipeline.identity import Kind, TrackIdentity
from vqa_twostage.pipeline.spec import NAME, Spec

SAMPLER = Spec("imported")
SAMPLER_VERSION = 1
RANGE = re.compile(r"(?=.)(?P<start>[0-9]{0,9})(?P<colon>:?)(?P<stop>[0-9]{0,9})")
LISTED = 10


@dataclass(frozen=True)
class Selection:
    """Which numbers of a file are imported.

    ``key`` names the array where the file has several; ``columns`` are ranges as `parse_columns`
    takes them, all by default; ``ids_file`` lists the videos of the file's rows, which otherwise
    are those of the manifest in their order.
    """

    key: str | None = None
    columns: str | None = None
    ids_file: Path | None = None


@dataclass(frozen=True)
class ImportedFile:
    """The file that features came from; the digests are SHA-256."""

    file: str
    bytes: int
    digest: str
    key: str
    columns: str
    ids_file: str
    ids_digest: str


@dataclass(frozen=True)
class ColumnGap:
    """A column with values that are not finite, and in how many videos; the columns of several
    arrays count on from one to the next.
    """

    column: int
    videos: int


@dataclass(frozen=True)
class ImportedTrack:
    """What `import_features` did.

    ``frames``: the fewest and the most of a video. ``order``: the first and the last id, where the
    rows were taken to be in the manifest's order. ``missing``: ids without features; ``unknown``:
    names in the file that are no video. ``next``: the command to go on with.
    """

    dataset: str
    name: str
    kind: Kind
    track: str
    videos: int
    written: int
    frames: tuple[int, int]
    columns: int
    order: tuple[str, str] | None
    source: ImportedFile
    not_finite: list[ColumnGap]
    missing: list[str]
    unknown: list[str]
    next: str

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-cache import --json``."""
        return {**asdict(self), "frames": list(self.frames), "order": list(self.order or ())}


def import_features(
    manifest: Manifest,
    cache: Path,
    file: Path,
    kind: Kind,
    name: str,
    selection: Selection = Selection(),
) -> ImportedTrack:
    """Writes the features in ``file`` as the track ``name`` of ``kind``; a second time changes
    nothing.

    Numbers that are not finite are kept and counted.

    Raises:
        UsageError: The file cannot be read, or does not say which array, column or video is meant.
    """
    if NAME.fullmatch(name) is None:
        raise UsageError(
            f"--name {name!r} is not a name: use small letters, digits and _, a letter first, as "
            "in "
            "videval_motion"
        )
    all_ids = [str(video_id) for video_id in manifest.rows["id"]]
    chosen = (
        _chosen_of_export(file, selection, set(all_ids))
        if is_export(file)
        else _chosen_of_file(manifest, file, name, selection, all_ids)
    )
    source = _describe(file, chosen, selection.ids_file)
    identity = TrackIdentity(
        kind,
        Spec(name),
        SAMPLER,
        sampler_version=SAMPLER_VERSION,
        source=source.digest,
        key=chosen.key,
        columns=chosen.columns,
        rows=hashlib.sha256(json.dumps(chosen.order).encode()).hexdigest() if chosen.order else "",
    )
    path = TrackPath.of(cache, manifest.name, name, identity)
    written = _write(path, identity, manifest, source, chosen.videos)
    lengths = [len(video.timestamp) for video in chosen.videos.values()]
    return ImportedTrack(
        dataset=manifest.name,
        name=name,
        kind=kind,
        track=str(path),
        videos=len(chosen.videos),
        written=written,
        frames=(min(lengths), max(lengths)),
        columns=sum(array.shape[1] for array in chosen.arrays.values()),
        order=(chosen.order[0], chosen.order[-1])
        if chosen.order and selection.ids_file is None
        else None,
        source=source,
        not_finite=_not_finite(chosen),
        missing=[video_id for video_id in all_ids if video_id not in chosen.videos],
        unknown=chosen.others,
        next=_next_step(path, kind),
    )


@dataclass(frozen=True)
class _Chosen:
    """What is imported of a file.

    ``key`` and ``columns`` are those of the identity; ``of`` describes the columns for people.
    ``numbers``: which column of the file each of an array's is. ``order``: the videos that its rows
    were taken to be, where nothing in the file names them. ``others``: names in it of no video.
    """

    key: str
    columns: str
    of: str
    numbers: list[int] | None
    videos: dict[str, ExportedVideo]
    order: list[str]
    others: list[str]

    @property
    def arrays(self) -> dict[ArrayName, np.ndarray]:
        """Those of the first video: all have the same."""
        return next(iter(self.videos.values())).arrays


def _chosen_of_export(file: Path, selection: Selection, known: set[str]) -> _Chosen:
    """Every array under its own name, or the one that ``selection`` names."""
    require(
        selection.ids_file is None,
        f"--ids {selection.ids_file}: {file} names its videos itself; leave --ids out",
    )
    found = read_export(file, selection.key)
    videos = {video_id: video for video_id, video in found.items() if video_id in known}
    require(
        bool(videos),
        f"{file} has features of {_listed(list(found))}, and none of them is a video of the "
        "dataset; give another --dataset",
    )
    arrays = next(iter(videos.values())).arrays
    columns, of = "", f"all of {', '.join(arrays)}"
    numbers = None
    if selection.columns is not None:
        require(
            len(arrays) == 1,
            f"--columns {selection.columns}: choose an array with --key: {', '.join(arrays)}",
        )
        ((name, array),) = arrays.items()
        numbers = parse_columns(selection.columns, array.shape[1])
        columns = format_columns(numbers)
        of = f"{columns} of {array.shape[1]}"
        videos = {
            video_id: replace(video, arrays={name: video.arrays[name][:, numbers]})
            for video_id, video in videos.items()
        }
    others = [video_id for video_id in found if video_id not in known]
    return _Chosen(selection.key or "", columns, of, numbers, videos, [], others)


def _chosen_of_file(
    manifest: Manifest, file: Path, name: str, selection: Selection, all_ids: list[str]
) -> _Chosen:
    """Of a file of another program: one array, which is called ``name`` from now on."""
    found, ids = _read(manifest, file, selection, all_ids)
    width = next(iter(found.videos.values())).shape[1]
    columns = list(range(width))
    if selection.columns is not None:
        columns = parse_columns(selection.columns, width)
    if found.by_row and width > 1 and 0 in columns:
        _refuse_ids_as_features(file, found)
    videos = {
        video_id: _in_order(name, array[:, columns]) for video_id, array in found.videos.items()
    }
    chosen = format_columns(columns)
    # which row is which video; the names of a file's arrays say it themselves
    order = ids if found.by_row else []
    return _Chosen(found.key, chosen, f"{chosen} of {width}", columns, videos, order, found.others)


def _in_order(name: str, array: Float32[np.ndarray, "T C"]) -> ExportedVideo:
    frames = np.arange(len(array))
    # when the frames are shown is not known: their numbers stand for it, in order
    return ExportedVideo({ArrayName.of(name, "mean"): array}, frames, frames.astype(np.float64))


def _read(
    manifest: Manifest, file: Path, selection: Selection, all_ids: list[str]
) -> tuple[FoundFeatures, list[str]]:
    """The features in the file, and the ids that its rows were taken to be of."""
    wanted = Wanted(all_ids, f"{manifest.name} has {len(all_ids)} videos")
    if selection.ids_file is not None:
        ids = read_ids(selection.ids_file, manifest)
        wanted = Wanted(ids, f"{selection.ids_file} names {len(ids)} videos")
    found = read_features(file, selection.key, wanted)
    if selection.ids_file is not None and not found.by_row:
        raise UsageError(
            f"--ids {selection.ids_file}: the arrays in {file} are named by their videos already; "
            "leave --ids out"
        )
    return found, wanted.ids


def _describe(file: Path, chosen: _Chosen, ids_file: Path | None) -> ImportedFile:
    digest, size = digest_of(file)
    return ImportedFile(
        file=file.name,
        bytes=size,
        digest=digest,
        key=chosen.key,
        columns=chosen.of,
        ids_file=ids_file.name if ids_file else "",
        ids_digest=sha256_of(ids_file) if ids_file else "",
    )


def _write(
    path: TrackPath,
    identity: TrackIdentity,
    manifest: Manifest,
    source: ImportedFile,
    videos: dict[str, ExportedVideo],
) -> int:
    """Writes the videos that the track lacks, and returns how many those were."""
    recorded = {f"source {field}": str(value) for field, value in asdict(source).items()}
    save_manifest(path.cache, manifest)
    attributes = VideoAttributes(source_digest=source.digest, source_size=source.bytes)
    with write_track(
        path, identity, provenance(manifest) | recorded, videos=len(manifest)
    ) as track:
        lacking = [video_id for video_id in videos if video_id not in track]
        for video_id in lacking:
            video = videos[video_id]
            features = VideoFeatures(video.arrays, video.frame_index, video.timestamp, attributes)
            track.write(video_id, features)
    return len(lacking)


def parse_columns(text: str, width: int) -> list[int]:
    """``"0:2,7,54:"`` of ``width`` columns -> ``[0, 1, 7, 54, …]``: half-open ranges from 0, or
    UsageError.
    """
    how = (
        f"give ranges of columns 0 to {width - 1}, the end not included, such as "
        f"0:{min(width, 5)} or {width - 1}"
    )
    chosen: list[int] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"--columns {text}: {part!r} is no range; {how}")
        start = int(match["start"] or 0)
        stop = int(match["stop"] or width) if match["colon"] else start + 1
        require(start < stop, f"--columns {text}: {part} is empty or the wrong way round; {how}")
        require(
            stop <= width,
            f"--columns {text}: {part} goes beyond the {width} columns that there are; {how}",
        )
        chosen += range(start, stop)
    twice = (
        sorted({column for column in chosen if chosen.count(column) > 1})
        if len(set(chosen)) < len(chosen)
        else []
    )
    require(
        not twice, f"--columns {text} names column {', '.join(map(str, twice[:5]))} twice; {how}"
    )
    return chosen


def format_columns(chosen: list[int]) -> str:
    """The one text for a choice of columns: ``[0, 1, 2, 7]`` -> ``"0:3,7:8"``; equal choices, equal
    texts.
    """
    runs: list[list[int]] = []
    for column in chosen:
        if runs and column == runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([column, column + 1])
    return ",".join(f"{start}:{stop}" for start, stop in runs)


def read_ids(path: Path, manifest: Manifest) -> list[str]:
    """The ids in a text file, one a line, or in the first column of a CSV; UsageError for those of
    no video.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = text.splitlines()
        if path.suffix.lower() == ".csv":
            lines = [row[0] if row else "" for row in csv.reader(text.splitlines(keepends=True))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"--ids {path} cannot be read ({error}); give a text file with one id a line"
        ) from None
    ids = [line.strip() for line in lines]
    while ids and not ids[-1]:
        ids.pop()
    known = set(manifest.rows["id"])
    if path.suffix.lower() == ".csv" and ids and ids[0] not in known:
        ids = ids[1:]  # the header
    require(
        bool(ids),
        f"--ids {path} names no video; give one id a line, or a CSV with the ids in its first "
        "column",
    )
    require(
        "" not in ids,
        f"--ids {path}, line {ids.index('') + 1 if '' in ids else 0} is empty; give one id a line",
    )
    unknown = [video_id for video_id in ids if video_id not in known]
    require(
        not unknown,
        f"--ids {path}: {len(unknown)} of its {len(ids)} ids are of no video of {manifest.name}: "
        f"{_listed(unknown)}; ids of {manifest.name} look like "
        f"{_listed(list(manifest.rows['id'][:2]))}",
    )
    twice = (
        sorted({video_id for video_id in ids if ids.count(video_id) > 1})
        if len(set(ids)) < len(ids)
        else []
    )
    require(not twice, f"--ids {path} names {_listed(twice)} more than once; a row is one video")
    return ids


def _listed(values: list[str]) -> str:
    return ", ".join(values[:10]) + (f" and {len(values) - 10} more" if len(values) > 10 else "")


def _refuse_ids_as_features(file: Path, found: FoundFeatures) -> None:
    """Tables often begin with the video's id or the row's number; a head would train on them
    without a word.
    """
    first = np.array([array[0, 0] for array in found.videos.values()], np.float64)
    counted = len(first) > 3 and any(
        (first == np.arange(len(first)) + start).all() for start in (0, 1)
    )
    try:
        named = bool((first == np.array(list(found.videos), np.float32)).all())
    except ValueError:  # ids that are no numbers
        named = False
    what = "the ids of the videos" if named else "the numbers of the rows"
    require(
        not (named or counted),
        f"column 0 of {file} is {what}, not a feature; leave it out with --columns 1:",
    )


def _not_finite(chosen: _Chosen) -> list[ColumnGap]:
    counts = np.zeros(sum(array.shape[1] for array in chosen.arrays.values()), np.int64)
    for video in chosen.videos.values():
        gaps = [
            ~np.isfinite(array).all(axis=(0, *range(2, array.ndim)))
            for array in video.arrays.values()
        ]
        counts += np.concatenate(gaps)
    numbers = chosen.numbers or range(len(counts))
    return [ColumnGap(numbers[place], int(counts[place])) for place in np.flatnonzero(counts)]


def _next_step(path: TrackPath, kind: Kind) -> str:
    """The command that trains on the new track, or first the one that brings its counterpart."""
    other = "temporal" if kind == "spatial" else "spatial"
    option = "" if str(path.cache) == "cache" else f" --cache {path.cache}"
    for candidate in tracks(path.cache, path.dataset):
        with open_track(candidate) as track:
            fits = track.identity.imported and track.identity.kind == other and len(track)
        if fits:
            names = {kind: path.stem, other: candidate.stem}
            both = f"--spatial {names['spatial']} --temporal {names['temporal']}"
            return f"vqa-fuse train --dataset {path.dataset} {both}{option}"
    return (
        f"vqa-cache import FILE --dataset {path.dataset} --kind {other} --name NAME{option}, "
        f"then vqa-fuse train --dataset {path.dataset}{option}"
    )


def summary(result: ImportedTrack) -> list[str]:
    """What an import did, in lines for people."""
    source, total = result.source, result.videos + len(result.missing)
    low, high = result.frames
    frames = "" if high == 1 else f", {low if low == high else f'{low} to {high}'} frames each"
    array = f", array {source.key}" if source.key else ""
    plural = "s" if result.columns > 1 else ""
    lines = [
        f"{source.file}{array}: {result.videos} of {total} videos{frames}, "
        f"{result.columns} column{plural} ({source.columns})"
    ]
    if result.order:  # nothing in a file of numbers shows which row is which video
        first, last = result.order
        lines.append(
            f"  its rows are taken to be the videos of {result.dataset} in their order, from "
            f"{first} to {last}; if they are not, give --ids FILE"
        )
    for gap in result.not_finite[:LISTED]:
        lines.append(f"  not finite, and kept: column {gap.column} of {gap.videos} videos")
    if (more := len(result.not_finite) - LISTED) > 0:
        lines.append(f"  not finite, and kept: {more} more columns; --json lists all")
    if result.written:
        lines.append(f"{result.track}: {result.written} videos written")
    else:
        lines.append(f"{result.track}: holds all of that already, nothing was changed")
    return [*lines, f"next: {result.next}"]
