"""`import_features`: features that other programs computed become a track like any other.

`import_blocks` makes several tracks of one file.

Dimensions: T frames, C columns. Columns are counted from 0, as the file has them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from vqa_twostage.pipeline.cache.choosing import ALL
from vqa_twostage.pipeline.cache.exported_files import (
    ExportedVideo,
    digest_of,
    is_export,
    read_export,
)
from vqa_twostage.pipeline.cache.feature_blocks import Block
from vqa_twostage.pipeline.cache.feature_files import (
    FoundFeatures,
    Wanted,
    read_blocks,
    read_features,
)
from vqa_twostage.pipeline.cache.feature_folders import ReadAtEachLook, read_folder
from vqa_twostage.pipeline.cache.label_names import is_label
from vqa_twostage.pipeline.cache.layout import TrackPath, provenance, tracks
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.cache.video_names import MatchedNames, match_names
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.files import sha256_of
from vqa_twostage.pipeline.identity import Kind, TrackIdentity, parse_opinions
from vqa_twostage.pipeline.spec import NAME, Spec
from vqa_twostage.pipeline.wording import between, first_of

SAMPLER = Spec("imported")
SAMPLER_VERSION = 1
RANGE = re.compile(r"(?=.)(?P<start>[0-9]{0,9})(?P<colon>:?)(?P<stop>[0-9]{0,9})")
LISTED = 10


@dataclass(frozen=True)
class Selection:
    """Which numbers of a file are imported.

    ``key`` names the array where the file has several; ``columns`` are ranges as `parse_columns`
    takes them, all by default; ``ids_file`` lists the videos of the file's rows, which otherwise
    are those that the file names, or those of the manifest in their order.
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
    rows were taken to be in the manifest's order. ``trained_on``: the datasets from whose opinions
    the features learnt. ``missing``: ids without features. Of the names
    in the file or in a list of ids (`pipeline.cache.video_names`): ``otherwise`` are those that are
    not the id as it stands, with their id; ``ambiguous`` those that could be several videos, or of
    which several could be one, with its ids; ``unknown`` those of no video. ``next``: the command
    to go on with.
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
    trained_on: list[str]
    not_finite: list[ColumnGap]
    missing: list[str]
    otherwise: dict[str, str]
    ambiguous: dict[str, list[str]]
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
    trained_on: str = "",
) -> ImportedTrack:
    """Writes the features in ``file`` as the track ``name`` of ``kind``; a second time changes
    nothing.

    Numbers that are not finite are kept and counted. ``trained_on``: the datasets from whose
    opinions the features learnt, joined by commas.

    Raises:
        UsageError: The file cannot be read, or does not say which array, column or video is meant.
    """
    if NAME.fullmatch(name) is None:
        raise UsageError(
            f"--name {name!r} is not a name: use small letters, digits and _, a letter first, as "
            "in videval_motion"
        )
    if is_export(file):
        chosen = _chosen_of_export(manifest, file, selection)
    else:
        wanted, named = _wanted(manifest, selection.ids_file)
        read = read_folder if file.is_dir() else read_features
        found = read(file, selection.key, wanted)
        _refuse_list_for_named(file, found, selection.ids_file)
        width = next(iter(found.videos.values())).shape[1] if found.videos else 0
        columns = None
        if selection.columns is not None:
            columns = parse_columns(selection.columns, width)
        _refuse_labels(file, found, columns, manifest.label)
        chosen = _chosen_of_file(file, found, name, columns, named)
    new = [_Track(name, kind, chosen)]
    return _write_all(manifest, cache, file, new, selection.ids_file, trained_on)[0]


