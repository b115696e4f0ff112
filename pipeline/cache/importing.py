"""`import_features`: features that others computed become a track, which stage two trains on like
any other.

Letters: T frames, C columns. Columns are counted from 0, as the file has them.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.cache import feature_files as foreign
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.datasets.loading import Manifest
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.spec import NAME

SAMPLER = "imported"
SAMPLER_VERSION = 1
RANGE = re.compile(r"(?=.)(?P<start>[0-9]{0,9})(?P<colon>:?)(?P<stop>[0-9]{0,9})")


def import_features(
    manifest: Manifest,
    cache: Path,
    file: Path,
    kind: str,
    name: str,
    key: str | None = None,
    columns: str | None = None,
    ids_file: Path | None = None,
) -> dict[str, Any]:
    """Writes the features in ``file`` as the track ``name`` of ``kind`` (spatial or temporal),
    once.

    ``key`` names the array where the file has several, ``columns`` chooses some (as `parse_columns`
    takes them), and ``ids_file`` lists the videos of the file's rows, which are else those of the
    manifest. Numbers that are not finite are kept and counted. Returns the document of ``vqa-cache
    import --json``; UsageError on wrong use.
    """
    require(
        NAME.fullmatch(name) is not None,
        f"--name {name!r} is no name: small letters, digits and _, a letter first, as in "
        "videval_motion",
    )
    all_ids = [str(video_id) for video_id in manifest.rows["id"]]
    wanted = foreign.Wanted(all_ids, f"{manifest.name} has {len(all_ids)} videos")
    if ids_file is not None:
        ids = read_ids(ids_file, manifest)
        wanted = foreign.Wanted(ids, f"{ids_file} names {len(ids)} videos")
    found = foreign.read_features(file, key, wanted)
    require(
        found.by_row or ids_file is None,
        f"--ids {ids_file}: the arrays in {file} are named by their videos already; leave --ids "
        "out",
    )
    width = next(iter(found.videos.values())).shape[1]
    chosen = parse_columns(columns, width) if columns is not None else list(range(width))
    if found.by_row and width > 1 and 0 in chosen:
        _refuse_ids_as_features(file, found)
    digest = _digest_of(file)
    identity = {
        "kind": kind,
        "extractor": name,
        "imported": True,
        "source": digest,
        "key": found.key,
        "columns": format_columns(chosen),
        # which row is which video; the names of a file's arrays say it themselves
        "rows": hashlib.sha256(json.dumps(wanted.ids).encode()).hexdigest() if found.by_row else "",
        "sampler": SAMPLER,
        "sampler_version": SAMPLER_VERSION,
    }
    source = {
        "file": file.name,
        "bytes": file.stat().st_size,
        "digest": digest,
        "key": found.key,
        "columns": f"{format_columns(chosen)} of {width}",
        "ids_file": ids_file.name if ids_file else "",
        "ids_digest": _digest_of(ids_file) if ids_file else "",
    }
    about = records.about(manifest) | {
        f"source {what}": str(value) for what, value in source.items()
    }
    path = cached.track_path(cache, manifest.name, SAMPLER, name, identity)
    records.save_manifest(cache, manifest)
    videos = {video_id: array[:, chosen] for video_id, array in found.videos.items()}
    attributes = {"source_digest": digest, "source_size": source["bytes"]}
    with cached.write_track(path, identity, about) as track:
        lacking = [video_id for video_id in videos if video_id not in track]
        for video_id in lacking:
            track.write(video_id, _as_video(name, videos[video_id], attributes))
    return {
        "dataset": manifest.name,
        "name": name,
        "kind": kind,
        "track": str(path),
        "videos": len(videos),
        "written": len(lacking),
        "frames": [min(map(len, videos.values())), max(map(len, videos.values()))],
        "columns": len(chosen),
        "order": [wanted.ids[0], wanted.ids[-1]] if found.by_row and ids_file is None else [],
        "source": source,
        "not_finite": _not_finite(videos, chosen),
        "missing": [video_id for video_id in all_ids if video_id not in videos],
        "unknown": found.others,
        "next": _next_step(cache, manifest.name, kind, path),
    }


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


def _refuse_ids_as_features(file: Path, found: foreign.Found) -> None:
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


def _as_video(
    name: str, array: Float32[np.ndarray, "T C"], attributes: dict[str, Any]
) -> cached.VideoFeatures:
    frames = np.arange(len(array))
    # when the frames are shown is not known: their numbers stand for it, in order
    return cached.VideoFeatures(
        {f"{name}/mean": array}, frames, frames.astype(np.float64), attributes
    )


def _not_finite(
    videos: dict[str, Float32[np.ndarray, "_ C"]], chosen: list[int]
) -> list[dict[str, int]]:
    """Columns with NaN or infinite values, and in how many videos each."""
    counts = np.zeros(len(chosen), np.int64)
    for array in videos.values():
        counts += ~np.isfinite(array).all(axis=0)
    return [
        {"column": chosen[place], "videos": int(counts[place])} for place in np.flatnonzero(counts)
    ]


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _next_step(cache: Path, dataset: str, kind: str, path: Path) -> str:
    """The command that trains on the new track, or first the one that brings its counterpart."""
    other = "temporal" if kind == "spatial" else "spatial"
    place = "" if str(cache) == "cache" else f" --cache {cache}"
    for candidate in sorted(path.parent.glob("*.h5")):
        with cached.open_track(candidate) as track:
            if track.imported and track.identity["kind"] == other and len(track):
                names = {kind: path.stem, other: candidate.stem}
                both = f"--spatial {names['spatial']} --temporal {names['temporal']}"
                return f"vqa-fuse train --dataset {dataset} {both}{place}"
    return (
        f"vqa-cache import FILE --dataset {dataset} --kind {other} --name NAME{place}, "
        f"then vqa-fuse train --dataset {dataset}{place}"
    )


def summary(document: dict[str, Any]) -> list[str]:
    """What an import did, in lines for people."""
    source, total = document["source"], document["videos"] + len(document["missing"])
    low, high = document["frames"]
    frames = "" if high == 1 else f", {low if low == high else f'{low} to {high}'} frames each"
    array = f", array {source['key']}" if source["key"] else ""
    lines = [
        f"{source['file']}{array}: {document['videos']} of {total} videos{frames}, "
        f"{document['columns']} "
        f"column{'s' if document['columns'] > 1 else ''} ({source['columns']})"
    ]
    if document["order"]:  # nothing in a file of numbers shows that its rows stand otherwise
        first, last = document["order"]
        lines.append(
            f"  rows as {document['dataset']} has its videos, from {first} to {last}; else say "
            "--ids FILE"
        )
    wrong = document["not_finite"]
    lines += [
        f"  not finite, and kept: column {column['column']} of {column['videos']} videos"
        for column in wrong[:10]
    ]
    lines += (
        [f"  not finite, and kept: {len(wrong) - 10} more columns; --json lists all"]
        if len(wrong) > 10
        else []
    )
    if document["written"]:
        lines.append(f"{document['track']}: {document['written']} videos written")
    else:
        lines.append(f"{document['track']}: held all of that already, nothing is changed")
    return [*lines, f"next: {document['next']}"]
