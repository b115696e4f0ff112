"""Find the file of each video: the layouts of a dataset are matched against the files below its
root.

Nothing is guessed: two candidates for one row and one file for two rows are errors.
"""

from __future__ import annotations

import math
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.datasets.file_index import (
    LITERAL_STAR,
    FileIndex,
    literal,
    without_extension,
)
from vqa_twostage.pipeline.datasets.manifest import COLUMNS
from vqa_twostage.pipeline.datasets.rows import WILDCARD, Row, escaped, is_printable
from vqa_twostage.pipeline.datasets.schema import Layout
from vqa_twostage.pipeline.errors import UsageError

MOST_LISTED = 10  # candidates in a message


@dataclass(frozen=True)
class Located:
    """``paths``: for each row the path of its file, or where it is expected if there is none.
    ``layout``: the layout in which most files were found.
    """

    paths: list[str]
    layout: str


def locate(file_index: FileIndex, rows: Sequence[Row], layouts: Sequence[Layout]) -> Located:
    """The videos of ``rows``. A missing video gets the path that it would have in the layout in
    which most others were found.

    UsageError if several files match a row, if two rows have the same file, or if a path leaves
    the root.
    """
    located = [_locate_row(file_index, row, layouts) for row in rows]
    videos_per_layout = Counter(match[1] for match in located if match)
    layout = max(layouts, key=lambda layout: videos_per_layout[layout.name])
    paths = [
        match[0] if match else _expected_path(file_index, row, layout)
        for row, match in zip(rows, located, strict=True)
    ]
    _check_distinct(rows, paths)
    return Located(paths, layout.name)


def located_rows(
    file_index: FileIndex,
    rows: Sequence[Row],
    layouts: Sequence[Layout],
    axes: Iterable[Axis] = (),
) -> tuple[pd.DataFrame, str]:
    """The rows of a manifest that has ``axes``, and the layout in which most of their files were
    found; errors as `locate`.
    """
    located = locate(file_index, rows, layouts)
    further = [axis.column for axis in axes]
    records = [
        (
            *(row.id, path, row.mos, row.mos_std, row.group, row.split),
            *(row.axes.get(column, math.nan) for column in further),
        )
        for row, path in zip(rows, located.paths, strict=True)
    ]
    return pd.DataFrame(records, columns=[*COLUMNS, *further]), located.layout


def _locate_row(
    file_index: FileIndex, row: Row, layouts: Sequence[Layout]
) -> tuple[str, str] | None:
    """The path of a row's file and the name of the layout that it is in, or None."""
    if row.elsewhere:
        return row.elsewhere, layouts[0].name
    candidates = {
        path: layout.name
        for layout in layouts
        for template in layout.videos
        for path in file_index.videos(_pattern(file_index, row, template))
    }
    if len(candidates) > 1:
        listed = "\n".join(f"  {path}" for path in list(candidates)[:MOST_LISTED])
        advice = "Move all but one of them to another folder"
        if len(layouts) > 1:
            advice += f", or choose a layout, as in NAME:layout={layouts[0].name}"
        raise UsageError(
            f"{row.place}: {len(candidates)} files could be video {row.id} below "
            f"{file_index.root}:\n{listed}\n{advice}"
        )
    for path, layout_name in candidates.items():
        if not is_printable(path):
            raise UsageError(
                f"{file_index.root}: the name {escaped(path)} is not UTF-8 or contains control "
                "characters; rename the file"
            )
        return path, layout_name
    return None


def _pattern(file_index: FileIndex, row: Row, template: str) -> str:
    """``template`` with the names of ``row`` in place of its braces, as a pattern for
    `FileIndex`.
    """
    values = {
        name: literal(value).replace(WILDCARD, "*")
        for name, value in _names_for(row, template).items()
    }
    return _below_root(file_index, row, template.format_map(values))


def _expected_path(file_index: FileIndex, row: Row, layout: Layout) -> str:
    path = _pattern(file_index, row, layout.videos[0]).replace(LITERAL_STAR, "*")
    return path if without_extension(path) != path else path + layout.extension


def _names_for(row: Row, template: str) -> dict[str, str]:
    """Names of ``row``. An id at the end of a path keeps the extension that the label file gives
    it, because a file of exactly that name is preferred; elsewhere in a path it has none.
    """
    return row.names if template.endswith("{id}") else {**row.names, "id": row.id}


def _below_root(file_index: FileIndex, row: Row, pattern: str) -> str:
    """``pattern`` normalised and relative to the root; UsageError if it leaves the root."""
    normal = posixpath.normpath(pattern)
    # an absolute path is fine if it is below the root
    normal = normal.removeprefix(literal(file_index.absolute).rstrip("/") + "/")
    if normal.startswith("/") or normal.split("/")[0] == "..":
        raise UsageError(
            f"{row.place}: {pattern.replace(LITERAL_STAR, '*')!r} is outside {file_index.root}, "
            "the folder of the videos; give paths below it, or as --root a folder that contains "
            "all videos"
        )
    return normal


def _check_distinct(rows: Sequence[Row], paths: list[str]) -> None:
    """UsageError if two rows have the same file. Only a table may label a path twice, if it gives
    it in the same spelling.
    """
    first_row: dict[str, Row] = {}
    for row, path in zip(rows, paths, strict=True):
        other = first_row.setdefault(path, row)
        if other.names.get("path", other.id) != row.names.get("path", row.id):
            raise UsageError(
                f"{row.place}: video {row.id} and video {other.id} ({other.place}) have the same "
                f"file, {path}; remove one of them, or give it another path"
            )