def import_blocks(
    manifest: Manifest,
    cache: Path,
    file: Path,
    blocks: Sequence[Block],
    ids_file: Path | None = None,
    trained_on: str = "",
) -> list[ImportedTrack]:
    """Writes each block of an .npz as a track, as `import_features` would; none where one of them
    is wrong.

    Raises:
        UsageError: As `import_features`, or two blocks would be the same track.
    """
    require(
        not is_export(file),
        f"{file} is what vqa-cache export wrote; leave out --block, and give --kind and --name",
    )
    wanted, named = _wanted(manifest, ids_file)
    found = read_blocks(file, [block.key for block in blocks], wanted)
    new = []
    for block in blocks:
        features = found[block.key]
        width = next(iter(features.videos.values())).shape[1] if features.videos else 0
        columns = None
        if block.columns is not None:
            columns = parse_columns(block.columns, width, f"--block {block}")
        _refuse_labels(file, features, columns, manifest.label)
        name = block.stored_name(None if columns is None or len(columns) == width else columns)
        new.append(_Track(name, block.kind, _chosen_of_file(file, features, name, columns, named)))
    for (name, kind), count in Counter((track.name, track.kind) for track in new).items():
        require(
            count == 1,
            f"two blocks would be the {kind} track {name}; leave one out, or import it with --name",
        )
    return _write_all(manifest, cache, file, new, ids_file, trained_on)


@dataclass(frozen=True)
class _Chosen:
    """What is imported of a file.

    ``key`` and ``columns`` are those of the identity; ``of`` describes the columns for people.
    ``numbers``: which column of the file each of an array's is. ``order``: the videos that its rows
    were taken to be, where nothing in the file names them; ``listed``: whether a list of ids says
    so. ``matches``: of the names in the file or the list. ``trained_on``: what an export says.
    """

    key: str
    columns: str
    of: str
    numbers: list[int] | None
    videos: Mapping[str, ExportedVideo]
    order: list[str]
    listed: bool
    matches: MatchedNames
    trained_on: str = ""

    @property
    def arrays(self) -> dict[ArrayName, np.ndarray]:
        """Those of the first video: all have the same."""
        return next(iter(self.videos.values())).arrays


@dataclass(frozen=True)
class _Track:
    """A track that is to be written."""

    name: str
    kind: Kind
    chosen: _Chosen


def _chosen_of_export(manifest: Manifest, file: Path, selection: Selection) -> _Chosen:
    """Every array under its own name, or the one that ``selection`` names."""
    require(
        selection.ids_file is None,
        f"--ids {selection.ids_file}: {file} names its videos itself; leave --ids out",
    )
    export = read_export(file, selection.key)
    found = export.videos
    matches = match_names(list(found), _paths(manifest))
    _require_some(file, matches)
    videos = {video_id: found[name] for name, video_id in matches.ids.items()}
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
    return _Chosen(
        selection.key or "", columns, of, numbers, videos, [], False, matches, export.trained_on
    )


def _chosen_of_file(
    file: Path,
    found: FoundFeatures,
    name: str,
    chosen: list[int] | None,
    listed: MatchedNames | None,
) -> _Chosen:
    """Of a file of another program: one array, which is called ``name`` from now on.

    ``chosen``: its columns, None for all. ``listed``: the names in a list beside the file.
    """
    if found.matches is not None:
        _require_some(file, found.matches)
    width = next(iter(found.videos.values())).shape[1]
    columns = list(range(width)) if chosen is None else chosen
    if found.by_row and width > 1 and 0 in columns:
        _refuse_ids_as_features(file, found)
    videos = ReadAtEachLook(
        list(found.videos), lambda video_id: one_array(name, found.videos[video_id][:, columns])
    )
    text = format_columns(columns)
    matches = found.matches or listed or MatchedNames()
    # which row is which video; what names its videos says it itself
    order = list(found.videos) if found.by_row and found.matches is None else []
    of = f"{text} of {width}"
    return _Chosen(found.key, text, of, columns, videos, order, listed is not None, matches)


def _require_some(file: Path, matches: MatchedNames) -> None:
    names = [*matches.unknown, *matches.ambiguous]
    require(
        bool(matches.ids),
        f"{file} has features of {first_of(names, LISTED)}, and none of them is a video of the "
        "dataset; give another --dataset",
    )


