"""Read label files of all kinds as tables of text: .csv, .tsv and .txt, .xlsx, .mat, .json, .jsonl.

Cells stay text until they are known to be numbers, so that ids keep their leading zeros and all
their digits, and so that messages can name the file, row and column of a wrong cell.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError, close_to, require_installed

SEPARATORS = (",", ";", "\t", "|", " ")
BLANK = " ;,\t|"  # a line of only these is empty; spreadsheets leave rows of separators behind
MOST_LISTED = 30  # columns named in a message
MOST_CHARACTERS = 2**31 - 1  # of a cell: the largest limit that csv takes on all systems
TEXT_KINDS = (".csv", ".txt", ".tsv")
NEEDED = "a label file needs a header and a row for each video"
# what helps where a column is lacking
RENAME = "Rename one of them, or give their names under labels.columns in a .toml"


@dataclass(frozen=True)
class Table:
    """``columns``: name -> cells. ``places``: the name of each row in messages, as in "row 3",
    counted as spreadsheets and editors count. ``spelt``: name -> how the file spells it, where that
    is another letter case.
    """

    path: Path
    columns: dict[str, list[str]]
    places: list[str]
    spelt: dict[str, str] = field(default_factory=dict)

    def error(self, row: int, column: str, problem: str) -> UsageError:
        """The error to raise for a wrong cell."""
        column = self.spelt.get(column, column)
        return UsageError(f"{self.path}, {self.places[row]}, column {column}: {problem}")


def read_table(
    path: Path,
    label_file: LabelFile,
    wanted: Sequence[str],
    keep_blanks: bool = False,
    advice: str = RENAME,
) -> Table:
    """The columns ``wanted`` of a label file, and the others too if its kind names them anyway.
    Columns that differ from a wanted one by letter case alone get its name.

    ``keep_blanks``: blanks around a cell belong to it, as in an exported manifest, which is text.
    UsageError if the file cannot be read or lacks a column that is not optional; ``advice`` ends
    its message.
    """
    reader = READERS.get(path.suffix.lower())
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}; give the path of a label file")
    if reader is None:
        raise UsageError(
            f"{path} is not a label file of a known kind; give one of {', '.join(READERS)}"
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty; {NEEDED}")
    try:
        if keep_blanks:
            table = _read_text(path, label_file, wanted, keep_blanks=True)
        else:
            table = reader(path, label_file, wanted)
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(
            f"{path} cannot be read as {path.suffix} ({reason}); it is damaged or of another kind: "
            "replace it by an intact copy"
        ) from None
    lacking = [column for column in _required(label_file, wanted) if column not in table.columns]
    if lacking:
        columns = [table.spelt.get(name, name) for name in table.columns]
        raise UsageError(_message_on_lacking(path, lacking, columns, advice))
    if not table.places:
        raise UsageError(f"{path} has a header but no rows; {NEEDED}")
    return table


def _required(label_file: LabelFile, wanted: Sequence[str]) -> list[str]:
    """The columns of ``wanted`` that the file must have."""
    columns = label_file.columns
    required = {columns[name] for name in columns if name not in label_file.optional}
    optional = {columns[name] for name in label_file.optional} - required
    return [column for column in wanted if column not in optional]


def _message_on_lacking(path: Path, lacking: list[str], columns: list[str], advice: str) -> str:
    in_first_row = " in its first row" if path.suffix.lower() in TEXT_KINDS else ""
    message = f"{path} has no column {', '.join(lacking)}; the columns{in_first_row} are "
    message += f"{_listed(columns)}."
    for name in lacking:
        alike = [column for column in columns if column.casefold() == name.casefold()]
        if alike:  # several, or one of them would have been taken
            return f"{message} {' and '.join(alike)} differ by letter case alone. {advice}"
    return f"{message} {advice}"


def as_text(path: Path, where: str, cell: Any) -> str:
    """A typed cell as the text that a .csv would have; whole numbers have no decimal point.

    ``where`` is the place of the cell in the file, for messages.
    """
    if cell is None:
        return ""
    if isinstance(cell, np.ndarray):
        if cell.size > 1:
            shape = " x ".join(map(str, cell.shape))
            raise UsageError(f"{path}, {where}: there are {shape} values; give one for each video")
        return as_text(path, where, cell.ravel()[0].item() if cell.size else None)
    if isinstance(cell, list) and len(cell) == 1:
        return as_text(path, where, cell[0])
    if isinstance(cell, list | dict):
        raise UsageError(f"{path}, {where}: there are several values; give one for each video")
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


# --- text ---

_limit_lock = threading.Lock()
_limits_to_restore: list[int] = []


@contextmanager
def long_cells() -> Iterator[None]:
    """Lets `csv` read cells of more than 131072 characters while the block runs.

    The limit belongs to the whole process, and to other programs that use this library, so it is
    restored. Blocks of several threads may overlap in any order: each adds the limit that it found,
    and the last one to end restores the first of them. Code outside this module can only notice
    that its own limit is larger for a moment.
    """
    with _limit_lock:
        _limits_to_restore.append(csv.field_size_limit(MOST_CHARACTERS))
    try:
        yield
    finally:
        with _limit_lock:
            limit = _limits_to_restore.pop()
            if not _limits_to_restore:
                csv.field_size_limit(limit)


def _read_text(
    path: Path, label_file: LabelFile, wanted: Sequence[str], keep_blanks: bool = False
) -> Table:
    text = _decode(path, label_file.encoding)
    declaration = re.match(r"sep=(.)\r?\n", text)  # Excel writes this line, and reads it
    lines = text[declaration.end() if declaration else 0 :].splitlines()
    first_line = next((line for line in lines if line.strip(BLANK)), "")
    if not first_line:
        raise UsageError(f"{path} is empty; {NEEDED}")
    with long_cells():
        if label_file.separator:
            separator = label_file.separator
        elif declaration:
            separator = declaration[1]
        elif label_file.header:
            separator = _separator_without_header(path, first_line, len(label_file.header))
        else:
            separator = _separator_of_header(first_line, _required(label_file, wanted))
        rows = _split_rows(path, text, separator, keep_blanks)
    return _table(path, rows[1:] if declaration else rows, label_file.header, wanted)


def first_rows(path: Path, wanted: Sequence[str], most: int) -> list[list[str]]:
    """Cells of the first rows of a text file, its header among them; none where it cannot be read,
    which `read_table` reports.
    """
    try:
        text = _decode(path, "")
    except OSError:
        return []
    declaration = re.match(r"sep=(.)\r?\n", text)
    lines = text[declaration.end() if declaration else 0 :].splitlines()
    lines = [line for line in lines if line.strip(BLANK)][:most]
    if not lines:
        return []
    with long_cells():
        separator = declaration[1] if declaration else _separator_of_header(lines[0], wanted)
        rows = [_split_line(line, separator) for line in lines]
        # blanks separate where nothing else does
        return rows if len(rows[0]) > 1 else [_split_line(line, " ") for line in lines]


def _split_rows(
    path: Path, text: str, separator: str, keep_blanks: bool
) -> list[tuple[str, list[str]]]:
    """Place and cells of each row that is not empty."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        skipinitialspace=not keep_blanks,
        strict=True,
    )
    rows, last_line = [], 0
    try:
        for cells in reader:
            first_line, last_line = last_line + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                if not keep_blanks:
                    cells = [cell.strip() for cell in cells]
                rows.append((f"row {first_line}", cells))
    except csv.Error as error:
        raise UsageError(
            f"{path}, row {last_line + 1}: {error}; is a quotation mark not closed?"
        ) from None
    return rows


