"""`Manifest`: one row for each video of a dataset. It is all that later steps see of a dataset."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from vqa_twostage.pipeline.datasets.axes import BETTER, PREFIX, Axis, check_axes
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import is_text, sealed, unsealed
from vqa_twostage.pipeline.raw_format import RawFormat
from vqa_twostage.pipeline.remote_files import Root

COLUMNS = ["id", "path", "mos", "mos_std", "group", "split"]


@dataclass(frozen=True, eq=False)
class Manifest:
    """One row for each video.

    ``rows`` has the columns ``id`` (str, unique), ``path`` (str, relative to ``root``, or an
    absolute path or an address of its own, where a table has such), ``mos``
    (float), ``mos_std`` (float or NaN), ``group`` (str; videos of one group are always on the same
    side of a split) and ``split`` (str, empty if there is no official split); and of each of
    ``axes``, its further labels, ``mos_<axis>`` (float or NaN).

    ``label`` is the name of the labels wherever they are shown, ``scale`` their range, and
    ``better`` says which end of it is the better quality ("higher" or "lower"). ``origin`` is the
    table or .toml that it was read from, empty for the datasets of data_manifests. ``raw`` is the
    format of raw videos (None if the files are in containers). ``layout`` is the name of the
    layout that most videos were found in. ``notes`` are remarks on the rows, for people.
    ``assumed`` holds those of "label", "scale" and "better" that nobody said, each with a remark
    or "".
    """

    name: str
    title: str
    label: str
    scale: tuple[float, float]
    rows: pd.DataFrame
    root: Root | None = None
    raw: RawFormat | None = None
    better: str = "higher"
    layout: str = ""
    notes: tuple[str, ...] = ()
    origin: str = ""
    assumed: Mapping[str, str] = field(default_factory=dict)
    axes: tuple[Axis, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def remarks(self) -> tuple[str, ...]:
        """All that people are told of the dataset: ``notes``, and what was assumed."""
        return (*self.notes, *filter(None, self.assumed.values()))

    @property
    def digest(self) -> str:
        """Digest of everything that can change a result: rows, scale and label. Where
        videos and labels come from is no part of it, nor is ``better``, which no training reads,
        nor are further labels, which only trainings read that name them (`axis_digest`).
        """
        document = replace(self, axes=())._document()
        del document["better"], document["origin"]
        return _digest(document)

    def axis(self, name: str) -> Axis:
        """UsageError where there is none of that name."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        if not self.axes:
            raise UsageError(
                f"{self.name} has no axis {name!r}, since its labels are of one kind: name the "
                f"column mos_{name} in its table, or describe the axis in its .toml, and run "
                "vqa-extract again, which takes the labels and extracts no feature twice"
            )
        raise UsageError(
            f"{self.name} has no axis {name!r}; choose from "
            f"{', '.join(axis.name for axis in self.axes)}"
        )

    def axis_digest(self, name: str) -> str:
        """Digest of the labels and the scale of an axis; UsageError where there is none."""
        axis = self.axis(name)
        labels = self.rows[axis.column].astype(object).where(self.rows[axis.column].notna(), None)
        scale = [float(end) for end in axis.scale]
        return _digest([scale, [*map(list, zip(self.rows["id"], labels, strict=True))]])

    def to_json(self) -> str:
        """Everything but ``root``, ``raw``, ``layout``, ``notes`` and ``assumed``, sealed, a line
        for each row; `from_json` reads it.
        """
        document = sealed(self._document())
        encode = json.JSONEncoder(sort_keys=True).encode  # with an indent it is five times slower
        rows = ",\n ".join(map(encode, document.pop("rows")))
        return f'{encode(document)[:-1]},\n"rows": [\n {rows}\n]}}\n'

    def _document(self) -> dict[str, object]:
        names = [*COLUMNS, *(axis.column for axis in self.axes)]
        table = self.rows[names].astype(object).where(self.rows[names].notna(), None)
        columns = [table[name].tolist() for name in names]
        axes = [{**asdict(axis), "scale": [*map(float, axis.scale)]} for axis in self.axes]
        return {
            "name": self.name,
            "title": self.title,
            "label": self.label,
            "scale": [float(end) for end in self.scale],
            "better": self.better,
            "origin": self.origin,
            # only where there are some, so that other manifests stay as they are
            **({"axes": axes} if axes else {}),
            "rows": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)],
        }

    @staticmethod
    def from_json(text: str) -> Manifest:
        """The manifest that `to_json` wrote; UsageError if ``text`` is anything else."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the manifest is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise UsageError("the manifest must be a JSON object")
        document = unsealed(document)
        axes = _axes(document.pop("axes", []))
        _check(document, [axis.column for axis in axes])
        columns = [axis.column for axis in axes]
        rows = pd.DataFrame(document["rows"], columns=[*COLUMNS, *columns])
        numbers = ["mos", "mos_std", *columns]
        rows[numbers] = rows[numbers].astype(float)
        low, high = document["scale"]
        return Manifest(
            name=document["name"],
            title=document["title"],
            label=document["label"],
            scale=(float(low), float(high)),
            rows=rows,
            origin=document["origin"],
            better=document["better"],
            axes=axes,
        )


def _digest(document: object) -> str:
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


TEXTS = ("name", "title", "label", "better", "origin")


def _axes(listed: Any) -> tuple[Axis, ...]:
    """The further labels that a document names; UsageError where it names none, or wrong ones."""
    axes = []
    for item in listed if isinstance(listed, list) else [listed]:
        match item:
            case {"name": str(name), "scale": [low, high], "better": str(better)} if (
                len(item) == 3 and is_text(name) and _is_number(low) and _is_number(high)
            ):
                axes.append(Axis(name, (float(low), float(high)), better))
            case _:
                raise UsageError(
                    f"axes of the manifest must be objects with name, scale and better, not "
                    f"{item!r}"
                )
    check_axes(axes, "the manifest")
    return tuple(axes)


def _check(document: dict[str, Any], columns_of_axes: Sequence[str]) -> None:
    """UsageError unless ``document`` is one that `Manifest.to_json` can have written."""
    keys = {*TEXTS, "scale", "rows"}
    if document.keys() != keys:
        raise UsageError(f"the manifest must be a JSON object with the keys {_listed(keys)}")
    for key in TEXTS:
        if not is_text(document[key]):
            raise UsageError(f"{key} of the manifest must be a text, not {document[key]!r}")
    if document["better"] not in BETTER:
        raise UsageError(
            f"better of the manifest is {document['better']!r}; it must be {' or '.join(BETTER)}"
        )
    scale = document["scale"]
    if not isinstance(scale, list) or len(scale) != 2 or not all(map(_is_number, scale)):
        raise UsageError(f"scale of the manifest must be two numbers, not {scale!r}")
    if not isinstance(document["rows"], list):
        raise UsageError("rows of the manifest must be a list")
    _check_rows(document["rows"], [*COLUMNS, *columns_of_axes])


def _check_rows(rows: Sequence[Any], columns: Sequence[str]) -> None:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or row.keys() != set(columns):
            raise UsageError(
                f"row {number} of the manifest must be an object with the keys {_listed(columns)}"
            )
        for column in columns:
            value = row[column]
            if column == "mos":
                valid = _is_number(value)
            elif column.startswith(PREFIX):
                valid = value is None or _is_number(value)
            else:
                valid = is_text(value)
            if not valid:
                raise UsageError(f"row {number} of the manifest: {column} cannot be {value!r}")
    seen: set[str] = set()
    for row in rows:
        if row["id"] in seen:
            raise UsageError(f"the manifest has the id {row['id']!r} more than once")
        seen.add(row["id"])


def _is_number(value: Any) -> bool:
    """Whether a float can hold it, and it is finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # false for NaN, and for integers beyond any float


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names))