def _paths(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.rows["id"], manifest.rows["path"], strict=True))


def one_array(name: str, array: Float32[np.ndarray, "T C"]) -> ExportedVideo:
    """The rows of a video whose array is called ``name`` from now on."""
    frames = np.arange(len(array))
    # when the frames are shown is not known: their numbers stand for it, in order
    return ExportedVideo({ArrayName.of(name, "mean"): array}, frames, frames.astype(np.float64))


def _wanted(manifest: Manifest, ids_file: Path | None) -> tuple[Wanted, MatchedNames | None]:
    """The videos of a file's rows, and how a list of them names them, where there is one."""
    videos = _paths(manifest)
    if ids_file is None:
        return Wanted(list(videos), f"{manifest.name} has {len(videos)} videos", videos), None
    named = read_ids(ids_file, manifest)
    ids = list(named.ids.values())
    return Wanted(ids, f"{ids_file} names {len(ids)} videos", videos, by_list=True), named


def _refuse_list_for_named(file: Path, found: FoundFeatures, ids_file: Path | None) -> None:
    require(
        ids_file is None or found.by_row,
        f"--ids {ids_file}: the arrays in {file} are named by their videos already; leave --ids "
        "out",
    )


def _write_all(
    manifest: Manifest,
    cache: Path,
    file: Path,
    new: Sequence[_Track],
    ids_file: Path | None,
    trained_on: str,
) -> list[ImportedTrack]:
    """Writes tracks that were checked, and says what was done."""
    digest, size = digest_of(file)
    identities, paths, written = [], [], []
    for track in new:
        chosen = track.chosen
        identity = TrackIdentity(
            track.kind,
            Spec(track.name),
            SAMPLER,
            sampler_version=SAMPLER_VERSION,
            source=digest,
            key=chosen.key,
            columns=chosen.columns,
            rows=digest_of_rows(chosen.order) if chosen.order else "",
            trained_on=_together(trained_on, chosen.trained_on),
        )
        identities.append(identity)
        paths.append(TrackPath.of(cache, manifest.name, track.name, identity))
        source = ImportedFile(
            file=file.absolute().name,  # of "." too
            bytes=size,
            digest=digest,
            key=chosen.key,
            columns=chosen.of,
            ids_file=ids_file.name if ids_file else "",
            ids_digest=sha256_of(ids_file) if ids_file else "",
        )
        seen = write_imported(paths[-1], identity, manifest, source, chosen.videos)
        written.append((source, seen))
    results = []
    for track, identity, path, (source, seen) in zip(new, identities, paths, written, strict=True):
        videos, matches = track.chosen.videos, track.chosen.matches
        order = [] if track.chosen.listed else track.chosen.order
        result = ImportedTrack(
            dataset=manifest.name,
            name=track.name,
            kind=track.kind,
            track=str(path),
            videos=len(videos),
            written=seen.lacked,
            frames=seen.frames,
            columns=sum(array.shape[1] for array in track.chosen.arrays.values()),
            order=(order[0], order[-1]) if order else None,
            source=source,
            trained_on=list(identity.opinions),
            not_finite=_not_finite(track.chosen, seen.gaps),
            missing=[video_id for video_id in manifest.rows["id"] if video_id not in videos],
            otherwise=matches.otherwise,
            ambiguous=matches.ambiguous,
            unknown=matches.unknown,
            next=_next_step(path, track.kind),
        )
        results.append(result)
    return results


def _together(*opinions: str) -> str:
    said = [names for names in opinions if names]
    return parse_opinions(",".join(said)) if said else ""


def digest_of_rows(order: list[str]) -> str:
    """Of the ids of a file's rows, in their order: `TrackIdentity.rows`."""
    return hashlib.sha256(json.dumps(order).encode()).hexdigest()


@dataclass(frozen=True)
class Written:
    """What `write_imported` saw: how many videos the track lacked, the fewest and the most frames
    of a video, and of each column in how many videos it is not finite.
    """

    lacked: int
    frames: tuple[int, int]
    gaps: list[int]


