"""The schema of ``data_manifests/*.toml``: what a dataset is, where its label files and videos are,
and how the names in label files relate to the names of files.

Unknown keys are errors, because a misspelt key would silently change a dataset.
"""

from __future__ import annotations

import importlib.util
import math
import re
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from vqa_twostage.pipeline.datasets.axes import Axis, axis_in, check_axes
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.raw_format import RawFormat, parse_raw_format

PACKAGE = __name__.partition(".")[0]
# these are facts about one video, so they must come from a column
ONLY_FROM_COLUMNS = {"id", "mos", "mos_std"}
REQUIRED_COLUMNS = ("id", "mos")


@dataclass(frozen=True)
class LabelFile:
    """One label file, a table ``[[labels]]``. A dataset may have several, for different videos.

    ``file``: its name relative to the root, or several names that it is known by; ``*`` matches
    anything.
    ``columns``: our name -> name of the column. ``id`` and ``mos`` are required; ``mos_std``,
    ``group`` and ``split`` are optional, as is ``mos_<axis>`` of each axis of the dataset, and any
    other name may be added for use in layouts.
    ``parts``: our name -> regular expression, whose named groups become further names; they are
    ``*`` where the expression does not match.
    ``optional``: those of our names whose column a copy of the file may lack.
    ``values``: our name -> value in the file -> value that it stands for.
    ``constant``: our name -> value that is the same for all rows.
    ``header``: names of the columns, for a file without a header.
    ``without_mos``: "error" or "leave out", for rows without a MOS.
    ``sheet`` (of an .xlsx), ``separator``, ``decimal``, ``encoding`` (of a text file): only needed
    where they cannot be detected.
    """

    file: tuple[str, ...]
    columns: dict[str, str]
    optional: tuple[str, ...] = ()
    parts: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    constant: dict[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    without_mos: str = "error"
    sheet: str = ""
    separator: str = ""
    decimal: str = ""
    encoding: str = ""

    @property
    def part_names(self) -> list[str]:
        """Names that ``parts`` adds."""
        return [name for pattern in self.parts.values() for name in re.compile(pattern).groupindex]


@dataclass(frozen=True)
class Layout:
    """One way in which the videos are arranged in folders, a table ``[[layouts]]``.

    ``videos``: patterns of their paths below the root, with names of `LabelFile` in braces and
    ``*`` for anything. Letter case and the extensions of videos need not agree.
    ``extension``: the extension that is expected where a video is missing.
    """

    name: str
    videos: tuple[str, ...]
    extension: str = ".mp4"


@dataclass(frozen=True)
class Release:
    """The number of ``videos`` in a known release, in total or in one official ``split``, a table
    ``[[releases]]``. Copies of a dataset differ, and so do the numbers in papers.
    """

    name: str
    videos: int
    split: str = ""


@dataclass(frozen=True)
class DatasetSchema:
    """A dataset's TOML. ``scale`` is the range of the labels, and ``better`` says which end of it
    is the better quality, "higher" or "lower". ``axes``: its further labels, tables ``[[axes]]``.
    """

    title: str
    scale: tuple[float, float]
    labels: tuple[LabelFile, ...]
    layouts: tuple[Layout, ...]
    label: str = "MOS"
    better: str = "higher"
    citation: str = ""
    homepage: str = ""
    licence: str = ""
    obtain: str = ""
    raw: RawFormat | None = None
    releases: tuple[Release, ...] = ()
    axes: tuple[Axis, ...] = ()

    @property
    def splits(self) -> list[str]:
        """Names of the official splits, in the order of the file."""
        splits: list[str] = []
        for label_file in self.labels:
            splits += label_file.values.get("split", {}).values()
            splits.append(label_file.constant.get("split", ""))
        return list(dict.fromkeys(split for split in splits if split))


def names() -> list[str]:
    """Names that ``--dataset`` takes: the files in ``data_manifests/``."""
    return sorted(path.stem for path in manifest_folder().glob("*.toml"))


def manifest_folder() -> Path:
    """The folder ``data_manifests`` of this installation."""
    package = importlib.util.find_spec(f"{PACKAGE}.data_manifests")
    assert package is not None and package.submodule_search_locations, (
        "data_manifests is part of the installation"
    )
    return Path(next(iter(package.submodule_search_locations)))


def read_schema(path: Path) -> DatasetSchema:
    """The TOML at ``path``; UsageError names the key that is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist; give the path of a .toml, or one of the datasets that have "
            f"a manifest: {', '.join(names())}"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not a TOML file in UTF-8: {error}") from None
    schema: DatasetSchema = _as_dataclass(path, "", DatasetSchema, document)
    low, high = schema.scale
    if not -math.inf < low < high < math.inf:
        raise UsageError(
            f"{path}: scale = {list(schema.scale)}; give the lowest and the highest possible label"
        )
    _check_choice(path, "better", schema.better, ("higher", "lower"))
    for label_file in schema.labels:
        _check_label_file(path, label_file, schema.layouts)
    _check_axes(path, schema)
    return schema


def _check_axes(path: Path, schema: DatasetSchema) -> None:
    """UsageError unless the axes and the columns of label files name each other."""
    check_axes(schema.axes, str(path))
    named = {column for label_file in schema.labels for column in label_file.columns}
    described = {axis.name for axis in schema.axes}
    for axis in schema.axes:
        if axis.column not in named:
            raise UsageError(
                f"{path}: no labels.columns names the labels of the axis {axis.name!r}; add "
                f'{axis.column} = "…", the name of their column'
            )
    for column in sorted(named):
        if (name := axis_in(column)) is not None and name not in described:
            raise UsageError(
                f"{path}: labels.columns names {column}, and there is no axis {name!r}; describe "
                f'it in a table [[axes]] with name = "{name}" and scale = […]'
            )


def _check_label_file(path: Path, label_file: LabelFile, layouts: tuple[Layout, ...]) -> None:
    for column in REQUIRED_COLUMNS:
        if column not in label_file.columns:
            raise UsageError(
                f"{path}: labels.columns lacks {column}; give the name of the column, as in "
                f'{column} = "…"'
            )
    _check_choice(path, "labels.without_mos", label_file.without_mos, ("error", "leave out"))
    if label_file.decimal:
        _check_choice(path, "labels.decimal", label_file.decimal, (".", ","))
    if len(label_file.separator) > 1:
        raise UsageError(
            f'{path}: labels.separator = "{label_file.separator}"; give a single character'
        )
    for name in label_file.optional:
        if name not in {"mos_std", "group", "split"} & label_file.columns.keys():
            raise UsageError(
                f"{path}: labels.optional names {name}; only mos_std, group and split of "
                "labels.columns can be lacking"
            )
    names_in_rows = _check_names(path, label_file) - set(label_file.optional)
    for layout in layouts:
        for pattern in layout.videos:
            _check_pattern(path, pattern, names_in_rows)


def _check_choice(path: Path, key: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        listed = " or ".join(f'"{choice}"' for choice in choices)
        raise UsageError(f'{path}: {key} = "{value}"; choose {listed}')


def _check_names(path: Path, label_file: LabelFile) -> set[str]:
    """The names that each row of a label file has; UsageError if a table uses any other name."""
    for table, names_in_table in (
        ("constant", label_file.constant),
        ("values", label_file.values),
    ):
        _check_not_only_from_columns(path, table, names_in_table)
    row_names = {*label_file.columns, *label_file.constant}
    for name, pattern in label_file.parts.items():
        if name not in row_names - set(label_file.optional):
            raise UsageError(
                f"{path}: labels.parts.{name} does not refer to a column; choose from "
                f"{', '.join(sorted(row_names))}"
            )
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise UsageError(
                f"{path}: labels.parts.{name} = {pattern!r} is not a valid regular expression: "
                f"{error}"
            ) from None
        _check_not_only_from_columns(path, "parts", groups)
        row_names |= set(groups)
    for name in label_file.values:
        if name not in row_names:
            raise UsageError(
                f"{path}: labels.values.{name} does not refer to a column; choose from "
                f"{', '.join(sorted(row_names))}"
            )
    return row_names


def _check_not_only_from_columns(path: Path, table: str, names_in_table: Iterable[str]) -> None:
    wrong = sorted(ONLY_FROM_COLUMNS & set(names_in_table))
    if wrong:
        raise UsageError(
            f"{path}: labels.{table} cannot define {', '.join(wrong)}; name its column in "
            "labels.columns"
        )


def _check_pattern(path: Path, pattern: str, row_names: set[str]) -> None:
    rest = re.sub(r"{[A-Za-z_]\w*}", "", pattern)
    if "{" in rest or "}" in rest:
        raise UsageError(
            f"{path}: layouts.videos {pattern!r}: the braces do not match; write names as in {{id}}"
        )
    for name in re.findall(r"{(\w+)}", pattern):
        if name not in row_names:
            raise UsageError(
                f"{path}: layouts.videos {pattern!r}: {{{name}}} is unknown; choose from "
                f"{', '.join(sorted(row_names))}"
            )


# --- TOML values as dataclasses ---

TABLES = {
    tuple[LabelFile, ...]: LabelFile,
    tuple[Layout, ...]: Layout,
    tuple[Release, ...]: Release,
    tuple[Axis, ...]: Axis,
}


def _as_dataclass(path: Path, key: str, kind: type, table: Any) -> Any:
    """A TOML table as an instance of ``kind``. ``key`` is its place in the file, for messages."""
    place = key or "the file"
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {place} must be a table, not {table!r}; {_hint()}")
    hints = get_type_hints(kind)
    unknown = sorted(table.keys() - hints.keys())
    if unknown:
        raise UsageError(
            f"{path}: {place} has the unknown key {', '.join(unknown)}; valid keys are "
            f"{', '.join(hints)}"
        )
    missing = [item.name for item in fields(kind) if item.name not in table and _is_required(item)]
    if missing:
        raise UsageError(f"{path}: {place} lacks {', '.join(missing)}; {_hint()}")
    values = {
        name: _as_value(path, f"{key}.{name}".lstrip("."), hints[name], value)
        for name, value in table.items()
    }
    return kind(**values)


def _hint() -> str:
    return f"see {manifest_folder() / 'konvid.toml'} for an example"


def _is_required(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _as_value(path: Path, key: str, hint: Any, value: Any) -> Any:
    """A TOML value as the type that ``hint`` names; UsageError if it is of another type."""
    if hint in TABLES:
        tables = value if isinstance(value, list) else [value]
        if not tables:
            raise UsageError(f"{path}: {key} is empty; {_hint()}")
        return tuple(_as_dataclass(path, key, TABLES[hint], table) for table in tables)
    if hint == tuple[str, ...]:
        return _as_strings(path, key, value)
    if hint == tuple[float, float]:
        return _as_range(path, key, value)
    if hint == RawFormat | None:
        if not isinstance(value, str):
            raise UsageError(f"{path}: {key} must be a string, not {value!r}")
        return parse_raw_format(value, str(path))
    if hint in (dict[str, str], dict[str, dict[str, str]]):
        if not isinstance(value, dict):
            raise UsageError(f"{path}: {key} must be a table, not {value!r}")
        inner = str if hint == dict[str, str] else dict[str, str]
        return {name: _as_value(path, f"{key}.{name}", inner, item) for name, item in value.items()}
    if type(value) is not hint:
        kind = "a string" if hint is str else "a whole number"
        raise UsageError(f"{path}: {key} must be {kind}, not {value!r}")
    if isinstance(value, str) and not key.endswith("separator"):  # a separator may be a tab
        return value.strip()
    return value


def _as_strings(path: Path, key: str, value: Any) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    valid = isinstance(items, list) and all(isinstance(item, str) and item for item in items)
    if not valid or not items:
        raise UsageError(f"{path}: {key} must be a string or a list of strings, not {value!r}")
    return tuple(items)


def _as_range(path: Path, key: str, value: Any) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(end, int | float) for end in value)
    ):
        raise UsageError(f"{path}: {key} must be two numbers, as in [1, 5], not {value!r}")
    try:
        return float(value[0]), float(value[1])
    except OverflowError:
        raise UsageError(f"{path}: {key} is too large") from None
