"""Check a dataset: which videos are missing, unreadable or copies of each other, which labels are
out of range, and which known release it is. `vqa-data check` prints the result.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.datasets.loading import missing_files
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.datasets.schema import Release
from vqa_twostage.pipeline.files import sha256_of, write_text
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile

HEAD_BYTES = 1 << 20  # how much of a file's beginning is compared first
MOST_LISTED = 20  # findings of each kind that are printed; --json has all of them

# (id, path) of videos -> for each video that cannot be used, its id and the reason
Probe = Callable[[Sequence[tuple[str, VideoFile]]], dict[str, str]]


@dataclass(frozen=True)
class AxisCheck:
    """A further label: how many videos have one, the lowest and the highest (None where no video
    has one), and those out of range as of `DatasetCheck`.
    """

    videos: int
    mos_min: float | None
    mos_max: float | None
    scale: tuple[float, float]
    out_of_range: tuple[tuple[str, float], ...]

    @staticmethod
    def of(rows: pd.DataFrame, axis: Axis) -> AxisCheck:
        labels, (low, high) = rows[axis.column], axis.scale
        known = labels.notna().any()
        return AxisCheck(
            videos=int(labels.notna().sum()),
            mos_min=float(labels.min()) if known else None,
            mos_max=float(labels.max()) if known else None,
            scale=axis.scale,
            out_of_range=tuple(_pairs(rows[(labels < low) | (labels > high)], axis.column)),
        )

    def to_json(self) -> dict[str, object]:
        return {
            "videos": self.videos,
            "mos_min": self.mos_min,
            "mos_max": self.mos_max,
            "scale": list(self.scale),
            "out_of_range": [{"id": video_id, "mos": mos} for video_id, mos in self.out_of_range],
        }


@dataclass(frozen=True)
class DatasetCheck:
    """The result of `check_dataset`.

    ``found`` counts the videos whose files exist. ``missing`` has (id, path), ``unreadable`` (id,
    reason), ``out_of_range`` (id, MOS), and ``duplicates`` the ids of each set of equal files.
    ``splits`` is the number of videos in each official split. ``release_of_labels`` and
    ``release_of_videos`` compare the numbers of rows and of files with those of known releases, a
    sentence each. ``axes``: of further labels, by their names.
    """

    dataset: str
    rows: int
    found: int
    missing: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, ...], ...]
    out_of_range: tuple[tuple[str, float], ...]
    mos_min: float
    mos_max: float
    scale: tuple[float, float]
    groups: int
    splits: dict[str, int]
    layout: str
    release_of_labels: tuple[str, ...]
    release_of_videos: tuple[str, ...]
    notes: tuple[str, ...]
    axes: dict[str, AxisCheck] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The document of ``vqa-data check --json``."""
        return {
            "dataset": self.dataset,
            "rows": self.rows,
            "found": self.found,
            "missing": [path for _, path in self.missing],
            "missing_ids": [video_id for video_id, _ in self.missing],
            "unreadable": [
                {"id": video_id, "reason": reason} for video_id, reason in self.unreadable
            ],
            "duplicates": [list(ids) for ids in self.duplicates],
            "out_of_range": [{"id": video_id, "mos": mos} for video_id, mos in self.out_of_range],
            "mos_min": self.mos_min,
            "mos_max": self.mos_max,
            "scale": list(self.scale),
            "axes": {name: axis.to_json() for name, axis in self.axes.items()},
            "groups": self.groups,
            "splits": self.splits,
            "layout": self.layout,
            "release_of_labels": list(self.release_of_labels),
            "release_of_videos": list(self.release_of_videos),
            "notes": list(self.notes),
        }


def check_dataset(manifest: Manifest, releases: Sequence[Release], probe: Probe) -> DatasetCheck:
    """Look for all files of ``manifest`` and open each. ``probe`` opens the videos, because only
    stage one can decode.
    """
    assert manifest.root is not None
    rows = manifest.rows
    is_missing = rows["path"].isin(set(missing_files(manifest)))
    present, absent = rows[~is_missing], rows[is_missing]
    files = [(video_id, manifest.root / path) for video_id, path in _pairs(present, "path")]
    low, high = manifest.scale
    out_of_range = rows[(rows["mos"] < low) | (rows["mos"] > high)]
    videos_per_split = rows["split"].value_counts().items()
    return DatasetCheck(
        dataset=manifest.name,
        rows=len(rows),
        found=len(present),
        missing=tuple(_pairs(absent, "path")),
        unreadable=tuple(probe(files).items()),
        duplicates=_duplicates(files),
        out_of_range=tuple(_pairs(out_of_range, "mos")),
        mos_min=float(rows["mos"].min()),
        mos_max=float(rows["mos"].max()),
        scale=(low, high),
        groups=int(rows["group"].nunique()),
        splits={str(name): int(count) for name, count in videos_per_split if name},
        layout=manifest.layout,
        release_of_labels=_compare_with_releases(releases, rows["split"]),
        release_of_videos=_compare_with_releases(releases, present["split"]),
        notes=manifest.remarks,
        axes={axis.name: AxisCheck.of(rows, axis) for axis in manifest.axes},
    )


def is_sound(check: DatasetCheck) -> bool:
    """Whether nothing is wrong with the dataset."""
    out_of_range = [check.out_of_range, *(axis.out_of_range for axis in check.axes.values())]
    return not (check.missing or check.unreadable or check.duplicates or any(out_of_range))


