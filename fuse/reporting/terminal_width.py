"""Tables and sentences that fit the terminal, with every figure whole."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import click

NAME_WIDTH = 60  # of a row; a longer name goes on below
LEAST_NAME_WIDTH = 12  # to which names are folded, so that more columns fit beside them
TEXT_WIDTH = 24  # the same of other texts
MOST_WIDTH = 10_000  # characters, more than any table has
EDGES, BETWEEN = 2, 3  # blanks of a row, and between two columns


def output_width() -> int | None:
    """Characters of a line: those of the terminal, or ``$COLUMNS``; None where results go to a file
    or a program, which take lines of any length.
    """
    if os.environ.get("COLUMNS", "").isdecimal() and int(os.environ["COLUMNS"]) > 0:
        return int(os.environ["COLUMNS"])
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@dataclass(frozen=True)
class Part:
    """A table of some of the columns, by number, the first of all always among them."""

    columns: list[int]
    widths: list[int]


def parts(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    subject: int | None = None,
    texts: Collection[int] = (),
) -> list[Part]:
    """The tables that a table is divided into: as few as fit ``width``, with the columns in their
    order. Where that takes no more tables, one of them begins with the column ``subject``.

    Only the first column, of names, and ``texts`` are folded, and titles wrap at their blanks.
    Names are folded in wide windows too, unless the first column, 0, is one of ``texts``. Where
    even a single column is wider than ``width``, it has a table to itself, whose lines are longer.
    """
    cells = [_widest(row[place] for row in rows) for place in range(len(titles))]
    whole = [max(cell, _widest([title])) for cell, title in zip(cells, titles, strict=True)]
    whole[0] = whole[0] if 0 in texts else min(whole[0], NAME_WIDTH)
    everything = list(range(len(titles)))
    if width is None or _table_width(whole) <= width:
        return [Part(everything, whole)]
    least = [max(cell, _widest(title.split())) for cell, title in zip(cells, titles, strict=True)]
    for column in texts:
        least[column] = min(least[column], TEXT_WIDTH)
    divided = [
        _divided([name, *least[1:]], width, begin)
        # the first of equally good ones is taken: with the widest names, and by subject
        for name in range(whole[0], min(whole[0], LEAST_NAME_WIDTH) - 1, -1)
        for begin in (subject, None)
    ]
    return min(divided, key=lambda found: (_too_wide(found, width), len(found)))


def print_table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    subject: int | None = None,
    texts: Collection[int] = (),
) -> None:
    """Rows whose first cell is a name. A terminal that is narrower than the table gets several
    tables, one below the other, with the names in each (`parts`).
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=MOST_WIDTH)
    for part in parts(titles, rows, output_width(), subject, texts):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column, width in zip(part.columns, part.widths, strict=True):
            is_text = column in texts or not titles[column]
            justify: Literal["left", "right"] = "left" if is_text else "right"
            table.add_column(titles[column], width=width, justify=justify, overflow="fold")
        for row in rows:
            # as text, since names may have what rich takes for markup
            table.add_row(*(Text(row[column]) for column in part.columns))
        console.print(table)


def print_sentence(text: str) -> None:
    """A line for people, wrapped between words where the terminal is narrower. Not for paths, which
    are copied.
    """
    width = output_width()
    for line in text.split("\n"):
        if width is not None and len(line) > width:
            line = textwrap.fill(
                line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
        click.echo(line)


def _divided(widths: Sequence[int], width: int, subject: int | None) -> list[Part]:
    """As many columns in each table as fit, beside the first column."""
    found = [Part([0], [widths[0]])]
    for column in range(1, len(widths)):
        last = found[-1]
        too_wide = _table_width([*last.widths, widths[column]]) > width
        if len(last.columns) > 1 and (too_wide or column == subject):
            last = Part([0], [widths[0]])
            found.append(last)
        last.columns.append(column)
        last.widths.append(widths[column])
    return found


def _too_wide(divided: Sequence[Part], width: int) -> int:
    """How many of the tables do not fit."""
    return sum(_table_width(part.widths) > width for part in divided)


def _table_width(widths: Sequence[int]) -> int:
    return EDGES + sum(widths) + BETWEEN * (len(widths) - 1)


def _widest(texts: Iterable[str]) -> int:
    """In places of a terminal, of which some characters take two."""
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)