def write_imported(
    path: TrackPath,
    identity: TrackIdentity,
    manifest: Manifest,
    source: ImportedFile,
    videos: Mapping[str, ExportedVideo],
) -> Written:
    """Writes the videos that the track lacks; each is looked at once, and not kept."""
    recorded = {f"source {field}": str(value) for field, value in asdict(source).items()}
    save_manifest(path.cache, manifest)
    attributes = VideoAttributes(source_digest=source.digest, source_size=source.bytes)
    lacked, lengths = 0, []
    gaps: Int64[np.ndarray, " C"] | int = 0
    with write_track(
        path, identity, provenance(manifest) | recorded, videos=len(manifest)
    ) as track:
        for video_id, video in videos.items():
            lengths.append(len(video.timestamp))
            gaps = gaps + _gaps(video)
            if video_id in track:
                continue
            features = VideoFeatures(video.arrays, video.frame_index, video.timestamp, attributes)
            track.write(video_id, features)
            lacked += 1
    return Written(lacked, (min(lengths), max(lengths)), np.asarray(gaps).tolist())


def _gaps(video: ExportedVideo) -> Bool[np.ndarray, " C"]:
    """Which columns are not finite somewhere; those of several arrays count on."""
    found = [
        ~np.isfinite(array).all(axis=(0, *range(2, array.ndim))) for array in video.arrays.values()
    ]
    return np.concatenate(found)


def parse_columns(text: str, width: int, option: str | None = None) -> list[int]:
    """``"0:2,7,54:"`` of ``width`` columns -> ``[0, 1, 7, 54, …]``: half-open ranges from 0, or
    UsageError, which names the ``option`` that said it (None: ``--columns``).
    """
    said = option or f"--columns {text}"
    how = (
        f"give ranges of columns 0 to {width - 1}, the end not included, such as "
        f"0:{min(width, 5)} or {width - 1}"
    )
    chosen: list[int] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{said}: {part!r} is no range; {how}")
        start = int(match["start"] or 0)
        stop = int(match["stop"] or width) if match["colon"] else start + 1
        require(start < stop, f"{said}: {part} is empty or the wrong way round; {how}")
        require(
            stop <= width,
            f"{said}: {part} goes beyond the {width} columns that there are; {how}",
        )
        chosen += range(start, stop)
    twice = (
        sorted({column for column in chosen if chosen.count(column) > 1})
        if len(set(chosen)) < len(chosen)
        else []
    )
    require(not twice, f"{said} names column {', '.join(map(str, twice[:5]))} twice; {how}")
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


