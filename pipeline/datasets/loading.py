"""Read a dataset: its TOML (or one CSV) and its label files become one `Manifest`.

A dataset is given as the name of a file in ``data_manifests/``, as the path of such a ``.toml``, or
as a ``.csv`` with the columns ``path,mos`` and optionally ``id,mos_std,group,split``.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vqa_twostage.pipeline.datasets.file_index import FileIndex, without_extension
from vqa_twostage.pipeline.datasets.label_files import Table, in_usual_case, read_table
from vqa_twostage.pipeline.datasets.locate import locate
from vqa_twostage.pipeline.datasets.manifest import BETTER, COLUMNS, Manifest
from vqa_twostage.pipeline.datasets.rows import NUMBER, WILDCARD, Row, check_unique, read_rows
from vqa_twostage.pipeline.datasets.schema import (
    DatasetSchema,
    LabelFile,
    Layout,
    Release,
    manifest_folder,
    names,
    read_schema,
)
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.raw_format import RawFormat, parse_raw_format

OPTIONAL_COLUMNS = ("id", "mos_std", "group", "split")
# an exported .csv has these as well: they describe the whole dataset, so all rows agree
DATASET_COLUMNS = ["dataset", "title", "label", "lowest", "highest", "better", "raw"]
VALID_VALUES = {
    "dataset": r"[^./\\][^/\\]*",
    "lowest": NUMBER.pattern,
    "highest": NUMBER.pattern,
    "better": "|".join(BETTER),
}


def load_manifest(
    dataset: str | Path, root: str | Path | None = None, name: str | None = None
) -> Manifest:
    """The manifest of a dataset: its rows, and where each video is expected below ``root``.

    Args:
        dataset: A name of ``data_manifests/`` (``vqa-data list`` shows them), a ``.toml`` like
            those, or a ``.csv`` with the columns ``path,mos``. ``NAME:layout=LAYOUT`` looks for the
            videos in only one of the dataset's layouts.
        root: The folder of the videos and label files. Default: ``$VQA_DATA/NAME``; for a ``.csv``
            the folder that it is in.
        name: What caches and results call it. Default: the name of the file, without its ending.

    Videos may be missing; `missing_files` lists them.

    Raises:
        UsageError: A file is missing or cannot be read, or a row is not unambiguous; the message
            says which, and what to do.
    """
    root = None if root is None else Path(root)
    if name is not None and not re.fullmatch(VALID_VALUES["dataset"], name):
        raise UsageError(f"{name!r} cannot name a dataset: it must be the name of a folder")
    if Path(dataset).suffix.lower() == ".csv":
        manifest = _from_csv(Path(dataset), root)
    else:
        known, _, layout = str(dataset).partition(":layout=")
        manifest = _from_toml(toml_of(known), root, layout)
    if name is None:
        return manifest
    title = name if manifest.title == manifest.name else manifest.title
    return replace(manifest, name=name, title=title)


def toml_of(dataset: str | Path) -> Path:
    """The TOML file of ``dataset``, which is a name or a path; UsageError for an unknown name."""
    if Path(dataset).suffix.lower() == ".toml":
        return Path(dataset)
    if str(dataset) not in names():
        raise UsageError(
            f"unknown dataset {str(dataset)!r}; choose from {', '.join(names())}, or give the "
            "path of a .toml like those, or of a .csv with the columns path,mos"
        )
    return manifest_folder() / f"{dataset}.toml"


@dataclass(frozen=True)
class DatasetDescription:
    """What ``vqa-data list`` shows of a known dataset.

    ``videos``: number of videos in the release that its manifest is written for. ``splits``: names
    of the official splits. ``grouped``: whether several videos can show the same content.
    ``layouts``: name of each layout -> patterns of its paths.
    """

    name: str
    title: str
    videos: int
    label: str
    scale: tuple[float, float]
    better: str
    splits: tuple[str, ...]
    grouped: bool
    layouts: dict[str, tuple[str, ...]]
    homepage: str
    citation: str
    licence: str

    def to_json(self) -> dict[str, object]:
        """The entry of ``vqa-data list --json``."""
        return dataclasses.asdict(self)


def describe(name: str) -> DatasetDescription:
    """The description of a known dataset, from its TOML alone; no file of the dataset is needed."""
    schema = read_schema(toml_of(name))
    return DatasetDescription(
        name=name,
        title=schema.title,
        videos=schema.releases[0].videos if schema.releases else 0,
        label=schema.label,
        scale=schema.scale,
        better=schema.better,
        splits=tuple(schema.splits),
        grouped=any("group" in label.columns for label in schema.labels),
        layouts={layout.name: layout.videos for layout in schema.layouts},
        homepage=schema.homepage,
        citation=schema.citation,
        licence=schema.licence,
    )


def releases_of(dataset: str | Path) -> tuple[Release, ...]:
    """Known releases of a dataset; none for a .csv."""
    if Path(dataset).suffix.lower() == ".csv":
        return ()
    name, _, _ = str(dataset).partition(":layout=")
    return read_schema(toml_of(name)).releases


def missing_files(manifest: Manifest) -> list[str]:
    """Paths of the manifest at which there is no file, in its order."""
    assert manifest.root is not None
    return [path for path in manifest.rows["path"] if not os.path.isfile(manifest.root / path)]


# --- a .csv ---


def _from_csv(path: Path, root: Path | None) -> Manifest:
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a .csv with the columns path,mos")
    root = path.parent if root is None else root
    if not root.is_dir():
        raise UsageError(f"--root {_not_a_folder(root)}; give the folder that contains the videos")
    label_file = LabelFile((path.name,), {"id": "path", "path": "path", "mos": "mos"})
    table = read_table(path, label_file, ["path", "mos"])
    exported = set(DATASET_COLUMNS) <= table.columns.keys()
    if exported:
        table = read_table(path, label_file, ["path", "mos"], keep_blanks=True)
    names = in_usual_case([*table.columns], OPTIONAL_COLUMNS)
    table = replace(table, columns=dict(zip(names, table.columns.values(), strict=True)))
    optional = {column: column for column in OPTIONAL_COLUMNS if column in table.columns}
    label_file = replace(label_file, columns=label_file.columns | optional)
    rows, _ = read_rows(table, label_file, strip_extension=False)
    check_unique(rows)
    if exported:
        rows = [_with_wildcards(row) for row in rows]
    rows = [_with_slashes(row) for row in rows]
    located = locate(FileIndex(root), rows, [Layout("", ("{path}", "{slashed}"), extension="")])
    facts = _exported_facts(table, path) if exported else _guessed_facts(rows, path)
    return Manifest(
        name=facts.name,
        title=facts.title,
        label=facts.label,
        scale=facts.scale,
        rows=_frame(rows, located.paths),
        root=root,
        raw=facts.raw,
        better=facts.better,
        notes=() if exported else _notes_on_csv(table, facts.scale),
        origin=str(path.resolve()),
    )


def _with_slashes(row: Row) -> Row:
    """``row`` with its path as it is written elsewhere than on Windows, as a second name."""
    return replace(row, names={**row.names, "slashed": row.names["path"].replace("\\", "/")})


def _with_wildcards(row: Row) -> Row:
    """``row`` of an exported .csv, in which ``*`` stands for the unknown folder of a video that was
    missing.
    """
    path = row.names["path"].replace("*", WILDCARD)
    return replace(row, names={**row.names, "path": path})


@dataclass(frozen=True)
class _Facts:
    """What is true of a dataset as a whole."""

    name: str
    title: str
    label: str
    scale: tuple[float, float]
    better: str
    raw: RawFormat | None


def _exported_facts(table: Table, path: Path) -> _Facts:
    value = {column: _value_of_all_rows(table, column) for column in DATASET_COLUMNS}
    return _Facts(
        name=value["dataset"],
        title=value["title"],
        label=value["label"],
        scale=(float(value["lowest"]), float(value["highest"])),
        better=value["better"],
        raw=parse_raw_format(value["raw"], str(path)) if value["raw"] else None,
    )


def _guessed_facts(rows: list[Row], path: Path) -> _Facts:
    labels = [row.mos for row in rows]
    return _Facts(path.stem, path.stem, "MOS", (min(labels), max(labels)), "higher", None)


def _value_of_all_rows(table: Table, column: str) -> str:
    """The value of ``column``, which must be valid and the same in all rows; else UsageError."""
    cells = table.columns[column]
    for row, cell in enumerate(cells):
        if cell != cells[0]:
            raise table.error(
                row,
                column,
                f"{cell!r} differs from {cells[0]!r} in the first row; this column must have the "
                "same value in all rows",
            )
    if column in VALID_VALUES and not re.fullmatch(VALID_VALUES[column], cells[0]):
        raise table.error(
            0,
            column,
            f"{cells[0]!r} is not valid; use the file as vqa-data export wrote it",
        )
    return cells[0]


def _notes_on_csv(table: Table, scale: tuple[float, float]) -> tuple[str, ...]:
    """What was assumed about a .csv. A misspelt column would otherwise go unnoticed."""
    known_columns = ("path", "mos", *OPTIONAL_COLUMNS)
    unused = [column for column in table.columns if column not in known_columns]
    notes = []
    if unused:
        notes.append(
            f"columns not used: {', '.join(unused)}; known columns are {', '.join(known_columns)}"
        )
    if "group" not in table.columns:
        notes.append("there is no column group: each video counts as a content of its own")
    notes.append(
        f"the scale is taken from the labels, {scale[0]:g} to {scale[1]:g}; to set another, "
        "describe the dataset in a .toml"
    )
    return tuple(notes)


# --- a .toml ---


def _from_toml(path: Path, root: Path | None, chosen_layout: str) -> Manifest:
    schema, name = read_schema(path), path.stem
    layouts = [layout for layout in schema.layouts if chosen_layout in ("", layout.name)]
    if not layouts:
        choices = ", ".join(layout.name for layout in schema.layouts)
        raise UsageError(f"{name} has no layout {chosen_layout!r}; choose from {choices}")
    if root is None and os.environ.get("VQA_DATA"):
        root = Path(os.environ["VQA_DATA"]) / name
    if root is None:
        raise UsageError(
            f"the folder of {name} is unknown: --root is not given, and the environment variable "
            f"VQA_DATA is not set.\n{_how_to_obtain(schema)}"
        )
    if not root.is_dir():
        raise UsageError(f"{_not_a_folder(root)}.\n{_how_to_obtain(schema)}")
    file_index = FileIndex(root)
    rows: list[Row] = []
    notes: list[str] = []
    for label_file in schema.labels:
        columns = list(dict.fromkeys(label_file.columns.values()))
        table = read_table(_path_of(label_file, file_index, schema), label_file, columns)
        rows_of_file, notes_on_file = read_rows(table, label_file)
        rows += rows_of_file
        notes += notes_on_file
    check_unique(rows)
    if not rows:
        raise UsageError(
            f"{root}: no row in the label files of {name} has a label; download them again"
        )
    located = locate(file_index, rows, layouts)
    return Manifest(
        name=name,
        title=schema.title,
        label=schema.label,
        scale=schema.scale,
        rows=_frame(rows, located.paths),
        root=root,
        raw=schema.raw,
        better=schema.better,
        layout=located.layout,
        notes=tuple(notes),
        origin="" if path.parent == manifest_folder() else str(path.resolve()),
    )


def _path_of(label_file: LabelFile, file_index: FileIndex, schema: DatasetSchema) -> Path:
    paths = list(dict.fromkeys(path for name in label_file.file for path in file_index.files(name)))
    root = file_index.root
    if not paths:
        raise UsageError(
            f"the label file {root / label_file.file[0]} is missing.\n{_how_to_obtain(schema)}"
        )
    if len(paths) > 1:
        raise UsageError(
            f"{root} has {len(paths)} label files: {', '.join(paths)}; move all but one of them to "
            "another folder"
        )
    return root / paths[0]


def _how_to_obtain(schema: DatasetSchema) -> str:
    """Where to get a dataset and which folders it is expected in, for people."""
    lines = [f"{schema.title}: {schema.obtain.strip()}".rstrip(": "), "Expected files:"]
    lines += [f"  DIR/{label.file[0]}" for label in schema.labels]
    placeholders: dict[str, str] = {}
    for label in schema.labels:
        placeholders |= {name: f"<{name}>" for name in (*label.part_names, *label.constant)}
    for label in schema.labels:
        placeholders |= {name: f"<{column}>" for name, column in label.columns.items()}
    paths = []
    for layout in schema.layouts:
        path = without_extension(layout.videos[0].format_map(placeholders))
        paths.append(f"  DIR/{path}{layout.extension}")
    lines.append("   or\n".join(paths))
    return "\n".join([*lines, "Then give --root DIR."])


def _not_a_folder(path: Path) -> str:
    return f"{path} is not a folder" if path.exists() else f"{path} does not exist"


def _frame(rows: list[Row], paths: list[str]) -> pd.DataFrame:
    records = [
        (row.id, path, row.mos, row.mos_std, row.group, row.split)
        for row, path in zip(rows, paths, strict=True)
    ]
    return pd.DataFrame(records, columns=COLUMNS)
