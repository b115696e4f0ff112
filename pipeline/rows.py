"""A label table as rows of a manifest: ids, labels, groups and splits, typed and checked one by one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from pipeline.about import LabelFile
from pipeline.errors import UsageError
from pipeline.labels import Table
from pipeline.tree import without_extension

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# what spreadsheets make of a long id: 8.53692E+09
ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+?\d+")


# the value of a name that a row does not give: no text in a file is equal to it
ANYTHING = "\0"


@dataclass(frozen=True)
class Row:
    """One video as its label file tells it. ``names``: all that layouts may use; ``place``: for messages."""

    id: str
    mos: float
    mos_std: float
    group: str
    split: str
    names: dict[str, str]
    place: str


def read_rows(table: Table, label: LabelFile, strip: bool = True) -> tuple[list[Row], list[str]]:
    """The rows of ``table``, and what to say of those that are left out, if any may be.

    ``strip``: the extension of a video is no part of its id. UsageError names the file, row and column that is wrong.
    """
    cells = {name: table.columns[column] for name, column in label.columns.items()}
    count = len(table.places)
    unlabelled = label.without_mos == "leave out"
    kept = [row for row in range(count) if not unlabelled or cells["mos"][row].lower() not in ("", "nan", "na", "n/a")]
    mos = _numbers(table, label, "mos", kept)
    mos_std = _numbers(table, label, "mos_std", kept) if "mos_std" in cells else {}
    rows = []
    for row in kept:
        names = {**{name: column[row] for name, column in cells.items()}, **label.constant}
        for name, pattern in label.parts.items():
            match = re.search(pattern, names[name])
            names |= match.groupdict(ANYTHING) if match else dict.fromkeys(re.compile(pattern).groupindex, ANYTHING)
        for name, meant in label.values.items():
            names[name] = _meant(table, row, label, name, names[name], meant)
        if strip:
            names["id"] = without_extension(names["id"])
        _check_names(table, row, label, names)
        group = names.get("group", "")
        rows.append(
            Row(
                names["id"],
                mos[row],
                mos_std.get(row, math.nan),
                group if group not in ("", ANYTHING) else names["id"],
                names.get("split", ""),
                names,
                f"{table.path}, {table.places[row]}",
            )
        )
    left = count - len(kept)
    return rows, [f"rows of {table.path.name} without {label.columns['mos']}, left out: {left}"] if left else []


def check_unique(rows: list[Row]) -> None:
    """UsageError where an id stands twice."""
    first: dict[str, Row] = {}
    twice = [row for row in rows if first.setdefault(row.id, row) is not row]
    if twice:
        row, rest = twice[0], f" ({len(twice)} such ids)" if len(twice) > 1 else ""
        raise UsageError(f"{first[row.id].place}: id {row.id!r} stands here and again in {row.place}{rest}; remove one")


def _numbers(table: Table, label: LabelFile, name: str, rows: list[int]) -> dict[int, float]:
    column = label.columns[name]
    texts = {row: table.columns[column][row] for row in rows}
    # one mark for a whole column: where a comma stands for the point, a point is no decimal mark
    commas = label.decimal == "," or (not label.decimal and any("," in text for text in texts.values()))
    numbers, wrong = {}, []
    for row, text in texts.items():
        plain = text.replace(".", "x").replace(",", ".") if commas else text
        if NUMBER.fullmatch(plain) and math.isfinite(float(plain)):
            numbers[row] = float(plain)
        elif name == "mos" or text:
            wrong.append(row)
    if wrong:
        said = "is not a number" + (" with a decimal comma, as others in this column have" if commas else "")
        more = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise table.wrong(wrong[0], column, f"{texts[wrong[0]]!r} {said}{more}")
    return numbers


def _meant(table: Table, row: int, label: LabelFile, name: str, said: str, meant: dict[str, str]) -> str:
    found = next((value for key, value in meant.items() if key.casefold() == said.casefold()), None)
    if found is None:
        raise table.wrong(row, label.columns.get(name, name), f"{said!r} is none of {', '.join(meant)}")
    return found


def _check_names(table: Table, row: int, label: LabelFile, names: dict[str, str]) -> None:
    column = label.columns["id"]
    if ROUNDED.fullmatch(names["id"]):
        what = f"{names['id']!r} is a number that a spreadsheet rounded, and no id; take the file as it was published"
        raise table.wrong(row, column, what)
    for name in {"id", "path"} & names.keys():
        if not names[name]:
            raise table.wrong(row, label.columns[name], "it is empty")
        if "\0" in names[name]:
            raise table.wrong(row, label.columns[name], f"{names[name]!r} is no name")
