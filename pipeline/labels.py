"""Label files of all kinds as tables of text: .csv and its kin, .xlsx, .mat, .json.

Cells stay text until they are known to be numbers: ids keep their leading zeros and all their digits, and what is wrong
can be told by file, row and column.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import matlab
from pipeline.about import LabelFile
from pipeline.errors import UsageError, require

SEPARATORS = (",", ";", "\t", "|", " ")
LISTED = 30  # columns named in a message


@dataclass(frozen=True)
class Table:
    """``columns``: name -> cells; ``places``: what a person calls each row ("row 3", counted as their program does)."""

    path: Path
    columns: dict[str, list[str]]
    places: list[str]

    def wrong(self, row: int, column: str, what: str) -> UsageError:
        return UsageError(f"{self.path}, {self.places[row]}, column {column}: {what}")


def read_table(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    """Of a label file the columns ``wanted``, or all where its kind does not name them in advance.

    UsageError where it cannot be read, or lacks one.
    """
    reader = READERS.get(path.suffix.lower())
    require(path.is_file(), f"{path} {'is no file' if path.exists() else 'does not exist'}; give a label file")
    require(reader is not None, f"{path} is no label file that is known here; give one of {', '.join(READERS)}")
    require(path.stat().st_size > 0, f"{path} is empty; take another copy of it")
    assert reader is not None
    try:
        table = reader(path, label, wanted)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(
            f"{path} cannot be read as {path.suffix} ({reason}); it is damaged or of another kind, take another copy"
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
        require(cell.size <= 1, f"{path}, {where}: {' x '.join(map(str, cell.shape))} values stand where one is wanted")
        return as_text(path, where, cell.ravel()[0].item() if cell.size else None)
    if isinstance(cell, list) and len(cell) == 1:
        return as_text(path, where, cell[0])
    require(not isinstance(cell, list | dict), f"{path}, {where}: several values stand where one is wanted")
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


def _read_text(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    text = _decoded(path, label.encoding)
    first = next((line for line in text.splitlines() if line.strip(" ;,\t|")), "")
    require(bool(first), f"{path} is empty; take another copy of it")
    separator = label.separator or _separator(first, label.header or wanted, bool(label.header))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows, end = [], 0
    for cells in reader:
        start, end = end + 1, reader.line_num
        if any(cell.strip() for cell in cells):  # spreadsheets leave rows of separators behind
            rows.append((f"row {start}", [cell.strip() for cell in cells]))
    table = _table(path, rows, label.header)
    for column in [name for name in wanted if name in table.columns]:
        for row, cell in enumerate(table.columns[column]):
            if not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell):
                shown = cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                what = f"'{shown}' is not UTF-8; save the file in UTF-8, or give its encoding under labels in a .toml"
                raise table.wrong(row, column, what)
    return table


def _decoded(path: Path, encoding: str) -> str:
    data = path.read_bytes()
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marked = next((name for mark, name in marks.items() if data.startswith(mark)), "")
    require(bool(marked) or b"\0" not in data, f"{path} is no text, and so no {path.suffix}; take another copy of it")
    try:
        if encoding:
            return data.decode(encoding)
        # what is not UTF-8 is kept, to be told by its cell, if that is wanted at all
        return data.decode(marked or "utf-8", "surrogateescape")
    except (UnicodeDecodeError, LookupError) as error:
        raise UsageError(f"{path} cannot be read with encoding {encoding or marked}: {error}") from None


def _separator(first: str, wanted: Sequence[str], headless: bool) -> str:
    """The one by which the first line has all columns that are wanted, or else the most columns."""
    split = {mark: [cell.strip() for cell in next(csv.reader([first], delimiter=mark), [])] for mark in SEPARATORS}
    if headless:
        return next((mark for mark, cells in split.items() if len(cells) == len(wanted)), ",")
    fitting = next((mark for mark, cells in split.items() if set(wanted) <= set(cells)), None)
    return fitting or max(SEPARATORS[:-1], key=lambda mark: len(split[mark]))


def _table(path: Path, rows: list[tuple[str, list[str]]], header: Sequence[str]) -> Table:
    """Rows of cells, the first of which names the columns unless ``header`` does."""
    require(bool(rows), f"{path} is empty; take another copy of it")
    names = list(header) or rows.pop(0)[1]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    require(not twice, f"{path} has the column {', '.join(twice)} twice; rename one of them")
    for place, cells in rows:
        surplus, named = any(cells[len(names) :]), ", ".join(names[:LISTED])
        require(
            not surplus and (len(cells) >= len(names) or not header),
            f"{path}, {place} has {len(cells)} cells, and there are {len(names)} columns ({named}); a cell that holds "
            "the separator must be quoted",
        )
    columns = {name: [cells[i] if i < len(cells) else "" for _, cells in rows] for i, name in enumerate(names) if name}
    return Table(path, columns, [place for place, _ in rows])


def _read_sheet(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    import python_calamine

    with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
        sheets = book.sheet_names
        name = label.sheet or sheets[0]
        how = f"the file has {', '.join(sheets)}"
        require(name in sheets, f"{path} has no sheet {name}; {how}")
        require(bool(label.sheet) or len(sheets) == 1, f"{path}: give sheet under labels in the .toml; {how}")
        cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    rows = [(f"row {i}", [as_text(path, f"row {i}", cell) for cell in row]) for i, row in enumerate(cells, 1)]
    return _table(path, [row for row in rows if any(row[1])], label.header)


def _read_matlab(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    found = matlab.read_variables(path, sorted({name.partition(".")[0] for name in wanted}))
    columns = {}
    for name in wanted:
        value: Any = found
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            cells = [value] if isinstance(value, str) else value.ravel(order="F") if hasattr(value, "ravel") else value
            require(isinstance(cells, list | np.ndarray), f"{path}: {name} is a struct; name one of its fields")
            columns[name] = [as_text(path, f"{name}, entry {i}", cell) for i, cell in enumerate(cells, 1)]
    if len(columns) < len(wanted):
        inner = [f"{name}.{part}" for name, value in found.items() if isinstance(value, dict) for part in value]
        others = [name for name in matlab.variable_names(path) if name not in found]
        return Table(path, {**columns, **{name: [] for name in (*inner, *others)}}, ["row 1"])
    return _of_columns(path, columns)


def _read_json(path: Path, label: LabelFile, wanted: Sequence[str]) -> Table:
    text = _decoded(path, label.encoding or "utf-8-sig")
    if path.suffix.lower() == ".jsonl":
        lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
        return _of_records(path, [(f"row {i}", _parsed(path, line)) for i, line in lines])
    document = _parsed(path, text)
    if isinstance(document, dict) and len(document) == 1 and isinstance(next(iter(document.values())), list | dict):
        document = next(iter(document.values()))  # {"annotations": [...]}
    if isinstance(document, list):
        return _of_records(path, [(f"row {i}", record) for i, record in enumerate(document, 1)])
    require(isinstance(document, dict), f"{path} holds no table; give a list of objects, or an object with one a video")
    if document and all(isinstance(value, list) for value in document.values()):
        columns = {
            name: [as_text(path, f"{name}, entry {i}", cell) for i, cell in enumerate(cells, 1)]
            for name, cells in document.items()
        }
        return _of_columns(path, columns)
    records = [value if isinstance(value, dict) else {"value": value} for value in document.values()]
    both = zip(document, records, strict=True)
    return _of_records(path, [(f"row {i}", {"key": key, **rest}) for i, (key, rest) in enumerate(both, 1)])


def _parsed(path: Path, text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        # Python would keep the last of them without a word
        twice = [key for key, count in Counter(key for key, _ in items).items() if count > 1]
        require(not twice, f"{path}: the key {', '.join(twice[:5])} stands twice in one object; remove one of them")
        return dict(items)

    return json.loads(text, object_pairs_hook=pairs)


def _of_records(path: Path, records: list[tuple[str, Any]]) -> Table:
    for place, record in records:
        require(isinstance(record, dict), f"{path}, {place}: {record!r} is no object; give an object for each video")
    names = list(dict.fromkeys(name for _, record in records for name in record))
    columns = {
        # what is not wanted may be nested as it likes
        name: [_shallow(path, f"{place}, column {name}", record.get(name)) for place, record in records]
        for name in names
    }
    return Table(path, columns, [place for place, _ in records])


def _shallow(path: Path, where: str, value: Any) -> str:
    nested = isinstance(value, dict) or (isinstance(value, list) and len(value) != 1)
    return json.dumps(value) if nested else as_text(path, where, value)


def _of_columns(path: Path, columns: dict[str, list[str]]) -> Table:
    lengths = {name: len(cells) for name, cells in columns.items()}
    said = ", ".join(f"{name} has {length} entries" for name, length in lengths.items())
    require(len(set(lengths.values())) <= 1, f"{path}: {said}; they must have one for each video")
    return Table(path, columns, [f"row {i}" for i in range(1, max(lengths.values(), default=0) + 1)])


READERS: dict[str, Callable[[Path, LabelFile, Sequence[str]], Table]]
READERS = {".csv": _read_text, ".txt": _read_text, ".tsv": _read_text, ".xlsx": _read_sheet, ".mat": _read_matlab}
READERS |= {".xls": _read_sheet, ".ods": _read_sheet, ".json": _read_json, ".jsonl": _read_json}
