"""``data_manifests/*.toml``: what a dataset is, where its label files and videos lie, and how their
names go together.

Unknown keys are errors: a misspelt one would change a dataset without a word.
"""

from __future__ import annotations

import importlib.util
import math
import re
import tomllib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.raw_format import RawFormat, parse_raw_format

PACKAGE = __name__.partition(".")[0]
# of each video itself, as the file says it
PLAIN = {"id", "mos", "mos_std"}
HINT = "the files in data_manifests show how it is written"


@dataclass(frozen=True)
class LabelFile:
    """One label file. A table ``[[labels]]``; a dataset may have several, of different videos.

    ``file``: its name, or several that it goes by; relative to the root, ``*`` for anything.
    ``columns``: our name -> the column's, in which ``id`` and ``mos`` must be, ``mos_std``,
    ``group`` and ``split`` may, and any other may for use in layouts. ``parts``: our name -> a
    regular expression whose named groups are further names; one that does not match leaves them
    ``*``. ``values``: our name -> what the file says -> what is meant. ``constant``: our name ->
    what holds for all rows. ``header``: the names of the columns, where the file has none.
    ``without_mos``: "error" or "leave out". The rest is of one kind of file: ``sheet``, and
    ``separator``, ``decimal``, ``encoding`` where they cannot be told from the file.
    """

    file: tuple[str, ...]
    columns: dict[str, str]
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
        return [name for pattern in self.parts.values() for name in re.compile(pattern).groupindex]


@dataclass(frozen=True)
class Layout:
    """A way in which the videos may lie. A table ``[[layouts]]``.

    ``videos``: patterns of their paths below the root, with the names of `LabelFile` in braces and
    ``*`` for anything; known extensions and letter case need not agree. ``extension``: what they
    usually have.
    """

    name: str
    videos: tuple[str, ...]
    extension: str = ".mp4"


@dataclass(frozen=True)
class Release:
    """How many ``videos`` a known release has, in all or in one official ``split``: copies differ,
    and so do papers.

    A table ``[[releases]]``.
    """

    name: str
    videos: int
    split: str = ""


@dataclass(frozen=True)
class About:
    """A dataset's TOML. ``scale``: the labels' range; ``better``: which end of it is, "higher" or
    "lower".
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

    @property
    def splits(self) -> list[str]:
        """Values of the official split, in the order of the file."""
        said = [
            value
            for label in self.labels
            for value in [*label.values.get("split", {}).values(), label.constant.get("split")]
        ]
        return list(dict.fromkeys(value for value in said if value))


def names() -> list[str]:
    """Names that ``--dataset`` knows: the files in ``data_manifests/``."""
    return sorted(path.stem for path in manifest_folder().glob("*.toml"))


def manifest_folder() -> Path:
    package = importlib.util.find_spec(f"{PACKAGE}.data_manifests")
    assert package is not None and package.submodule_search_locations, (
        "data_manifests is part of the installation"
    )
    return Path(next(iter(package.submodule_search_locations)))


def read_about(path: Path) -> About:
    """The TOML at ``path``; UsageError names the key that is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist; datasets with a manifest: {', '.join(names())}"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML in UTF-8: {error}") from None
    about: About = _table(path, "", About, document)
    where = f"{path}: "
    require(
        -math.inf < about.scale[0] < about.scale[1] < math.inf,
        f"{where}scale = {list(about.scale)}; give the lowest and the highest label",
    )
    require(
        about.better in ("higher", "lower"),
        f'{where}better = "{about.better}"; choose higher or lower',
    )
    for label in about.labels:
        for needed in ("id", "mos"):
            require(
                needed in label.columns,
                f"{where}labels.columns lacks {needed}; name the column that holds it",
            )
        require(
            label.decimal in ("", ".", ","),
            f'{where}decimal = "{label.decimal}"; choose "." or ","',
        )
        require(
            len(label.separator) < 2, f'{where}separator = "{label.separator}"; give one character'
        )
        choices = 'choose "error" or "leave out"'
        require(
            label.without_mos in ("error", "leave out"),
            f'{where}without_mos = "{label.without_mos}"; {choices}',
        )
        _check_patterns(path, label, about.layouts)
    return about


