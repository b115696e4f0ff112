"""Label files of all kinds as tables of text: .csv and its kin, .xlsx, .mat, .json.

Cells stay text until they are known to be numbers: ids keep their leading zeros and all their
digits, and what is wrong can be told by file, row and column.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.pipeline.datasets.matlab import read_variables, variable_names
from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError, require

SEPARATORS = (",", ";", "\t", "|", " ")
LISTED = 30  # columns named in a message


@dataclass(frozen=True)
class Table:
    """``columns``: name -> cells; ``places``: what a person calls each row ("row 3", counted as
    their program does).
    """

    path: Path
    columns: dict[str, list[str]]
    places: list[str]

    def error(self, row: int, column: str, what: str) -> UsageError:
        return UsageError(f"{self.path}, {self.places[row]}, column {column}: {what}")


def read_table(path: Path, label: LabelFile, wanted: Sequence[str], as_is: bool = False) -> Table:
    """Of a label file the columns ``wanted``, or all where its kind does not name them in advance.

    ``as_is``: blanks around the cells of a text are a part of them, as in a manifest that was
    exported. UsageError where it cannot be read, or lacks one.
    """
    reader = READERS.get(path.suffix.lower())
    require(
        path.is_file(),
        f"{path} {'is no file' if path.exists() else 'does not exist'}; give a label file",
    )
    require(
        reader is not None,
        f"{path} is no label file that is known here; give one of {', '.join(READERS)}",
    )
    require(path.stat().st_size > 0, f"{path} is empty; take another copy of it")
    assert reader is not None
    try:
        table = _read_text(path, label, wanted, as_is) if as_is else reader(path, label, wanted)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(
            f"{path} cannot be read as {path.suffix} ({reason}); it is damaged or of another kind, "
            "take another copy"
        ) from None
    lacking = [column for column in wanted if column not in table.columns]
    named = ", ".join(list(table.columns)[:LISTED]) + (", …" if len(table.columns) > LISTED else "")
    named = named.encode("utf-8", "backslashreplace").decode()  # bytes that are no UTF-8
    require(not lacking, f"{path} has no column {', '.join(lacking)}; it has {named}")
    require(bool(table.places), f"{path} has a header and no rows; take another copy of it")
    return table


def as_text(path: Path, where: str, cell: Any) -> str:
    """A typed cell as the text a .csv would have; whole numbers without a point."""
    if cell is None:
        return ""
    if isinstance(cell, np.ndarray):
        require(
            cell.size <= 1,
            f"{path}, {where}: {' x '.join(map(str, cell.shape))} values stand where one is wanted",
        )
        return as_text(path, where, cell.ravel()[0].item() if cell.size else None)
    if isinstance(cell, list) and len(cell) == 1:
        return as_text(path, where, cell[0])
    require(
        not isinstance(cell, list | dict),
        f"{path}, {where}: several values stand where one is wanted",
    )
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


def _read_text(path: Path, label: LabelFile, wanted: Sequence[str], as_is: bool = False) -> Table:
    text = _decoded(path, label.encoding)
    told = re.match(r"sep=(.)\r?\n", text)  # what Excel writes, and reads
    first = next(
        (line for line in text[told.end() if told else 0 :].splitlines() if line.strip(" ;,\t|")),
        "",
    )
    require(bool(first), f"{path} is empty; take another copy of it")
    separator = label.separator or (
        told[1] if told else _separator(path, first, label.header or wanted, label.header)
    )
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=not as_is, strict=True
    )
    rows, end = [], 0
    try:
        for cells in reader:
            start, end = end + 1, reader.line_num
            if any(cell.strip() for cell in cells):  # spreadsheets leave rows of separators behind
                rows.append((f"row {start}", cells if as_is else [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise UsageError(f"{path}, row {end + 1}: {error}; is a quote not closed there?") from None
    return _table(path, rows[1:] if told else rows, label.header, wanted)


def _decoded(path: Path, encoding: str) -> str:
    data = path.read_bytes()
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    known = encoding or next((name for mark, name in marks.items() if data.startswith(mark)), "")
    require(
        bool(known) or b"\0" not in data,
        f"{path} is no text, and so no {path.suffix}; take another copy of it",
    )
    try:
        # what is not UTF-8 is kept, to be told by its cell, if that is wanted at all
        text = (
            data.decode(encoding) if encoding else data.decode(known or "utf-8", "surrogateescape")
        )
    except (UnicodeDecodeError, LookupError) as error:
        raise UsageError(f"{path} cannot be read with encoding {known}: {error}") from None
    return text.removeprefix("\ufeff")


def _separator(path: Path, first: str, wanted: Sequence[str], header: Sequence[str]) -> str:
    """The one by which the first line has all columns that are wanted, or else the most columns."""
    split = {mark: _cells(first, mark) for mark in SEPARATORS}
    if not header:
        fitting = next((mark for mark, cells in split.items() if set(wanted) <= set(cells)), None)
        return fitting or max(SEPARATORS[:-1], key=lambda mark: len(split[mark]))
    # "a.mp4, 1, 2" is no row of cells that end in commas
    tidy = {
        mark: cells
        for mark, cells in split.items()
        if not any(cell.endswith((",", ";", "|")) for cell in cells)
    }
    fits = [mark for mark, cells in tidy.items() if len(cells) == len(header)]
    fits = [
        mark for mark in fits if mark not in ", "
    ] or fits  # a comma may be a decimal mark, a space be in a name
    said = " or ".join(map(repr, fits))
    require(
        len(fits) < 2,
        f"{path}: the separator may be {said}; give it as separator under labels in the .toml",
    )
    return fits[0] if fits else max(SEPARATORS[:-1], key=lambda mark: len(split[mark]))


def _cells(line: str, mark: str) -> list[str]:
    cells = next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
    return [cell.strip() for cell in cells] if mark != " " else [cell for cell in cells if cell]


def _table(
    path: Path, rows: list[tuple[str, list[str]]], header: Sequence[str], wanted: Sequence[str]
) -> Table:
    """Rows of cells, the first of which names the columns unless ``header`` does."""
    require(bool(rows), f"{path} is empty; take another copy of it")
    names = list(header) or rows.pop(0)[1]
    twice = sorted({name for name in wanted if names.count(name) > 1})
    require(not twice, f"{path} has the column {', '.join(twice)} twice; rename one of them")
    for place, cells in rows:
        surplus, named = any(cells[len(names) :]), ", ".join(names[:LISTED])
        require(
            not surplus and (len(cells) >= len(names) or not header),
            f"{path}, {place} has {len(cells)} cells, and there are {len(names)} columns "
            f"({named}); a cell that holds "
            "the separator must be quoted",
        )
    columns = {
        name: [cells[i] if i < len(cells) else "" for _, cells in rows]
        for i, name in enumerate(names)
        if name
    }
    return Table(path, columns, [place for place, _ in rows])


def _read_sheet(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    try:
        sheets = book.sheetnames
        name = label.sheet or sheets[0]
        how = f"the file has {', '.join(sheets)}"
        require(name in sheets, f"{path} has no sheet {name}; {how}")
        require(
            bool(label.sheet) or len(sheets) == 1,
            f"{path}: give sheet under labels in the .toml; {how}",
        )
        sheet = book[name]
        require(hasattr(sheet, "reset_dimensions"), f"{path}: the sheet {name} holds no cells")
        sheet.reset_dimensions()  # what the file says of its size is not believed
        rows = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if any(cell is not None for cell in cells):
                rows.append(
                    (f"row {number}", [as_text(path, f"row {number}", cell) for cell in cells])
                )
    finally:
        book.close()
    return _table(path, rows, label.header, wanted)


def _read_matlab(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    found = read_variables(path, sorted({name.partition(".")[0] for name in wanted}))
    columns = {}
    for name in wanted:
        value: Any = found
        for part in name.split("."):
            value = _field(value, part)
        if value is not None:
            cells = (
                [value]
                if isinstance(value, str)
                else value.ravel(order="F")
                if hasattr(value, "ravel")
                else value
            )
            require(
                isinstance(cells, list | np.ndarray),
                f"{path}: {name} is a struct; name one of its fields",
            )
            columns[name] = [
                as_text(path, f"{name}, entry {i}", cell) for i, cell in enumerate(cells, 1)
            ]
    if len(columns) < len(wanted):
        structs = {name: value[0] if _structs(value) else value for name, value in found.items()}
        inner = [
            f"{name}.{part}"
            for name, value in structs.items()
            if isinstance(value, dict)
            for part in value
        ]
        others = [name for name in variable_names(path) if name not in found]
        return Table(path, {**columns, **{name: [] for name in (*inner, *others)}}, ["row 1"])
    return _of_columns(path, columns)


def _structs(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)
    )


def _field(value: Any, name: str) -> Any:
    """Of a struct, or of each of several; None where there is none."""
    if _structs(value):
        return [entry[name] for entry in value] if all(name in entry for entry in value) else None
    return value.get(name) if isinstance(value, dict) else None


def _read_json(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    text = _decoded(path, label.encoding)
    if path.suffix.lower() == ".jsonl":
        lines = [(f"row {i}", line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        return _of_records(
            path, [(place, _parsed(f"{path}, {place}", line)) for place, line in lines], wanted
        )
    document = _parsed(str(path), text)
    if isinstance(document, dict) and len(document) == 1:
        inner = next(iter(document.values()))  # {"annotations": [...]}
        held = (
            inner.values()
            if isinstance(inner, dict)
            else inner
            if isinstance(inner, list)
            else [None]
        )
        document = inner if all(isinstance(item, dict | list) for item in held) else document
    if isinstance(document, list):
        return _of_records(
            path, [(f"row {i}", record) for i, record in enumerate(document, 1)], wanted
        )
    require(
        isinstance(document, dict),
        f"{path} holds no table; give a list of objects, or an object with one a video",
    )
    if document and all(isinstance(value, list) for value in document.values()):
        columns = {
            name: [as_text(path, f"{name}, entry {i}", cell) for i, cell in enumerate(cells, 1)]
            for name, cells in document.items()
            if name in wanted
        }
        lacking: dict[str, list[str]] = {
            name: [] for name in document if len(columns) < len(wanted) and name not in columns
        }
        return (
            Table(path, {**columns, **lacking}, ["row 1"])
            if lacking
            else _of_columns(path, columns)
        )
    records = [
        value if isinstance(value, dict) else {"value": value} for value in document.values()
    ]
    both = enumerate(zip(document, records, strict=True), 1)
    return _of_records(
        path, [(f"row {i}", {**rest, "key": key}) for i, (key, rest) in both], wanted
    )


def _parsed(where: str, text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        # Python would keep the last of them without a word
        twice = [key for key, count in Counter(key for key, _ in items).items() if count > 1]
        require(
            not twice,
            f"{where}: the key {', '.join(twice[:5])} stands twice in one object; remove one of "
            "them",
        )
        return dict(items)

    try:
        # numbers stay the text they are: ids keep their digits
        return json.loads(
            text, object_pairs_hook=pairs, parse_float=str, parse_int=str, parse_constant=str
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from None


def _of_records(path: Path, records: list[tuple[str, Any]], wanted: Sequence[str]) -> Table:
    for place, record in records:
        require(
            isinstance(record, dict),
            f"{path}, {place}: {record!r} is no object; give an object for each video",
        )
    named = dict.fromkeys(name for _, record in records for name in record)
    columns: dict[str, list[str]] = {name: [] for name in named}
    for name in set(wanted) & named.keys():
        columns[name] = [
            _shallow(path, f"{place}, column {name}", record.get(name)) for place, record in records
        ]
    return Table(path, columns, [place for place, _ in records])


def _shallow(path: Path, where: str, value: Any) -> str:
    nested = isinstance(value, dict) or (isinstance(value, list) and len(value) != 1)
    return json.dumps(value) if nested else as_text(path, where, value)


def _of_columns(path: Path, columns: dict[str, list[str]]) -> Table:
    lengths = {name: len(cells) for name, cells in columns.items()}
    said = ", ".join(f"{name} has {length} entries" for name, length in lengths.items())
    require(len(set(lengths.values())) <= 1, f"{path}: {said}; they must have one for each video")
    return Table(
        path, columns, [f"row {i}" for i in range(1, max(lengths.values(), default=0) + 1)]
    )


READERS: dict[str, Callable[[Path, LabelFile, Sequence[str]], Table]]
READERS = {
    ".csv": _read_text,
    ".txt": _read_text,
    ".tsv": _read_text,
    ".xlsx": _read_sheet,
    ".mat": _read_matlab,
}
READERS |= {".json": _read_json, ".jsonl": _read_json}