def _decode(path: Path, encoding: str) -> str:
    """The text of a file without its byte order mark.

    Without an encoding, bytes that are not UTF-8 are kept as surrogates: they matter only if their
    cell is used, and then the message can name it.
    """
    data = path.read_bytes()
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    marked = next((name for mark, name in marks.items() if data.startswith(mark)), "")
    if not encoding and not marked and b"\0" in data:
        raise UsageError(
            f"{path} is not text, as a {path.suffix} must be; replace it by an intact copy"
        )
    try:
        if encoding:
            text = data.decode(encoding)
        else:
            text = data.decode(marked or "utf-8", "surrogateescape")
    except (UnicodeDecodeError, LookupError) as error:
        raise UsageError(
            f"{path} cannot be read with encoding {encoding or marked}: {error}"
        ) from None
    return text.removeprefix("\ufeff")


def _separator_of_header(line: str, wanted: Sequence[str]) -> str:
    """The separator that gives a header all columns that are wanted, or else the most columns."""
    for separator in SEPARATORS:
        if wanted and set(wanted) <= set(in_usual_case(_split_line(line, separator), wanted)):
            return separator
    return _separator_of_most_cells(line)


def _separator_without_header(path: Path, line: str, columns: int) -> str:
    """The separator that splits the first row into as many cells as there are columns."""
    fitting = []
    for separator in SEPARATORS:
        cells = _split_line(line, separator)
        # "a.mp4, 1, 2" is not a row of three cells that are separated by blanks
        if len(cells) == columns and not any(cell.endswith((",", ";", "|")) for cell in cells):
            fitting.append(separator)
    # a comma may be a decimal mark, and a blank may be in a name: the others are more certain
    fitting = [separator for separator in fitting if separator not in ", "] or fitting
    if len(fitting) > 1:
        choices = " or ".join(map(repr, fitting))
        raise UsageError(
            f"{path}: the separator could be {choices}; give it as separator under labels in the "
            ".toml"
        )
    return fitting[0] if fitting else _separator_of_most_cells(line)