def _check_patterns(path: Path, label: LabelFile, layouts: tuple[Layout, ...]) -> None:
    known = {*label.columns, *label.constant}
    for name, pattern in label.parts.items():
        require(
            name in known,
            f"{path}: labels.parts.{name} is of no column; labels.columns has {', '.join(known)}",
        )
        try:
            known |= set(re.compile(pattern).groupindex)
        except re.error as error:
            raise UsageError(
                f"{path}: labels.parts.{name} is no regular expression: {error}"
            ) from None
    for table, given in (
        ("constant", label.constant),
        ("values", label.values),
        ("parts", label.part_names),
    ):
        wrong = ", ".join(sorted(PLAIN & set(given)))
        require(not wrong, f"{path}: labels.{table} cannot say {wrong}: give the column of it")
    for name in label.values:
        require(
            name in known,
            f"{path}: labels.values.{name} is of no column; there are {', '.join(sorted(known))}",
        )
    for pattern in (pattern for layout in layouts for pattern in layout.videos):
        rest = re.sub(r"{[A-Za-z_]\w*}", "", pattern)
        require(
            "{" not in rest and "}" not in rest,
            f"{path}: layouts.videos {pattern!r}: write names as in {{id}}",
        )
        unknown = sorted(set(re.findall(r"{(\w+)}", pattern)) - known)
        there = ", ".join(sorted(known))
        require(
            not unknown,
            f"{path}: layouts.videos {pattern!r}: {{{''.join(unknown[:1])}}} is none of {there}",
        )


def _table(path: Path, where: str, kind: type, given: Any) -> Any:
    """``given``, a TOML table, as a dataclass."""
    place = where or "the file"
    require(isinstance(given, dict), f"{path}: {place} must be a table; {HINT}")
    hints = get_type_hints(kind)
    unknown = sorted(given.keys() - hints.keys())
    said = (
        f"{path}: {place} has the unknown key {', '.join(unknown)}; the keys are {', '.join(hints)}"
    )
    require(not unknown, said)
    lacking = [item.name for item in fields(kind) if item.name not in given and _required(item)]
    require(not lacking, f"{path}: {place} lacks {', '.join(lacking)}; {HINT}")
    return kind(
        **{
            key: _value(path, f"{where}.{key}".lstrip("."), hints[key], value)
            for key, value in given.items()
        }
    )


def _required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


TABLES = {
    tuple[LabelFile, ...]: LabelFile,
    tuple[Layout, ...]: Layout,
    tuple[Release, ...]: Release,
}


def _value(path: Path, where: str, hint: Any, value: Any) -> Any:
    if hint in TABLES:
        tables = value if isinstance(value, list) else [value]
        require(bool(tables), f"{path}: {where} is empty; {HINT}")
        return tuple(_table(path, where, TABLES[hint], table) for table in tables)
    if hint == tuple[str, ...]:
        texts = [value] if isinstance(value, str) else value
        right = isinstance(texts, list) and all(isinstance(text, str) and text for text in texts)
        require(
            right and bool(texts),
            f"{path}: {where} must be a text or a list of texts, not {value!r}",
        )
        return tuple(texts)
    if hint == tuple[float, float]:
        right = (
            isinstance(value, list)
            and len(value) == 2
            and all(isinstance(end, int | float) for end in value)
        )
        require(right, f"{path}: {where} must be two numbers, as in [1, 5], not {value!r}")
        try:
            return float(value[0]), float(value[1])
        except OverflowError:
            raise UsageError(f"{path}: {where} is too large") from None
    if hint == RawFormat | None:
        require(isinstance(value, str), f"{path}: {where} must be a text, not {value!r}")
        return parse_raw_format(value, str(path))
    if hint in (dict[str, str], dict[str, dict[str, str]]):
        require(isinstance(value, dict), f"{path}: {where} must be a table, not {value!r}")
        inner = str if hint == dict[str, str] else dict[str, str]
        return {key: _value(path, f"{where}.{key}", inner, item) for key, item in value.items()}
    require(
        type(value) is hint,
        f"{path}: {where} must be {'a text' if hint is str else 'a number'}, not {value!r}",
    )
    # a separator may well be a tab
    return value.strip() if isinstance(value, str) and not where.endswith("separator") else value
