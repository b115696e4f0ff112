"""Read a dataset that is one table of paths and labels, in a file of any kind that labels come in.

Such a table has no TOML that describes it. What it does not say itself, its reader may say: which
columns are meant, the range of the labels, and which end of it is better. The rest is assumed, and
noted.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from vqa_twostage.pipeline.addresses import checked, has_secret, is_address, local_path
from vqa_twostage.pipeline.datasets.axes import BETTER, PREFIX, Axis, axis_in, parse_axes
from vqa_twostage.pipeline.datasets.file_index import FileIndex, not_a_folder
from vqa_twostage.pipeline.datasets.label_files import (
    READERS,
    TEXT_KINDS,
    Table,
    first_rows,
    in_usual_case,
    read_table,
)
from vqa_twostage.pipeline.datasets.locate import located_rows
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.datasets.rows import (
    NUMBER,
    WILDCARD,
    Row,
    check_unique,
    number_of,
    numbers_of,
    read_rows,
)
from vqa_twostage.pipeline.datasets.schema import LabelFile, Layout
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.raw_format import parse_raw_format
from vqa_twostage.pipeline.remote_files import RemoteRoot, Root, files_at

KINDS = tuple(READERS)
OPTIONAL_COLUMNS = ("id", "mos_std", "group", "split")
# an exported .csv has these as well: they describe the whole dataset, so all rows agree
DATASET_COLUMNS = ["dataset", "title", "label", "lowest", "highest", "better", "raw"]
AXES_COLUMN = "axes"  # and this one where there are further labels
VALID_VALUES = {
    "dataset": r"[^./\\][^/\\]*",
    "lowest": NUMBER.pattern,
    "highest": NUMBER.pattern,
    "better": "|".join(BETTER),
}
# the columns of label files without a header, as FAST-VQA, DOVER and others publish them
WITHOUT_HEADER = ("path", "duration", "fps", "mos")
LAYOUT = Layout("", ("{path}", "{slashed}"), extension="")


@dataclass(frozen=True)
class Reading:
    """How a table is to be read; None is what it says, or else what is assumed.

    ``mos_column`` and ``path_column``: names of columns, in any letter case [mos, path]. ``scale``:
    the lowest and the highest possible label [those of the table]. ``better``: which end of the
    scale is the better quality ["higher"].

    UsageError for a scale or an end that cannot be.
    """

    mos_column: str | None = None
    path_column: str | None = None
    scale: tuple[float, float] | None = None
    better: str | None = None

    def __post_init__(self) -> None:
        if self.better is not None and self.better not in BETTER:
            raise UsageError(f"--better {self.better}: choose {' or '.join(BETTER)}")
        if self.scale is not None:
            object.__setattr__(self, "scale", _checked_scale(self.scale))

    @property
    def said(self) -> list[str]:
        """The options that were given."""
        given = (field.name for field in fields(self) if getattr(self, field.name) is not None)
        return [f"--{name.replace('_', '-')}" for name in given]


def is_table(dataset: str | Path) -> bool:
    """Whether ``dataset`` is the path of a table, by its ending."""
    return Path(dataset).suffix.lower() in KINDS


def manifest_of_table(path: Path, root: Root | None, reading: Reading) -> Manifest:
    """The manifest of the table at ``path``, whose paths are relative to ``root`` (None: to the
    folder that it is in; then they may be absolute as well). A path may also be an address.

    UsageError names the file, row and column of what is wrong.
    """
    if not path.exists():
        raise UsageError(
            f"{path} does not exist; give a table with the columns path and mos "
            f"({', '.join(KINDS)})"
        )
    folder = path.parent if root is None else root
    if isinstance(folder, Path) and not folder.is_dir():
        raise UsageError(f"--root {not_a_folder(folder)}; give the folder that contains the videos")
    label_file = _label_file(path, reading)
    table = _read(path, label_file)
    _check_addresses(table)
    exported = set(DATASET_COLUMNS) <= table.columns.keys()
    if exported:
        if reading.said:
            raise UsageError(
                f"{path} was written by vqa-data export and says everything itself; leave out "
                f"{', '.join(reading.said)}"
            )
        table = _read(path, label_file, keep_blanks=path.suffix.lower() in TEXT_KINDS)
    if "id" not in table.columns:
        label_file = replace(
            label_file,
            columns={**label_file.columns, "id": label_file.columns["path"]},
            optional=tuple(name for name in label_file.optional if name != "id"),
        )
    described = _described_axes(table) if exported else ()
    axes, notes = _axes(table, label_file, described)
    of_axes = {axis.column: column for axis, column in axes.items()}
    label_file = replace(label_file, columns=label_file.columns | of_axes)
    rows, _ = read_rows(table, label_file, strip_extension=False)
    check_unique(rows)
    if exported:
        rows = [_with_wildcards(row) for row in rows]
    rows = [_with_slashes(row) for row in _with_places(rows, folder, root is None)]
    frame, _ = located_rows(FileIndex(folder), rows, [LAYOUT], axes)
    manifest = Manifest(
        name=path.stem,
        title=path.stem,
        label=_label(table, label_file),
        scale=(float(frame["mos"].min()), float(frame["mos"].max())),
        rows=frame,
        root=_with_addresses(folder, rows, path),
        origin=str(path.resolve()),
        notes=tuple(notes),
        axes=tuple(axes),
    )
    if exported:
        return _as_exported(manifest, table, path)
    return _as_said(manifest, table, label_file, reading)


def _checked_scale(scale: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = map(float, scale)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        ends = scale if isinstance(scale, Sequence) else [scale]
        said = " ".join(f"{end:g}" if isinstance(end, float) else str(end) for end in ends)
        raise UsageError(
            f"--scale {said}: give the lowest and the highest possible label, as in --scale 1 5"
        )
    return low, high


# --- columns ---


def _label_file(path: Path, reading: Reading) -> LabelFile:
    columns = {
        "id": "id",
        "path": reading.path_column or "path",
        "mos": reading.mos_column or "mos",
        **{name: name for name in OPTIONAL_COLUMNS},
    }
    label_file = LabelFile((path.name,), columns, optional=OPTIONAL_COLUMNS)
    if path.suffix.lower() in TEXT_KINDS and not _has_header(path, label_file, reading):
        columns = {"id": "path", "path": "path", "mos": "mos"}
        return LabelFile((path.name,), columns, header=WITHOUT_HEADER)
    return label_file


def _has_header(path: Path, label_file: LabelFile, reading: Reading) -> bool:
    """Whether the first row names columns; UsageError if it does not, and the rows are of no known
    form.
    """
    wanted = [label_file.columns["path"], label_file.columns["mos"]]
    first, *others = first_rows(path, wanted, 2) or [[]]
    numbers = [_is_number(cell) for cell in first]
    if not any(numbers) or set(wanted) <= set(in_usual_case(first, wanted)):
        return True
    # columns may be called 1, 2, 3, but then that of the labels has a name and holds numbers
    for cells in others:
        pairs = zip(cells, numbers, strict=False)  # a row may be short
        if any(_is_number(cell) and not is_number for cell, is_number in pairs):
            return True
    form = ", ".join(WITHOUT_HEADER)
    if len(first) != len(WITHOUT_HEADER) or not all(numbers[1:]):
        raise UsageError(
            f"{path} has no header: its first row is {', '.join(first[:8])}. Without a header, "
            f"rows of {len(WITHOUT_HEADER)} cells are read, {form}, as FAST-VQA and DOVER publish "
            "them; add a first row that names the columns, such as path,mos"
        )
    if reading.mos_column or reading.path_column:
        raise UsageError(
            f"{path} has no header, so its columns are {form}; leave out --mos-column and "
            "--path-column, or add a first row that names the columns"
        )
    return False


def _is_number(cell: str) -> bool:
    return number_of(cell, False) is not None or number_of(cell, True) is not None


def _axes(
    table: Table, label_file: LabelFile, described: tuple[Axis, ...]
) -> tuple[dict[Axis, str], list[str]]:
    """The further labels of a table, each with its column, and notes on columns that are called
    like such labels and are none: they hold texts, or one and the same label.

    ``described``: those that an exported table describes; the scale of others is taken from their
    labels.
    """
    known = {axis.name: axis for axis in described}
    main = label_file.columns["mos"]
    columns = {
        name: column
        for column in table.columns
        if column != main and (name := axis_in(column)) is not None
    }
    if lacking := [axis.column for axis in described if axis.name not in columns]:
        raise UsageError(
            f"{table.path} lacks {', '.join(lacking)}, which its column {AXES_COLUMN} describes; "
            "use the file as vqa-data export wrote it"
        )
    axes: dict[Axis, str] = {}
    notes = []
    for name, column in columns.items():
        named = replace(label_file, columns={f"{PREFIX}{name}": column})
        try:
            labels = numbers_of(table, named, f"{PREFIX}{name}", [*range(len(table.places))])
        except UsageError as error:
            if name in known:
                raise
            notes.append(f"{column} is not read as labels of an axis {name!r}: {error}")
            continue
        low, high = min(labels.values(), default=0.0), max(labels.values(), default=0.0)
        if name in known or low < high:
            axes[known.get(name, Axis(name, (low, high)))] = column
        else:
            notes.append(f"{column} is not read as labels of an axis {name!r}: all are the same")
    return axes, notes


def _described_axes(table: Table) -> tuple[Axis, ...]:
    """Those that an exported table describes."""
    if AXES_COLUMN not in table.columns:
        return ()
    text = _value_of_all_rows(table, AXES_COLUMN)
    axes = parse_axes(text)
    if axes is None:
        raise table.error(
            0, AXES_COLUMN, f"{text!r} is not valid; use the file as vqa-data export wrote it"
        )
    return axes


def _read(path: Path, label_file: LabelFile, keep_blanks: bool = False) -> Table:
    wanted = list(dict.fromkeys(label_file.columns.values()))
    advice = (
        "Name the columns of paths and labels with --path-column NAME and --mos-column NAME, or "
        "rename them to path and mos"
    )
    return read_table(path, label_file, wanted, keep_blanks, advice)


def _check_addresses(table: Table) -> None:
    """UsageError where any cell is an address that may hold a secret, whatever is read of it."""
    for column, cells in table.columns.items():
        for place, cell in enumerate(cells):
            if "://" in cell and is_address(cell) and has_secret(cell):
                where = f"{table.path}, {table.places[place]}, column {column}"
                checked(cell, where)


def _with_places(rows: Sequence[Row], folder: Root, may_be_absolute: bool) -> list[Row]:
    """``rows`` with the `Row.elsewhere` of those whose path is an address, or of all where each is
    absolute, may be, and one is not below the folder of the table.
    """
    rows = [_with_path_of_address(row) for row in rows]
    begin = os.path.abspath(str(folder)) + os.sep
    paths = [os.path.normpath(row.names["path"]) for row in rows if not row.elsewhere]
    apart = may_be_absolute and all(map(os.path.isabs, paths))
    if not apart or all(path.startswith(begin) for path in paths):
        return rows
    return [
        row if row.elsewhere else replace(row, elsewhere=os.path.normpath(row.names["path"]))
        for row in rows
    ]


def _with_path_of_address(row: Row) -> Row:
    address = row.names["path"]
    if not is_address(address):
        return row
    local = local_path(address)
    if local is None:
        return replace(row, elsewhere=checked(address, row.place))
    return replace(row, names={**row.names, "path": str(local)})


def _with_addresses(folder: Root, rows: Sequence[Row], path: Path) -> Root:
    """``folder`` with what is listed of the addresses of ``rows``, where there are any."""
    addresses = [row.elsewhere for row in rows if is_address(row.elsewhere)]
    if isinstance(folder, RemoteRoot):
        addresses = [address for address in addresses if address not in folder.files]
    if not addresses:
        return folder
    files = files_at(addresses, str(path))
    if isinstance(folder, RemoteRoot):
        return replace(folder, files={**folder.files, **files})
    return RemoteRoot(folder, files)


def _with_slashes(row: Row) -> Row:
    """``row`` with its path as it is written elsewhere than on Windows, as a second name."""
    return replace(row, names={**row.names, "slashed": row.names["path"].replace("\\", "/")})


def _with_wildcards(row: Row) -> Row:
    """``row`` of an exported .csv, in which ``*`` stands for the unknown folder of a video that was
    missing.
    """
    path = row.names["path"].replace("*", WILDCARD)
    return replace(row, names={**row.names, "path": path})


# --- what is true of the dataset as a whole ---


def _label(table: Table, label_file: LabelFile) -> str:
    """Labels are called as their column, and MOS where that is mos."""
    column = label_file.columns["mos"]
    return "MOS" if column.casefold() == "mos" else table.spelt.get(column, column)


def _as_said(manifest: Manifest, table: Table, label_file: LabelFile, reading: Reading) -> Manifest:
    """``manifest`` with what its reader said, and what was assumed of the rest."""
    low, high = manifest.scale
    assumed = {
        "label": "",
        "scale": f"the scale is taken from the labels, {low:g} to {high:g}; --scale sets another",
        "better": "",
    }
    if "dmos" in manifest.label.casefold():
        assumed["better"] = (
            f"higher {manifest.label} is taken for the better quality; where lower is, give "
            "--better lower"
        )
    said = {"label": reading.mos_column, "scale": reading.scale, "better": reading.better}
    return replace(
        manifest,
        scale=reading.scale or manifest.scale,
        better=reading.better or manifest.better,
        notes=(*manifest.notes, *_notes(manifest, table, label_file, reading)),
        assumed={fact: note for fact, note in assumed.items() if said[fact] is None},
    )


def _notes(
    manifest: Manifest, table: Table, label_file: LabelFile, reading: Reading
) -> tuple[str, ...]:
    """What was taken of a table. A misspelt column would otherwise go unnoticed."""
    columns = label_file.columns
    known = list(dict.fromkeys([columns["path"], columns["mos"], *OPTIONAL_COLUMNS]))
    used = (*known, *label_file.header, *(columns[axis.column] for axis in manifest.axes))
    unused = [column for column in table.columns if column not in used]
    known = [table.spelt.get(column, column) for column in known]
    notes = []
    if label_file.header:
        notes.append(f"there is no header: columns are taken for {', '.join(label_file.header)}")
    if unused:
        notes.append(
            f"columns not used: {', '.join(unused)}; known columns are {', '.join(known)}, and "
            f"{PREFIX}NAME of each further label"
        )
    for axis in manifest.axes:
        low, high = axis.scale
        notes.append(
            f"{axis.column} is a further label, {low:g} to {high:g}: vqa-fuse train --axes "
            f"{axis.name}"
        )
    if "group" not in table.columns:
        notes.append("there is no column group: each video counts as a content of its own")
    low, high = reading.scale or manifest.scale
    mos = manifest.rows["mos"]
    if outside := int(((mos < low) | (mos > high)).sum()):
        notes.append(
            f"{outside} of {len(mos)} labels are not in the scale of {low:g} to {high:g}; they "
            f"reach from {mos.min():g} to {mos.max():g}"
        )
    return tuple(notes)


def _as_exported(manifest: Manifest, table: Table, path: Path) -> Manifest:
    """``manifest`` with what an exported file says of its dataset."""
    value = {column: _value_of_all_rows(table, column) for column in DATASET_COLUMNS}
    return replace(
        manifest,
        name=value["dataset"],
        title=value["title"],
        label=value["label"],
        scale=(float(value["lowest"]), float(value["highest"])),
        better=value["better"],
        raw=parse_raw_format(value["raw"], str(path)) if value["raw"] else None,
    )


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