def _separator_of_most_cells(line: str) -> str:
    return max(SEPARATORS[:-1], key=lambda separator: len(_split_line(line, separator)))


def _split_line(line: str, separator: str) -> list[str]:
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    if separator == " ":
        return [cell for cell in cells if cell]
    return [cell.strip() for cell in cells]


def _table(
    path: Path, rows: list[tuple[str, list[str]]], header: Sequence[str], wanted: Sequence[str]
) -> Table:
    """Rows of cells, the first of which names the columns unless ``header`` does."""
    if not rows:
        raise UsageError(f"{path} is empty; {NEEDED}")
    first = list(header) or rows.pop(0)[1]
    names = in_usual_case(first, wanted)
    repeated = sorted({name for name in wanted if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"{path} has the column {', '.join(repeated)} twice; rename or remove one of them"
        )
    for place, cells in rows:
        too_many = any(cells[len(names) :])
        too_few = len(cells) < len(names) and bool(header)
        if too_many or too_few:
            raise UsageError(
                f"{path}, {place} has {len(cells)} cells, but there are {len(names)} columns "
                f"({_listed(names)}); put a cell that contains the separator in quotation marks"
            )
    columns = {
        name: [cells[i] if i < len(cells) else "" for _, cells in rows]
        for i, name in enumerate(names)
        if name
    }
    return Table(path, columns, [place for place, _ in rows], _respelt(names, first))


def _respelt(names: Sequence[str], in_file: Sequence[str]) -> dict[str, str]:
    """Those of ``names`` that are spelt in another way ``in_file``."""
    return {
        name: spelt for name, spelt in zip(names, in_file, strict=True) if name and name != spelt
    }


def in_usual_case(names: Sequence[str], usual: Sequence[str]) -> list[str]:
    """``names``, of which those that differ from a ``usual`` one by letter case alone are spelt
    like it. Where two do, or one is spelt so already, none is changed.
    """
    spelt = {name.casefold(): name for name in usual if name not in names}
    folded = [name.casefold() for name in names]
    return [
        spelt.get(fold, name) if folded.count(fold) == 1 else name
        for name, fold in zip(names, folded, strict=True)
    ]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    listed = ", ".join(names[:MOST_LISTED]) + (", …" if len(names) > MOST_LISTED else "")
    return listed.encode("utf-8", "backslashreplace").decode()  # names may contain surrogates


# --- spreadsheets ---


def _read_sheet(path: Path, label_file: LabelFile, wanted: Sequence[str]) -> Table:
    require_installed(f"reading {path}", ["openpyxl"], "xlsx")
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
    try:
        sheets = book.sheetnames
        name = label_file.sheet or sheets[0]
        if name not in sheets:
            raise UsageError(
                f"{path} has no sheet {name}; choose from {', '.join(sheets)}"
                f"{close_to(name, sheets)}"
            )
        if not label_file.sheet and len(sheets) > 1:
            raise UsageError(
                f"{path} has several sheets; give one of them as sheet under labels in the .toml: "
                f"{', '.join(sheets)}"
            )
        sheet = book[name]
        if not hasattr(sheet, "reset_dimensions"):  # a chart
            raise UsageError(f"{path}: the sheet {name} has no cells; choose another sheet")
        sheet.reset_dimensions()  # the size that the file declares may be wrong
        rows = []
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if any(cell is not None for cell in cells):
                place = f"row {number}"
                rows.append((place, [as_text(path, place, cell) for cell in cells]))
    finally:
        book.close()
    return _table(path, rows, label_file.header, wanted)


# --- MATLAB ---


def _read_matlab(path: Path, label_file: LabelFile, wanted: Sequence[str]) -> Table:
    """A column is a variable, or a field of one, as in ``info.names``."""
    # scipy takes longer to import than the rest of this program, and no other kind needs it
    from vqa_twostage.pipeline.datasets.matlab import read_variables, variable_names

    variables = read_variables(path, sorted({name.partition(".")[0] for name in wanted}))
    columns = _matlab_columns(path, variables, wanted)
    others: list[str] = []
    if len(columns) < len(set(wanted)):
        others = [name for name in variable_names(path) if name not in variables]
        usual = in_usual_case([*variables, *others], [name.partition(".")[0] for name in wanted])
        spelt = dict(zip(others, usual[len(variables) :], strict=True))
        respelt = {name: known for name, known in spelt.items() if name != known}
        read = read_variables(path, sorted(respelt)) if respelt else {}
        variables |= {respelt[name]: value for name, value in read.items()}
        columns = _matlab_columns(path, variables, wanted)
    if set(_required(label_file, wanted)) <= columns.keys():
        return _table_of_columns(path, columns)
    return _table_lacking_columns(path, columns, [*_field_names(variables), *others])


def _matlab_columns(
    path: Path, variables: dict[str, Any], wanted: Sequence[str]
) -> dict[str, list[str]]:
    """Those of ``wanted`` that the variables have."""
    columns = {}
    for name in wanted:
        value: Any = variables
        for part in name.split("."):
            value = _field(value, part)
        if value is not None:
            columns[name] = _texts(path, name, _entries(path, name, value))
    return columns


def _entries(path: Path, name: str, value: Any) -> Iterable[Any]:
    """The entries of a MATLAB value, one for each video."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, np.ndarray):
        return value.ravel(order="F")
    if isinstance(value, list):
        return value
    raise UsageError(f"{path}: {name} is a struct; name one of its fields, as in {name}.FIELD")


def _field(value: Any, name: str) -> Any:
    """A field of a struct, or of each struct in an array of them, in any letter case; None if it
    has no such field.
    """
    if _is_struct_array(value):
        fields = [_field(entry, name) for entry in value]
        return None if any(field is None for field in fields) else fields
    if not isinstance(value, dict):
        return None
    names = in_usual_case([*value], [name])
    return value[[*value][names.index(name)]] if name in names else None


def _field_names(variables: dict[str, Any]) -> list[str]:
    names = []
    for name, value in variables.items():
        struct = value[0] if _is_struct_array(value) else value
        if isinstance(struct, dict):
            names += [f"{name}.{field}" for field in struct]
    return names


def _is_struct_array(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(entry, dict) for entry in value)


# --- JSON ---


def _read_json(path: Path, label_file: LabelFile, wanted: Sequence[str]) -> Table:
    text = _decode(path, label_file.encoding)
    if path.suffix.lower() == ".jsonl":
        lines = enumerate(text.split("\n"), 1)
        numbered = [(f"row {number}", line) for number, line in lines if line.strip()]
        records = [(place, _parse_json(f"{path}, {place}", line)) for place, line in numbered]
        return _table_of_records(path, records, wanted)
    document = _unwrap(_parse_json(str(path), text))
    if isinstance(document, list):
        records = [(f"row {number}", record) for number, record in enumerate(document, 1)]
        return _table_of_records(path, records, wanted)
    if not isinstance(document, dict):
        raise UsageError(
            f"{path} does not contain a table; give a list with an object for each video, or an "
            "object with a key for each video"
        )
    if document and all(isinstance(value, list) for value in document.values()):
        return _table_of_lists(path, document, label_file, wanted)
    return _table_of_keyed_records(path, document, wanted)


def _unwrap(document: Any) -> Any:
    """``{"annotations": […]}`` -> ``[…]``: the value of a single key, if it can be a table."""
    if not isinstance(document, dict) or len(document) != 1:
        return document
    (inner,) = document.values()
    if isinstance(inner, dict):
        entries = list(inner.values())
    elif isinstance(inner, list):
        entries = inner
    else:
        return document
    return inner if all(isinstance(entry, dict | list) for entry in entries) else document


def _parse_json(where: str, text: str) -> Any:
    def without_repeated_keys(items: list[tuple[str, Any]]) -> dict[str, Any]:
        # Python would silently keep the last of them
        repeated = [key for key, count in Counter(key for key, _ in items).items() if count > 1]
        if repeated:
            raise UsageError(
                f"{where}: an object has the key {', '.join(repeated[:5])} twice; remove one of "
                "them"
            )
        return dict(items)

    try:
        # numbers stay text, so that ids keep all their digits
        return json.loads(
            text,
            object_pairs_hook=without_repeated_keys,
            parse_float=str,
            parse_int=str,
            parse_constant=str,
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error}") from None


def _table_of_records(path: Path, records: list[tuple[str, Any]], wanted: Sequence[str]) -> Table:
    """``records``: place and object of each row."""
    for place, record in records:
        if not isinstance(record, dict):
            raise UsageError(
                f"{path}, {place}: {record!r} is not an object; give an object for each video"
            )
    names = [*dict.fromkeys(name for _, record in records for name in record)]
    columns: dict[str, list[str]] = {}
    usual_names = in_usual_case(names, wanted)
    for name, usual in zip(names, usual_names, strict=True):
        columns[usual] = [
            _json_text(path, f"{place}, column {name}", record.get(name))
            for place, record in (records if usual in wanted else ())
        ]
    return Table(path, columns, [place for place, _ in records], _respelt(usual_names, names))


def _table_of_lists(
    path: Path, lists: dict[str, list[Any]], label_file: LabelFile, wanted: Sequence[str]
) -> Table:
    """``{"name": […], "mos": […]}``: a list for each column."""
    names = in_usual_case([*lists], wanted)
    columns = {
        usual: _texts(path, name, lists[name])
        for usual, name in zip(names, lists, strict=True)
        if usual in wanted
    }
    if not set(_required(label_file, wanted)) <= columns.keys():
        return _table_lacking_columns(path, columns, [*lists])
    # where no column is wanted, the file has a row for each entry all the same
    places = _table_of_columns(path, columns or {names[0]: [""] * len(lists[names[0]])}).places
    return Table(
        path, {name: columns.get(name, []) for name in names}, places, _respelt(names, [*lists])
    )


def _table_of_keyed_records(path: Path, document: dict[str, Any], wanted: Sequence[str]) -> Table:
    """``{"a.mp4": {"mos": 3}}`` or ``{"a.mp4": 3}``: the key is the column ``key``, and a value
    that is not an object is the column ``value``.
    """
    records = []
    for number, (key, value) in enumerate(document.items(), 1):
        fields = value if isinstance(value, dict) else {"value": value}
        records.append((f"row {number}", {**fields, "key": key}))
    return _table_of_records(path, records, wanted)


def _json_text(path: Path, where: str, value: Any) -> str:
    is_nested = isinstance(value, dict) or (isinstance(value, list) and len(value) != 1)
    return json.dumps(value) if is_nested else as_text(path, where, value)


# --- tables from columns ---


def _texts(path: Path, name: str, cells: Iterable[Any]) -> list[str]:
    return [as_text(path, f"{name}, entry {number}", cell) for number, cell in enumerate(cells, 1)]


def _table_of_columns(path: Path, columns: dict[str, list[str]]) -> Table:
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length} entries" for name, length in lengths.items())
        raise UsageError(f"{path}: {listed}; each must have one entry for each video")
    count = max(lengths.values(), default=0)
    return Table(path, columns, [f"row {number}" for number in range(1, count + 1)])


def _table_lacking_columns(
    path: Path, columns: dict[str, list[str]], others: Sequence[str]
) -> Table:
    """A table that `read_table` refuses with the names of the columns that the file does have."""
    return Table(path, {**columns, **{name: [] for name in others if name not in columns}}, [""])


READERS: dict[str, Callable[[Path, LabelFile, Sequence[str]], Table]] = {
    **dict.fromkeys(TEXT_KINDS, _read_text),
    ".xlsx": _read_sheet,
    ".mat": _read_matlab,
    ".json": _read_json,
    ".jsonl": _read_json,
}
