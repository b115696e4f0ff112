"""Tables of scores, as published models write them: which column names the videos of a dataset,
which one holds the scores.

Every kind of label file is read (`pipeline.datasets.label_files`), with whatever separator, decimal
mark and byte order mark it has. What is not said is taken only where it is clear, and what was
taken is told.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.pipeline.cache.label_names import is_opinion
from vqa_twostage.pipeline.cache.video_names import MatchedNames, match_names
from vqa_twostage.pipeline.datasets.label_files import READERS, Table, read_table
from vqa_twostage.pipeline.datasets.rows import MISSING_NUMBERS, number_of
from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError, close_to, require
from vqa_twostage.pipeline.wording import first_of

LISTED = 10
# what a column of scores is called; asked for only where several columns hold numbers
SCORES = {"pred", "predicted", "prediction", "predictions", "quality", "score", "scores"}


@dataclass(frozen=True)
class ScoreTable:
    """``scores``: of each row that has one, by the name that its video has in the table; ``empty``
    are the names of the other rows. ``matches``: which video each name is.
    """

    id_column: str
    score_column: str
    scores: dict[str, float]
    empty: list[str]
    matches: MatchedNames


def read_scores(
    path: Path,
    videos: Mapping[str, str],
    label: str,
    id_column: str | None = None,
    score_column: str | None = None,
) -> ScoreTable:
    """The scores in a table; ``videos``: the paths of a dataset's videos by their ids, ``label``:
    what it calls its own scores.

    Raises:
        UsageError: The file is no table, it is not clear which column is meant, a video has two
            rows, or a cell is no number.
    """
    table = _read(path, videos)
    names = _named(table, "--id-column", id_column) or _column_of_names(table, videos)
    scores = _named(table, "--score-column", score_column) or _column_of_scores(table, names, label)
    require(
        not is_opinion(scores, label),
        f"column {scores} of {path} is the label by its name, and a label is no score of a model; "
        "choose another --score-column, or rename it if it is something else",
    )
    cells = table.columns[names]
    twice = [name for name, count in Counter(cells).items() if count > 1 and name]
    require(
        not twice,
        f"column {names} of {path} names {first_of(twice, LISTED)} more than once; give one row "
        "for each video",
    )
    numbers = _numbers(table, scores, [row for row, name in enumerate(cells) if name])
    return ScoreTable(
        id_column=names,
        score_column=scores,
        scores={cells[row]: number for row, number in numbers.items()},
        empty=[name for row, name in enumerate(cells) if name and row not in numbers],
        matches=match_names([cells[row] for row in numbers], videos),
    )


def _read(path: Path, videos: Mapping[str, str]) -> Table:
    """Blanks separate columns where nothing else does. Where the first row already names a video,
    the columns are numbered from 1.
    """
    kinds = [kind for kind in READERS if kind != ".mat"]
    require(
        path.is_file() and path.suffix.lower() in kinds,
        f"{path} {'is no table of scores' if path.exists() else 'does not exist'}; give a table "
        f"({', '.join(kinds)}) or arrays (.npz, .mat, .npy, .h5)",
    )
    how = LabelFile(file=(path.name,), columns={})
    table = read_table(path, how, [])
    if len(table.columns) == 1 and " " in next(iter(table.columns)):
        how = replace(how, separator=" ")
        table = read_table(path, how, [])
    first = list(table.columns)
    if any(len(cells) < len(table.places) for cells in table.columns.values()):
        table = read_table(path, how, first)  # of records, which are read where they are asked for
    if match_names(first, videos).ids:
        header = tuple(f"column {number}" for number in range(1, len(first) + 1))
        table = read_table(path, replace(how, header=header), [])
    return table


def _named(table: Table, option: str, column: str | None) -> str | None:
    require(
        column is None or column in table.columns,
        f"{option} {column}: {table.path} has no such column; choose from "
        f"{first_of([*table.columns], LISTED)}{close_to(column, table.columns)}",
    )
    return column


def _column_of_names(table: Table, videos: Mapping[str, str]) -> str:
    """The column that names most videos, unless another one names other videos in the same rows."""
    found: dict[str, dict[int, str]] = {}
    for column, cells in table.columns.items():
        ids = match_names([*dict.fromkeys(cells)], videos).ids
        found[column] = {row: ids[cell] for row, cell in enumerate(cells) if cell in ids}
    # cells such as 25, which may be a video's name, are the same in many rows
    count = {column: len(set(rows.values())) for column, rows in found.items()}
    best = max(count, key=count.__getitem__)
    if not count[best]:
        raise UsageError(
            f"no column of {table.path} names a video of the dataset; its columns are "
            f"{first_of([*found], LISTED)}, and ids look like {', '.join(list(videos)[:2])}. Give "
            "another --dataset, or the column with --id-column"
        )
    others = [
        column
        for column, rows in found.items()
        if 2 * count[column] > count[best]
        and any(found[best].get(row, video_id) != video_id for row, video_id in rows.items())
    ]
    require(
        not others,
        f"{', '.join([best, *others])} of {table.path} all name videos of the dataset, and not the "
        "same ones; choose with --id-column",
    )
    return best


def _column_of_scores(table: Table, names: str, label: str) -> str:
    """The only column of numbers, or the only one of several that is called a score."""
    numeric = [
        column
        for column, cells in table.columns.items()
        if column != names and not is_opinion(column, label) and _mostly_numbers(cells)
    ]
    called = [column for column in numeric if SCORES & set(re.split(r"[\W_]+", column.lower()))]
    clear = numeric if len(numeric) == 1 else called
    if len(clear) == 1:
        return clear[0]
    if numeric:
        raise UsageError(
            f"{table.path} has several columns of numbers; choose one with --score-column: "
            f"{first_of(numeric, LISTED)}"
        )
    raise UsageError(
        f"{table.path} has no column of numbers that can be scores; its columns are "
        f"{first_of([*table.columns], LISTED)}. Choose one with --score-column, or give "
        "another file"
    )


def _mostly_numbers(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell.lower() not in MISSING_NUMBERS]
    comma = any("," in cell for cell in filled)
    return 2 * sum(number_of(cell, comma) is not None for cell in filled) > len(filled)


def _numbers(table: Table, column: str, rows: Sequence[int]) -> dict[int, float]:
    """The numbers of those ``rows`` that have one."""
    cells = {row: table.columns[column][row] for row in rows}
    filled = {row: cell for row, cell in cells.items() if cell.lower() not in MISSING_NUMBERS}
    # one mark for a whole column, as in tables of labels
    comma = any("," in cell for cell in filled.values())
    numbers: dict[int, float] = {}
    for row, cell in filled.items():
        number = number_of(cell, comma)
        if number is None:
            problem = "is not a number with a decimal comma" if comma else "is not a finite number"
            raise table.error(
                row, column, f"{cell!r} {problem}; leave the cell empty where there is no score"
            )
        numbers[row] = number
    return numbers