def read_ids(path: Path, manifest: Manifest) -> MatchedNames:
    """The names in a text file, one a line, or in the first column of a CSV, each matched with its
    video; UsageError for those of no video, or of several.
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
    videos = _paths(manifest)
    if path.suffix.lower() == ".csv" and ids and not match_names(ids[:1], videos).ids:
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
    twice = (
        sorted({video_id for video_id in ids if ids.count(video_id) > 1})
        if len(set(ids)) < len(ids)
        else []
    )
    require(
        not twice,
        f"--ids {path} names {first_of(twice, LISTED)} more than once; a row is one video",
    )
    matches = match_names(ids, videos)
    unknown = matches.unknown
    require(
        not unknown,
        f"--ids {path}: {len(unknown)} of its {len(ids)} ids are of no video of {manifest.name}: "
        f"{first_of(unknown, LISTED)}; ids of {manifest.name} look like "
        f"{', '.join(manifest.rows['id'][:2])}",
    )
    several = [f"{name} ({', '.join(of)})" for name, of in matches.ambiguous.items()]
    ambiguous = first_of(several, LISTED)
    require(
        not ambiguous,
        f"--ids {path}: it is not clear which video is meant by {ambiguous}; write the ids of "
        f"{manifest.name}",
    )
    return matches


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


def _refuse_labels(file: Path, found: FoundFeatures, chosen: list[int] | None, label: str) -> None:
    """UsageError where the name of a column, or of an array of one column, says that it is the
    label.
    """
    width = next(iter(found.videos.values())).shape[1] if found.videos else 0
    # a folder of files without names of arrays is called as what it holds
    name = found.key.rpartition("/")[2] or ("" if found.by_row else file.absolute().stem)
    require(
        width > 1 or not is_label(name, label),
        f"{f'array {found.key} of ' if found.key else ''}{file} is the label by its name, and a "
        "label is no feature; choose another, or rename it if it is something else",
    )
    if found.column_names is None:
        return
    names = found.column_names
    labels = [
        (column, names[column])
        for column in (range(width) if chosen is None else chosen)
        if is_label(names[column], label)
    ]
    if labels:
        column, name = labels[0]
        rest = format_columns([other for other in range(width) if other != column])
        raise UsageError(
            f"column {column} of {file} is the label by its name, {name!r}, and a label is no "
            f"feature; leave it out with --columns {rest}, or rename it if it is something else"
        )


def _not_finite(chosen: _Chosen, gaps: Sequence[int]) -> list[ColumnGap]:
    numbers = chosen.numbers or range(len(gaps))
    return [ColumnGap(numbers[place], count) for place, count in enumerate(gaps) if count]


def _next_step(path: TrackPath, kind: Kind) -> str:
    """The command that trains on the imported tracks, or first the one that brings a track of the
    other kind.
    """
    option = "" if str(path.cache) == "cache" else f" --cache {path.cache}"
    imported: dict[Kind, list[TrackPath]] = {"spatial": [], "temporal": []}
    for candidate in tracks(path.cache, path.dataset):
        with open_track(candidate) as track:
            if track.identity.imported and track.identity.kind in imported and len(track):
                imported[track.identity.kind].append(candidate)
    if all(imported.values()):
        names = " ".join(
            f"--{of} {paths[0].stem if len(paths) == 1 else ALL}" for of, paths in imported.items()
        )
        return f"vqa-fuse train --dataset {path.dataset} {names}{option}"
    other = "temporal" if kind == "spatial" else "spatial"
    several = f" --{kind} {ALL}" if len(imported[kind]) > 1 else ""
    return (
        f"vqa-fuse train --dataset {path.dataset}{several}{option}; {other} features, where there "
        f"are any, come first: vqa-cache import FILE --dataset {path.dataset} --kind {other} "
        f"--name NAME{option}"
    )


def summary(results: Sequence[ImportedTrack]) -> list[str]:
    """What an import did, in lines for people; what the tracks of a file share stands once."""
    lines = [line for result in results for line in _summary(result)]
    of_all = [_names(results[0].otherwise)] if results[0].otherwise else []
    return [*lines, *of_all, f"next: {results[-1].next}"]


def _summary(result: ImportedTrack) -> list[str]:
    source, total = result.source, result.videos + len(result.missing)
    low, high = result.frames
    frames = "" if high == 1 else f", {between(low, high)} frames each"
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
    if result.trained_on:
        names = ", ".join(result.trained_on)
        lines.append(f"  its features learnt from opinions of: {names}")
    for gap in result.not_finite[:LISTED]:
        lines.append(f"  not finite, and kept: column {gap.column} of {gap.videos} videos")
    if (more := len(result.not_finite) - LISTED) > 0:
        lines.append(f"  not finite, and kept: {more} more columns; --json lists all")
    if result.written:
        lines.append(f"{result.track}: {result.written} videos written")
    else:
        lines.append(f"{result.track}: holds all of that already, nothing was changed")
    return lines


def _names(otherwise: dict[str, str]) -> str:
    count = len(otherwise)
    what = "1 name is not the id as it stands" if count == 1 else f"{count} names are not the ids"
    shown = [f"{name} = {video_id}" for name, video_id in otherwise.items()]
    where = "; --json lists all" if count > 3 else ""
    return f"  {what}: {first_of(shown, 3)}{where}"
