"""Which file is which video: the layouts of a dataset against what lies below its root.

Nothing is guessed: two candidates for one row, and one file for two rows, are errors that list
them.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vqa_twostage.pipeline.datasets.file_index import STAR, Tree, literal, without_extension
from vqa_twostage.pipeline.datasets.rows import ANYTHING, Row, is_text, shown
from vqa_twostage.pipeline.datasets.schema import Layout
from vqa_twostage.pipeline.errors import UsageError, require

NAMED = 10  # candidates in a message


@dataclass(frozen=True)
class Located:
    """``paths``: for every row the file found, or where it is expected. ``layout``: that of most
    files found.
    """

    paths: list[str]
    layout: str


def locate(tree: Tree, rows: Sequence[Row], layouts: Sequence[Layout]) -> Located:
    """The videos of ``rows``; those not found get the path that the layout in use would give them.

    UsageError where a row could be two files, two rows are one, or a path leaves the root.
    """
    found: list[tuple[str, str] | None] = []
    for row in rows:
        candidates = {
            path: layout.name
            for layout in layouts
            for template in layout.videos
            for path in tree.videos(_pattern(tree, row, template))
        }
        if len(candidates) > 1:
            listed = "\n".join(f"  {path}" for path in list(candidates)[:NAMED])
            choice = (
                ", or choose a layout, as in NAME:layout=" + layouts[0].name
                if len(layouts) > 1
                else ""
            )
            raise UsageError(
                f"{row.place}: {len(candidates)} files could be video {row.id} below "
                f"{tree.root}:\n{listed}\n"
                f"Move all but one of them elsewhere{choice}"
            )
        for path in candidates:
            require(
                is_text(path),
                f"{tree.root}: {shown(path)} is no name in UTF-8, or breaks the line; rename it",
            )
        found.append(next(iter(candidates.items()), None))
    used = Counter(item[1] for item in found if item)
    layout = max(layouts, key=lambda layout: used[layout.name])
    paths = [
        item[0] if item else _expected(tree, row, layout)
        for row, item in zip(rows, found, strict=True)
    ]
    _check_apart(rows, paths)
    return Located(paths, layout.name)


def _pattern(tree: Tree, row: Row, template: str) -> str:
    """``template`` with what the row says in its braces, as a pattern for `Tree`."""
    names = {
        name: literal(value).replace(ANYTHING, "*") for name, value in _names(row, template).items()
    }
    return _below_root(tree, row, template.format_map(names))


def _expected(tree: Tree, row: Row, layout: Layout) -> str:
    path = _pattern(tree, row, layout.videos[0]).replace(STAR, "*")
    return path if without_extension(path) != path else path + layout.extension


def _names(row: Row, template: str) -> dict[str, str]:
    """Where the id ends a path it may have its extension, which tells an exact name; elsewhere it
    has none.
    """
    return row.names if template.endswith("{id}") else {**row.names, "id": row.id}


def _below_root(tree: Tree, row: Row, pattern: str) -> str:
    """``pattern`` relative to the root, tidied; UsageError where it leaves the root."""
    tidy = posixpath.normpath(pattern)
    tidy = tidy.removeprefix(
        literal(tree.absolute).rstrip("/") + "/"
    )  # an absolute path may well lie below it
    if tidy.startswith("/") or tidy.split("/")[0] == "..":
        raise UsageError(
            f"{row.place}: {pattern.replace(STAR, '*')!r} leads out of {tree.root}, the folder of "
            "the videos; give "
            "paths below it, or a folder above all of them as --root"
        )
    return tidy


def _check_apart(rows: Sequence[Row], paths: list[str]) -> None:
    first: dict[str, Row] = {}
    for row, path in zip(rows, paths, strict=True):
        other = first.setdefault(path, row)
        # a .csv may well have two labels for one path, but not by two names for it
        if other.names.get("path", other.id) != row.names.get("path", row.id):
            raise UsageError(
                f"{row.place}: video {row.id} and video {other.id} ({other.place}) are one file, "
                f"{path}"
            )