def summary(check: DatasetCheck, manifest: Manifest) -> list[str]:
    """Lines for people: what the dataset contains, as counts and ranges."""
    low, high = check.scale
    lines = [
        f"{manifest.title} in {manifest.root}",
        f"  {check.rows} rows, {check.found} files found, {len(check.missing)} missing, "
        f"{len(check.unreadable)} unreadable",
        f"  {manifest.label} {check.mos_min:g} to {check.mos_max:g} on a scale of {low:g} to "
        f"{high:g}, {manifest.better} is better",
    ]
    for axis in manifest.axes:
        labels, (low, high) = check.axes[axis.name], axis.scale
        found = f"{labels.mos_min:g} to {labels.mos_max:g}" if labels.videos else "no label"
        lines.append(
            f"  axis {axis.name} {found} on a scale of {low:g} to {high:g}, {axis.better} is "
            f"better; {labels.videos} of {check.rows} videos"
        )
    if not check.found:
        lines.append(
            f"  no file was found: is {manifest.root} the right folder? --root must be the folder "
            "that the paths are relative to"
        )
    if check.groups < check.rows:
        lines.append(f"  {check.groups} groups (contents)")
    if check.splits:
        counts = ", ".join(f"{name} {count}" for name, count in check.splits.items())
        lines.append(f"  splits: {counts}")
    lines += [f"  labels: {line}" for line in check.release_of_labels]
    if check.found != check.rows:
        lines += [f"  videos: {line}" for line in check.release_of_videos]
    return lines + [f"  note: {note}" for note in check.notes]


def findings(check: DatasetCheck) -> list[str]:
    """Lines for people: what is wrong, the first few of each kind. Missing files are not among
    them; `write_missing` lists them in a file.
    """
    unreadable = [f"{video_id}: {reason}" for video_id, reason in check.unreadable]
    duplicates = [", ".join(ids) for ids in check.duplicates]
    out_of_range = _out_of_range("", check.out_of_range, check.scale)
    for name, axis in check.axes.items():
        out_of_range += _out_of_range(f"axis {name}, ", axis.out_of_range, axis.scale)
    return [
        *_first_of("unreadable", unreadable),
        *_first_of("the same content", duplicates),
        *_first_of("label out of range", out_of_range),
    ]


def _out_of_range(
    label: str, labels: Sequence[tuple[str, float]], scale: tuple[float, float]
) -> list[str]:
    low, high = scale
    return [f"{label}{video_id}: {mos:g} is not in {low:g} to {high:g}" for video_id, mos in labels]


def write_missing(path: Path, check: DatasetCheck) -> None:
    """All missing videos as a .csv of id and expected path."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["id", "path"])
    writer.writerows(check.missing)
    write_text(path, table.getvalue())


def _first_of(kind: str, items: list[str]) -> list[str]:
    lines = [f"{kind}: {item}" for item in items[:MOST_LISTED]]
    if len(items) > MOST_LISTED:
        lines.append(f"{kind}: and {len(items) - MOST_LISTED} more; --json lists all of them")
    return lines


def _pairs(rows: pd.DataFrame, column: str) -> list[tuple[str, Any]]:
    return list(zip(rows["id"], rows[column], strict=True))


def _duplicates(files: Iterable[tuple[str, VideoFile]]) -> tuple[tuple[str, ...], ...]:
    """Ids of the videos whose files are equal byte by byte, a tuple for each set of equal files.

    Sizes are compared first, then the beginnings, and whole files only where these are equal: all
    raw videos of one length have the same size. Of files at addresses nothing is read: those are
    equal whose size and whose mark are.
    """
    files = list(files)
    marked = defaultdict[Hashable, list[str]](list)
    for video_id, file in files:
        if isinstance(file, RemoteFile) and file.mark:
            marked[file.size, file.mark].append(video_id)
    equal = [tuple(ids) for ids in marked.values() if len(ids) > 1]
    candidates = [[(video_id, path) for video_id, path in files if isinstance(path, Path)]]
    for key in (_size, _digest_of_head, sha256_of):
        candidates = [
            group
            for candidate in candidates
            for group in _group_by(key, candidate)
            if len(group) > 1
        ]
    return (*equal, *(tuple(video_id for video_id, _ in group) for group in candidates))


def _group_by(
    key: Callable[[Path], Hashable], files: list[tuple[str, Path]]
) -> list[list[tuple[str, Path]]]:
    groups = defaultdict[Hashable, list[tuple[str, Path]]](list)
    for video_id, path in files:
        try:
            groups[key(path)].append((video_id, path))
        except OSError:
            continue  # unreadable, which `probe` reports, or removed meanwhile
    return list(groups.values())


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest_of_head(path: Path) -> str:
    return sha256_of(path, HEAD_BYTES)


def _compare_with_releases(releases: Sequence[Release], splits: pd.Series[str]) -> tuple[str, ...]:
    """Which known release has this number of videos, in total and in each official split for which
    releases are known; a sentence each.
    """
    sentences = []
    for split in dict.fromkeys(release.split for release in releases):
        known_releases = [release for release in releases if release.split == split]
        count = int((splits == split).sum()) if split else len(splits)
        videos = f"{count} videos of {split}" if split else f"{count} videos"
        matching = [release.name for release in known_releases if release.videos == count]
        if matching:
            sentences.append(f"{videos}, as in {matching[0]}")
        else:
            sizes = ", ".join(f"{release.videos} ({release.name})" for release in known_releases)
            sentences.append(f"{videos}, and known releases have {sizes}")
    return tuple(sentences)
