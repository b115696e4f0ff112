"""Datasets: a manifest TOML (or a plain CSV) and a label file in, one `Manifest` out.

``--dataset`` takes the name of a file in ``data_manifests/``, a path to such a ``.toml``, or a ``.csv`` with columns
``path,mos`` and optionally ``id,mos_std,group,split``. Every later step sees only the `Manifest`: one row a video.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import UsageError
from pipeline.raw import RawFormat

COLUMNS = ["id", "path", "mos", "mos_std", "group", "split"]


@dataclass(frozen=True)
class Manifest:
    """One row a video.

    ``rows`` has the columns ``id`` (str, unique), ``path`` (str, relative to ``root``), ``mos`` (float),
    ``mos_std`` (float or NaN), ``group`` (str: rows of one group never straddle a split) and ``split`` (str or "").
    ``scale`` is the range of the labels, and ``label`` what they are called wherever they are shown. ``raw`` is what
    the files are where they have no container (None for those that have one).
    """

    name: str
    title: str
    label: str
    scale: tuple[float, float]
    rows: pd.DataFrame
    root: Path | None = None
    raw: RawFormat | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """Of everything that can change a figure: the rows, the scale and the label, not where the videos lie."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        rows = self.rows[COLUMNS].astype(object).where(self.rows[COLUMNS].notna(), None)
        document = {
            "name": self.name,
            "title": self.title,
            "label": self.label,
            "scale": list(self.scale),
            "rows": rows.to_dict(orient="records"),
        }
        return json.dumps(document, indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Manifest:
        document = json.loads(text)
        rows = pd.DataFrame(document["rows"], columns=COLUMNS)
        rows[["mos", "mos_std"]] = rows[["mos", "mos_std"]].astype(float)
        low, high = document["scale"]
        return Manifest(document["name"], document["title"], document["label"], (low, high), rows)


def names() -> list[str]:
    """Names that ``--dataset`` knows: the files in ``data_manifests/``."""
    return sorted(path.stem for path in _manifest_folder().glob("*.toml"))


def load_manifest(dataset: str, root: Path | None = None) -> Manifest:
    """The manifest of ``dataset`` (a name, a ``.toml`` or a ``.csv``); UsageError names what is missing and the fix."""
    path = Path(dataset)
    if path.suffix == ".csv":
        return _from_csv(path, root)
    if path.suffix != ".toml":
        path = _manifest_folder() / f"{dataset}.toml"
        if dataset not in names():
            known = ", ".join(names())
            raise UsageError(
                f"unknown dataset {dataset!r}; choose from {known}, or give a .toml like those, or a .csv with "
                "the columns path,mos"
            )
    return _from_toml(path, root)


def describe(name: str) -> dict[str, Any]:
    """The manifest TOML of a known dataset as a dictionary, without touching the dataset itself."""
    return _read_toml(_manifest_folder() / f"{name}.toml")


def missing_files(manifest: Manifest) -> list[str]:
    """Paths of the manifest that are not there, in its order."""
    assert manifest.root is not None
    return [path for path in manifest.rows["path"] if not (manifest.root / path).is_file()]


def _from_csv(path: Path, root: Path | None) -> Manifest:
    table = _read_csv(path)
    _require_columns(path, table, ["path", "mos"])
    for column in ("id", "mos_std", "group", "split"):
        if column not in table:
            # without a group every video stands alone; its own path is the id
            table[column] = {"id": table["path"], "group": table.get("id", table["path"])}.get(column, "")
    rows = _checked(path, table, {column: column for column in COLUMNS})
    low, high = float(rows["mos"].min()), float(rows["mos"].max())
    return Manifest(path.stem, path.stem, "MOS", (low, high), rows, root or path.parent)


def _from_toml(path: Path, root: Path | None) -> Manifest:
    about = _read_toml(path)
    name = path.stem
    root = root or (Path(os.environ["VQA_DATA"]) / name if os.environ.get("VQA_DATA") else None)
    labels = about["labels"]
    advice = (
        f"{about['title']}: {about['obtain'].strip()}\nLay it out as\n{about['layout'].rstrip()}\nthen give --root DIR"
    )
    if root is None:
        raise UsageError(f"where are the videos of {name}? --root is not given and VQA_DATA is not set.\n{advice}")
    if not (root / labels["file"]).is_file():
        raise UsageError(f"{root / labels['file']} is missing.\n{advice}")
    label_file = root / labels["file"]
    table = _read_csv(label_file)
    source = dict(labels["columns"])
    _require_columns(label_file, table, list(source.values()))
    table["_path"] = [about["videos"]["path"].format_map(row) for row in table.to_dict(orient="records")]
    for column in ("id", "group"):
        source.setdefault(column, source.get("id", "_path"))
    for column in ("mos_std", "split"):
        if column not in source:
            table[f"_{column}"] = ""
            source[column] = f"_{column}"
    rows = _checked(label_file, table, {**source, "path": "_path"})
    low, high = about["scale"]
    return Manifest(name, about["title"], about["label"], (float(low), float(high)), rows, root)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; datasets with a manifest: {', '.join(names())}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # everything as text: ids keep their leading zeros and their 64 bits, and bad numbers can be named
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; give a .csv with the columns path,mos") from None
    except pd.errors.EmptyDataError:
        raise UsageError(f"{path} is empty; give a .csv with the columns path,mos") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as CSV in UTF-8: {error}") from None


def _require_columns(path: Path, table: pd.DataFrame, wanted: list[str]) -> None:
    lacking = [column for column in wanted if column not in table]
    if lacking:
        raise UsageError(f"{path} has no column {', '.join(lacking)}; it has {', '.join(table.columns)}")
    if table.empty:
        raise UsageError(f"{path} has a header and no rows")


def _checked(path: Path, table: pd.DataFrame, source: dict[str, str]) -> pd.DataFrame:
    """The six manifest columns of ``table``, typed; UsageError with file, row and column where a value is wrong."""
    rows = pd.DataFrame({column: table[source[column]].astype(str).str.strip() for column in COLUMNS})
    for column in ("mos", "mos_std"):
        text = rows[column]
        numbers = pd.to_numeric(text, errors="coerce")
        required = (text != "") | (column == "mos")
        wrong = np.flatnonzero(required & ~np.isfinite(numbers))
        if len(wrong):
            row = int(wrong[0])
            raise UsageError(
                f"{path}, row {row + 2}, column {source[column]}: {text.iloc[row]!r} is not a number"
                + (f" ({len(wrong)} such rows)" if len(wrong) > 1 else "")
            )
        rows[column] = numbers.astype(float)
    for column in ("id", "path"):
        empty = np.flatnonzero(rows[column] == "")
        if len(empty):
            raise UsageError(f"{path}, row {int(empty[0]) + 2}: {column} is empty")
    twice = np.flatnonzero(rows["id"].duplicated())
    if len(twice):
        row = int(twice[0])
        first = int(np.flatnonzero(rows["id"] == rows["id"].iloc[row])[0])
        raise UsageError(f"{path}: id {rows['id'].iloc[row]!r} stands in row {first + 2} and again in row {row + 2}")
    rows["group"] = rows["group"].where(rows["group"] != "", rows["id"])
    return rows


def _manifest_folder() -> Path:
    package = importlib.util.find_spec("data_manifests")
    assert package is not None and package.submodule_search_locations, "data_manifests is part of the installation"
    return Path(next(iter(package.submodule_search_locations)))
