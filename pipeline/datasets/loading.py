"""Read a dataset: its TOML and its label files, or one table, become one `Manifest`.

A dataset is given as the name of a file in ``data_manifests/``, as the path of such a ``.toml``, or
as that of a table with the columns ``path,mos`` and optionally ``id,mos_std,group,split``, and
``mos_<axis>`` of each further label.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.pipeline.addresses import require_local
from vqa_twostage.pipeline.datasets.file_index import FileIndex, not_a_folder, without_extension
from vqa_twostage.pipeline.datasets.label_files import Table, read_table
from vqa_twostage.pipeline.datasets.locate import located_rows
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.datasets.own_table import (
    KINDS,
    VALID_VALUES,
    Reading,
    is_table,
    manifest_of_table,
)
from vqa_twostage.pipeline.datasets.rows import Row, check_unique, read_rows
from vqa_twostage.pipeline.datasets.schema import (
    DatasetSchema,
    LabelFile,
    Release,
    manifest_folder,
    names,
    read_schema,
)
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.remote_files import (
    RemoteRoot,
    Root,
    VideoFile,
    copied_to,
    root_of,
)


def load_manifest(
    dataset: str | Path,
    root: str | Path | None = None,
    name: str | None = None,
    mos_column: str | None = None,
    path_column: str | None = None,
    scale: tuple[float, float] | None = None,
    better: str | None = None,
) -> Manifest:
    """The manifest of a dataset: its rows, and where each video is expected below ``root``.

    Args:
        dataset: A name of ``data_manifests/`` (``vqa-data list`` shows them), a ``.toml`` like
            those, or a table with the columns ``path`` and ``mos`` (.csv, .tsv, .txt, .xlsx, .json,
            .jsonl, .mat), of text also one without a header whose rows are ``path, duration, fps,
            mos``. ``NAME:layout=LAYOUT`` looks for the videos in only one of the dataset's layouts.
        root: The folder of the videos and label files, or its address (``s3://bucket/folder``).
            Default: ``$VQA_DATA/NAME``; for a table the folder that it is in, and then the paths of
            the table may be absolute. In a table a path may also be an address.
        name: What caches and results call it. Default: the name of the file, without its ending.
        mos_column: The column of a table that holds the labels, in any letter case. Default:
            ``mos``. The labels are called as it is.
        path_column: The one that holds the paths. Default: ``path``.
        scale: The lowest and the highest possible label of a table. Default: those that it has.
        better: Which end of the scale of a table is better, "higher" or "lower". Default: "higher".

    Videos may be missing; `missing_files` lists them.

    Raises:
        UsageError: A file is missing or cannot be read, or a row is not unambiguous; the message
            says which, and what to do.
    """
    require_local(dataset, "the dataset", "copy the table, or the .toml; videos may stay there")
    place = None if root is None else root_of(root)
    reading = Reading(mos_column, path_column, scale, better)
    if name is not None and not re.fullmatch(VALID_VALUES["dataset"], name):
        raise UsageError(f"{name!r} cannot name a dataset: it must be the name of a folder")
    if is_table(dataset):
        manifest = manifest_of_table(Path(dataset), place, reading)
    else:
        known, _, layout = str(dataset).partition(":layout=")
        toml = toml_of(known)
        if reading.said:
            raise UsageError(
                f"{', '.join(reading.said)} would change what {toml} says of {known}; leave it "
                "out, or describe the dataset in a .toml of your own"
            )
        manifest = _from_toml(toml, place, layout)
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
            "path of a .toml like those, or of a table with the columns path and mos "
            f"({', '.join(KINDS)}){close_to(dataset, names())}"
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
    """Known releases of a dataset; none for a table."""
    if is_table(dataset):
        return ()
    name, _, _ = str(dataset).partition(":layout=")
    return read_schema(toml_of(name)).releases


def missing_files(manifest: Manifest) -> list[str]:
    """Paths of the manifest at which there is no file, in its order."""
    root = manifest.root
    assert root is not None
    if isinstance(root, RemoteRoot):
        return [path for path in manifest.rows["path"] if not (root / path).is_file()]
    return [path for path in manifest.rows["path"] if not os.path.isfile(root / path)]


# --- a .toml ---


def _from_toml(path: Path, root: Root | None, chosen_layout: str) -> Manifest:
    schema, name = read_schema(path), path.stem
    layouts = [layout for layout in schema.layouts if chosen_layout in ("", layout.name)]
    if not layouts:
        choices = ", ".join(layout.name for layout in schema.layouts)
        raise UsageError(f"{name} has no layout {chosen_layout!r}; choose from {choices}")
    if root is None and os.environ.get("VQA_DATA"):
        root = root_of(os.path.join(os.environ["VQA_DATA"], name), "VQA_DATA")
    if root is None:
        raise UsageError(
            f"the folder of {name} is unknown: --root is not given, and the environment variable "
            f"VQA_DATA is not set.\n{_how_to_obtain(schema)}"
        )
    if isinstance(root, Path) and not root.is_dir():
        raise UsageError(f"{not_a_folder(root)}.\n{_how_to_obtain(schema)}")
    file_index = FileIndex(root)
    rows: list[Row] = []
    notes: list[str] = []
    for label_file in schema.labels:
        columns = list(dict.fromkeys(label_file.columns.values()))
        table = _table_of(_path_of(label_file, file_index, schema), label_file, columns)
        rows_of_file, notes_on_file = read_rows(table, label_file)
        rows += rows_of_file
        notes += notes_on_file
    check_unique(rows)
    if not rows:
        raise UsageError(
            f"{root}: no row in the label files of {name} has a label; download them again"
        )
    frame, layout = located_rows(file_index, rows, layouts, schema.axes)
    return Manifest(
        name=name,
        title=schema.title,
        label=schema.label,
        scale=schema.scale,
        rows=frame,
        root=root,
        raw=schema.raw,
        better=schema.better,
        layout=layout,
        notes=tuple(notes),
        origin="" if path.parent == manifest_folder() else str(path.resolve()),
        axes=schema.axes,
    )


def _table_of(place: VideoFile, label_file: LabelFile, columns: list[str]) -> Table:
    """The table in a label file, which is copied where it is at an address."""
    if isinstance(place, Path):
        return read_table(place, label_file, columns)
    with tempfile.TemporaryDirectory(prefix="vqa-labels-") as folder:
        path = copied_to(place, Path(folder))
        try:
            return replace(read_table(path, label_file, columns), path=Path(place.name))
        except UsageError as error:
            raise UsageError(str(error).replace(str(path), place.address)) from None


def _path_of(label_file: LabelFile, file_index: FileIndex, schema: DatasetSchema) -> VideoFile:
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
