"""A label table as rows of a manifest: ids, labels, groups and splits, typed and checked one by
one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from vqa_twostage.pipeline.datasets.file_index import without_extension
from vqa_twostage.pipeline.datasets.label_files import Table
from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# what spreadsheets make of a long id: 8.53692E+09
ROUNDED = re.compile(r"\d(\.\d+)?[eE]\+?\d+")


# the value of a name that a row does not give: no text in a file is equal to it
ANYTHING = "\0"
# what tables say where they have no number
NOTHING = ("", "nan", "na", "n/a", "none", "null")


@dataclass(frozen=True)
class Row:
    """One video as its label file tells it. ``names``: all that layouts may use; ``place``: for
    messages.
    """

    id: str
    mos: float
    mos_std: float
    group: str
    split: str
    names: dict[str, str]
    place: str


def read_rows(table: Table, label: LabelFile, strip: bool = True) -> tuple[list[Row], list[str]]:
    """The rows of ``table``, and what to say of those that are left out, if any may be.

    ``strip``: the extension of a video is no part of its id. UsageError names the file, row and
    column that is wrong.
    """
    cells = {name: table.columns[column] for name, column in label.columns.items()}
    _check_cells(table, label)
    count = len(table.places)
    unlabelled = label.without_mos == "leave out"
    kept = [
        row for row in range(count) if not unlabelled or cells["mos"][row].lower() not in NOTHING
    ]
    mos = _numbers(table, label, "mos", kept)
    mos_std = _numbers(table, label, "mos_std", kept) if "mos_std" in cells else {}
    rows = []
    for row in kept:
        names = {**{name: column[row] for name, column in cells.items()}, **label.constant}
        for name, pattern in label.parts.items():
            match = re.search(pattern, names[name])
            names |= (
                match.groupdict(ANYTHING)
                if match
                else dict.fromkeys(re.compile(pattern).groupindex, ANYTHING)
            )
        for name, meant in label.values.items():
            names[name] = _meant(table, row, label, name, names[name], meant)
        video_id = without_extension(names["id"]).strip() if strip else names["id"]
        group, split = (
            "" if names.get(name) == ANYTHING else names.get(name, "")
            for name in ("group", "split")
        )
        place = f"{table.path}, {table.places[row]}"
        rows.append(
            Row(
                video_id,
                mos[row],
                mos_std.get(row, math.nan),
                group or video_id,
                split,
                names,
                place,
            )
        )
    left = count - len(kept)
    return rows, [
        f"rows of {table.path.name} without {label.columns['mos']}, left out: {left}"
    ] if left else []


def is_text(text: str) -> bool:
    """Whether ``text`` can be written to a line of a file in UTF-8."""
    return text.isprintable() or not any(
        letter < " " or "\ud800" <= letter <= "\udfff" for letter in text
    )


def shown(text: str) -> str:
    """``text`` with what cannot be printed as escapes."""
    return repr(text.encode("utf-8", "surrogateescape" if _of_bytes(text) else "backslashreplace"))[
        1:
    ]


def check_unique(rows: list[Row]) -> None:
    """UsageError where an id stands twice."""
    first: dict[str, Row] = {}
    twice = [row for row in rows if first.setdefault(row.id, row) is not row]
    if twice:
        row, rest = twice[0], f" ({len(twice)} such ids)" if len(twice) > 1 else ""
        raise UsageError(
            f"{first[row.id].place}: id {row.id!r} stands here and again in {row.place}{rest}; "
            "remove one"
        )


def _numbers(table: Table, label: LabelFile, name: str, rows: list[int]) -> dict[int, float]:
    column = label.columns[name]
    texts = {row: table.columns[column][row] for row in rows}
    # one mark for a whole column: where a comma stands for the point, a point is no decimal mark
    commas = label.decimal == "," or (
        not label.decimal and any("," in text for text in texts.values())
    )
    numbers, wrong = {}, []
    for row, text in texts.items():
        plain = text.replace(".", "x").replace(",", ".") if commas else text
        if (
            NUMBER.fullmatch(plain)
            and math.isfinite(float(plain))
            and not (name == "mos_std" and float(plain) < 0)
        ):
            numbers[row] = float(plain)
        elif name == "mos" or text.lower() not in NOTHING:
            wrong.append(row)
    if wrong:
        said = "is not a number" + (
            " with a decimal comma, as others in this column have" if commas else ""
        )
        more = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise table.error(wrong[0], column, f"{texts[wrong[0]]!r} {said}{more}")
    return numbers


def _meant(
    table: Table, row: int, label: LabelFile, name: str, said: str, meant: dict[str, str]
) -> str:
    found = next((value for key, value in meant.items() if key.casefold() == said.casefold()), None)
    if found is None:
        raise table.error(
            row, label.columns.get(name, name), f"{said!r} is none of {', '.join(meant)}"
        )
    return found


def _check_cells(table: Table, label: LabelFile) -> None:
    for name, column in label.columns.items():
        for row, cell in enumerate(table.columns[column]):
            if not cell and name in ("id", "path"):
                raise table.error(row, column, "it is empty")
            if not is_text(cell):
                advice = "save the file in UTF-8, or give its encoding under labels in a .toml"
                what = f"is not UTF-8; {advice}" if _of_bytes(cell) else "holds what no name holds"
                raise table.error(row, column, f"{shown(cell)} {what}")
            if name == "id" and ROUNDED.fullmatch(cell):
                what = (
                    f"{cell!r} is a number that a spreadsheet rounded, and no id; take the "
                    "file as it was published"
                )
                raise table.error(row, column, what)


def _of_bytes(text: str) -> bool:
    """Whether bytes that are no UTF-8 were kept in ``text``."""
    return any("\udc80" <= letter <= "\udcff" for letter in text)
