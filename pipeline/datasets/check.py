"""Is a dataset whole? What `vqa-data check` finds out: files, labels, copies, and which known
release this is.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.datasets.loading import missing_files
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.datasets.schema import Release

HEAD = 1 << 20  # bytes of a file's beginning
LISTED = 20  # of each kind of finding, for people; the rest is in --json

# (id, path) of videos -> why one cannot be used, by its id
Probe = Callable[[Sequence[tuple[str, Path]]], dict[str, str]]


def check_dataset(manifest: Manifest, releases: Sequence[Release], probe: Probe) -> dict[str, Any]:
    """The document of ``vqa-data check --json``. ``probe`` opens the videos, which only stage one
    can.
    """
    assert manifest.root is not None
    rows, missing = manifest.rows, set(missing_files(manifest))
    here = rows[~rows["path"].isin(missing)]
    files = [
        (str(name), manifest.root / str(path))
        for name, path in zip(here["id"], here["path"], strict=True)
    ]
    unreadable = probe(files)
    low, high = manifest.scale
    outside = rows[(rows["mos"] < low) | (rows["mos"] > high)]
    return {
        "dataset": manifest.name,
        "rows": len(rows),
        "found": len(here),
        "missing": [path for path in rows["path"] if path in missing],
        "missing_ids": list(rows["id"][rows["path"].isin(missing)]),
        "unreadable": [{"id": name, "reason": reason} for name, reason in unreadable.items()],
        "duplicates": _duplicates(files),
        "out_of_range": [
            {"id": name, "mos": mos}
            for name, mos in zip(outside["id"], outside["mos"], strict=True)
        ],
        "mos_min": float(rows["mos"].min()),
        "mos_max": float(rows["mos"].max()),
        "scale": [low, high],
        "groups": int(rows["group"].nunique()),
        "splits": {
            str(name): int(count) for name, count in rows["split"].value_counts().items() if name
        },
        "layout": manifest.layout,
        "release_of_labels": _releases(releases, rows["split"]),
        "release_of_videos": _releases(releases, here["split"]),
        "notes": list(manifest.notes),
    }


def is_sound(document: dict[str, Any]) -> bool:
    return not any(
        document[finding] for finding in ("missing", "unreadable", "duplicates", "out_of_range")
    )


def summary(document: dict[str, Any], manifest: Manifest) -> list[str]:
    """The document for people: what there is first, then what is wrong."""
    low, high = manifest.scale
    lines = [
        f"{manifest.title} in {manifest.root}",
        f"  {document['rows']} rows, {document['found']} files found, {len(document['missing'])} "
        "missing, "
        f"{len(document['unreadable'])} unreadable",
        f"  {manifest.label} {document['mos_min']:g} to {document['mos_max']:g} on a scale of "
        f"{low:g} to {high:g}, "
        f"{manifest.better} is better",
    ]
    if not document["found"]:
        lines.append(
            f"  none is there: is {manifest.root} right? --root says below which folder the paths "
            "are"
        )
    groups = document["groups"]
    lines += [f"  {groups} groups (contents)"] if groups < document["rows"] else []
    lines += (
        ["  splits: " + ", ".join(f"{name} {n}" for name, n in document["splits"].items())]
        if document["splits"]
        else []
    )
    lines += [f"  labels: {line}" for line in document["release_of_labels"]]
    if document["found"] != document["rows"]:
        lines += [f"  videos: {line}" for line in document["release_of_videos"]]
    return lines + [f"  note: {note}" for note in document["notes"]]


def findings(document: dict[str, Any]) -> list[str]:
    """What is wrong, some of each kind, for people. Missing files are counted: they have a file of
    their own.
    """
    low, high = document["scale"]
    lines = _some(
        "unreadable", [f"{item['id']}: {item['reason']}" for item in document["unreadable"]]
    )
    lines += _some("the same content", [", ".join(ids) for ids in document["duplicates"]])
    outside = [
        f"{item['id']}: {item['mos']:g} is not in {low:g} to {high:g}"
        for item in document["out_of_range"]
    ]
    return lines + _some("label out of range", outside)


def write_missing(path: Path, document: dict[str, Any]) -> None:
    """All videos that are not there, as a .csv of id and expected path."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "path"])
    writer.writerows(zip(document["missing_ids"], document["missing"], strict=True))
    records.write_text(path, table.getvalue())


def _some(what: str, items: list[str]) -> list[str]:
    more = (
        [f"{what}: and {len(items) - LISTED} more; --json lists all"] if len(items) > LISTED else []
    )
    return [f"{what}: {item}" for item in items[:LISTED]] + more


def _duplicates(files: Iterable[tuple[str, Path]]) -> list[list[str]]:
    """Ids of the videos that are one content, byte by byte: of equal size, equal beginning, and
    then equal as a whole.

    Raw videos of one length all have one size: without their beginnings, all of them would be read.
    """
    alike = [list(files)]
    for same in (lambda path: path.stat().st_size, lambda path: _digest(path, HEAD), _digest):
        apart = [_by(same, group) for group in alike]
        alike = [group for groups in apart for group in groups if len(group) > 1]
    return [[name for name, _ in group] for group in alike]


def _by(
    same: Callable[[Path], Hashable], files: list[tuple[str, Path]]
) -> list[list[tuple[str, Path]]]:
    groups = defaultdict[Hashable, list[tuple[str, Path]]](list)
    for name, path in files:
        try:
            groups[same(path)].append((name, path))
        except OSError:
            continue  # unreadable, and told as such, or gone meanwhile
    return list(groups.values())


def _digest(path: Path, most: int = -1) -> str:
    with path.open("rb") as file:
        if most >= 0:
            return hashlib.sha256(file.read(most)).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def _releases(releases: Sequence[Release], split: Any) -> list[str]:
    """Which known release has as many videos, in all and in each official split that releases are
    known of.
    """
    lines = []
    for name in dict.fromkeys(release.split for release in releases):
        known = [release for release in releases if release.split == name]
        count = int(np.sum(split == name)) if name else len(split)
        said = f"{count} videos" + (f" of {name}" if name else "")
        same = [release.name for release in known if release.videos == count]
        others = ", ".join(f"{release.videos} ({release.name})" for release in known)
        lines.append(
            f"{said}, as in {same[0]}" if same else f"{said}, and known releases have {others}"
        )
    return lines
