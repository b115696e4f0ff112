"""Turn a label table into rows of a manifest: ids, labels, groups and splits, each of them
checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from vqa_twostage.pipeline.datasets.axes import axis_in
from vqa_twostage.pipeline.datasets.file_index import without_extension
from vqa_twostage.pipeline.datasets.label_files import Table
from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# what spreadsheets make of a long id: 8.53692E+09
ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+?\d+")

# the value of a name that a row does not define: no text in a file is equal to it
WILDCARD = "\0"
# how tables write that a number is missing, in lower case
MISSING_NUMBERS = ("", "nan", "na", "n/a", "none", "null")


@dataclass(frozen=True)
class Row:
    """One video of a label file. ``names``: everything that layouts may refer to. ``place``: where
    the row is, for messages. ``axes``: its further labels by their columns, NaN where one is
    missing. ``elsewhere``: its file, an address or an absolute path, where that is not looked for
    below the root; else "".
    """

    id: str
    mos: float
    mos_std: float
    group: str
    split: str
    names: dict[str, str]
    place: str
    axes: dict[str, float] = field(default_factory=dict)
    elsewhere: str = ""


def read_rows(
    table: Table, label_file: LabelFile, strip_extension: bool = True
) -> tuple[list[Row], list[str]]:
    """The rows of ``table``, and notes on rows that were left out and on optional columns that it
    lacks.

    ``strip_extension``: an id does not include the extension of the video. UsageError names the
    file, row and column of a wrong value.
    """
    lacking = {
        name: label_file.columns[name]
        for name in label_file.optional
        if label_file.columns[name] not in table.columns
    }
    label_file = _without(label_file, lacking)
    _check_cells(table, label_file)
    mos_cells = table.columns[label_file.columns["mos"]]
    indices = list(range(len(table.places)))
    if label_file.without_mos == "leave out":
        indices = [i for i in indices if mos_cells[i].lower() not in MISSING_NUMBERS]
    mos = numbers_of(table, label_file, "mos", indices)
    mos_std = numbers_of(table, label_file, "mos_std", indices)
    axes = {
        name: numbers_of(table, label_file, name, indices)
        for name in label_file.columns
        if axis_in(name) is not None
    }
    rows = []
    for i in indices:
        names = _names_of_row(table, label_file, i)
        video_id = without_extension(names["id"]).strip() if strip_extension else names["id"]
        row = Row(
            id=video_id,
            mos=mos[i],
            mos_std=mos_std.get(i, math.nan),
            group=_defined(names, "group") or video_id,
            split=_defined(names, "split"),
            names=names,
            place=f"{table.path}, {table.places[i]}",
            axes={name: labels.get(i, math.nan) for name, labels in axes.items()},
        )
        rows.append(row)
    notes = [
        f"{table.path.name} has no column {column}: {name} of its {len(rows)} videos is unknown"
        for name, column in lacking.items()
    ]
    if len(rows) < len(table.places):
        notes.append(
            f"rows of {table.path.name} without {label_file.columns['mos']}, left out: "
            f"{len(table.places) - len(rows)}"
        )
    return rows, notes


def _without(label_file: LabelFile, lacking: Collection[str]) -> LabelFile:
    """``label_file`` without the columns that a table lacks, and what is said of their values."""
    columns = {name: column for name, column in label_file.columns.items() if name not in lacking}
    values = {name: table for name, table in label_file.values.items() if name not in lacking}
    return replace(label_file, columns=columns, values=values, optional=())


def is_printable(text: str) -> bool:
    """Whether ``text`` can be written to a line of a UTF-8 file: it has no control characters and
    no surrogates.
    """
    return text.isprintable() or not (
        _has_surrogates(text) or any(character < " " for character in text)
    )


def escaped(text: str) -> str:
    """``text`` in quotes, with escapes for everything that cannot be printed."""
    errors = "surrogateescape" if _is_undecoded(text) else "backslashreplace"
    return repr(text.encode("utf-8", errors))[1:]


def check_unique(rows: list[Row]) -> None:
    """UsageError if two rows have the same id."""
    first_row: dict[str, Row] = {}
    repeated = [row for row in rows if first_row.setdefault(row.id, row) is not row]
    if repeated:
        row = repeated[0]
        more = f" ({len(repeated)} ids are repeated)" if len(repeated) > 1 else ""
        raise UsageError(
            f"{first_row[row.id].place}: the id {row.id!r} is used again in {row.place}{more}; "
            "remove one of the rows, or rename one of the videos"
        )


def _names_of_row(table: Table, label_file: LabelFile, index: int) -> dict[str, str]:
    """All names that a row defines: its columns, constants, parts, and translated values."""
    names = {name: table.columns[column][index] for name, column in label_file.columns.items()}
    names |= label_file.constant
    for name, pattern in label_file.parts.items():
        match = re.search(pattern, names[name])
        if match:
            names |= match.groupdict(WILDCARD)
        else:
            names |= dict.fromkeys(re.compile(pattern).groupindex, WILDCARD)
    for name, translations in label_file.values.items():
        column = label_file.columns.get(name, name)
        names[name] = _translated(table, index, column, names[name], translations)
    return names


def _defined(names: dict[str, str], name: str) -> str:
    """The value of an optional name; empty if the row does not define it."""
    value = names.get(name, "")
    return "" if value == WILDCARD else value


def numbers_of(
    table: Table, label_file: LabelFile, name: str, indices: list[int]
) -> dict[int, float]:
    """The numbers of a column by the index of their row; those that are missing are left out.

    UsageError where a cell holds something else, or the MOS is missing.
    """
    if name not in label_file.columns:
        return {}
    column = label_file.columns[name]
    cells = {i: table.columns[column][i] for i in indices}
    # one mark for a whole column: if a comma is the decimal mark anywhere, a point never is
    decimal_comma = label_file.decimal == "," or (
        not label_file.decimal and any("," in cell for cell in cells.values())
    )
    numbers: dict[int, float] = {}
    wrong = []
    for i, cell in cells.items():
        number = number_of(cell, decimal_comma)
        if number is not None and not (name == "mos_std" and number < 0):
            numbers[i] = number
        elif name == "mos" or cell.lower() not in MISSING_NUMBERS:
            wrong.append(i)
    if wrong:
        problem = "is not a number"
        if decimal_comma:
            problem += " with a decimal comma, which other rows of this column have"
        elif name == "mos_std" and number_of(cells[wrong[0]], decimal_comma) is not None:
            problem = "is negative, and a standard deviation cannot be"
        more = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise table.error(wrong[0], column, f"{cells[wrong[0]]!r} {problem}{more}")
    return numbers


def number_of(cell: str, decimal_comma: bool) -> float | None:
    """The finite number in a cell, or None."""
    text = cell.replace(".", "x").replace(",", ".") if decimal_comma else cell
    if not NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        return None
    return float(text)


def _translated(
    table: Table, index: int, column: str, value: str, translations: dict[str, str]
) -> str:
    for key, translation in translations.items():
        if key.casefold() == value.casefold():
            return translation
    raise table.error(
        index, column, f"{value!r} is not a known value; choose from {', '.join(translations)}"
    )


def _check_cells(table: Table, label_file: LabelFile) -> None:
    """UsageError if a cell cannot be a name, or an id was damaged by a spreadsheet."""
    for name, column in label_file.columns.items():
        for i, cell in enumerate(table.columns[column]):
            if not cell and name in ("id", "path"):
                raise table.error(i, column, "the cell is empty")
            if _is_undecoded(cell):
                raise table.error(
                    i,
                    column,
                    f"{escaped(cell)} is not UTF-8; save the file in UTF-8, or give its encoding "
                    "under labels in a .toml",
                )
            if not is_printable(cell):
                problem = "contains control characters"
                if _has_surrogates(cell):
                    problem = "is not valid Unicode"
                raise table.error(i, column, f"{escaped(cell)} {problem}; correct the label file")
            if name == "id" and ROUNDED.fullmatch(cell):
                raise table.error(
                    i,
                    column,
                    f"{cell!r} is a number that a spreadsheet has rounded, not an id; use the file "
                    "as it was published",
                )


def _is_undecoded(text: str) -> bool:
    """Whether ``text`` contains bytes that are not UTF-8, which Python keeps as surrogates."""
    return any("\udc80" <= character <= "\udcff" for character in text)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
