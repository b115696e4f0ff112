"""Datasets: a manifest TOML (or a plain CSV) and label files in, one `Manifest` out.

``--dataset`` takes the name of a file in ``data_manifests/``, a path to such a ``.toml``, or a
``.csv`` with columns ``path,mos`` and optionally ``id,mos_std,group,split``. Every later step sees
only the `Manifest`: one row a video.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from vqa_twostage.pipeline.datasets.file_index import Tree, without_extension
from vqa_twostage.pipeline.datasets.label_files import Table, read_table
from vqa_twostage.pipeline.datasets.locate import locate
from vqa_twostage.pipeline.datasets.rows import ANYTHING, NUMBER, Row, check_unique, read_rows
from vqa_twostage.pipeline.datasets.schema import (
    About,
    LabelFile,
    Layout,
    Release,
    manifest_folder,
    names,
    read_about,
)
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.raw_format import RawFormat, parse_raw_format

COLUMNS = ["id", "path", "mos", "mos_std", "group", "split"]
# of the whole dataset, in each row of an exported .csv alike
OF_ALL = ["dataset", "title", "label", "lowest", "highest", "better", "raw"]
SENSIBLE = {
    "dataset": r"[^./\\][^/\\]*",
    "lowest": NUMBER.pattern,
    "highest": NUMBER.pattern,
    "better": "higher|lower",
}


@dataclass(frozen=True)
class Manifest:
    """One row a video.

    ``rows`` has the columns ``id`` (str, unique), ``path`` (str, relative to ``root``), ``mos``
    (float), ``mos_std`` (float or NaN), ``group`` (str: rows of one group never straddle a split)
    and ``split`` (str or ""). ``scale`` is the range of the labels, ``label`` what they are called
    wherever they are shown, and ``better`` which end of the range is ("higher" or "lower"). ``raw``
    is what the files are where they have no container (None for those that have one). ``layout`` is
    how the videos lie, and ``notes`` what is to be said of the rows.
    """

    name: str
    title: str
    label: str
    scale: tuple[float, float]
    rows: pd.DataFrame
    root: Path | None = None
    raw: RawFormat | None = None
    better: str = "higher"
    layout: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """Of everything that can change a figure: the rows, the scale and the label, not where the
        videos lie.
        """
        document = {key: value for key, value in self._document().items() if key != "better"}
        return hashlib.sha256(json.dumps(document, indent=1, sort_keys=True).encode()).hexdigest()[
            :16
        ]

    def to_json(self) -> str:
        return json.dumps(self._document(), indent=1, sort_keys=True)

    def _document(self) -> dict[str, object]:
        rows = self.rows[COLUMNS].astype(object).where(self.rows[COLUMNS].notna(), None)
        return {
            "name": self.name,
            "title": self.title,
            "label": self.label,
            "scale": list(self.scale),
            "better": self.better,
            "rows": rows.to_dict(orient="records"),
        }

    @staticmethod
    def from_json(text: str) -> Manifest:
        document = json.loads(text)
        rows = pd.DataFrame(document["rows"], columns=COLUMNS)
        rows[["mos", "mos_std"]] = rows[["mos", "mos_std"]].astype(float)
        low, high = document["scale"]
        better = document.get("better", "higher")
        return Manifest(
            document["name"], document["title"], document["label"], (low, high), rows, better=better
        )


def load_manifest(dataset: str, root: Path | None = None) -> Manifest:
    """The manifest of ``dataset`` (a name, a ``.toml`` or a ``.csv``); UsageError names what is
    missing and the fix.

    ``NAME:layout=LAYOUT`` looks for the videos in one of a dataset's layouts alone.
    """
    path = Path(dataset)
    if path.suffix.lower() == ".csv":
        return _from_csv(path, root)
    dataset, _, layout = dataset.partition(":layout=")
    return _from_toml(toml_of(dataset), root, layout)


def toml_of(dataset: str) -> Path:
    """The TOML that ``dataset`` (a name or a path) stands for; UsageError for an unknown name."""
    if dataset.lower().endswith(".toml"):
        return Path(dataset)
    if dataset not in names():
        raise UsageError(
            f"unknown dataset {dataset!r}; choose from {', '.join(names())}, or give a .toml like "
            "those, or a .csv "
            "with the columns path,mos"
        )
    return manifest_folder() / f"{dataset}.toml"


def described(name: str) -> dict[str, Any]:
    """What ``vqa-data list`` tells of a known dataset, without touching the dataset itself."""
    about = read_about(toml_of(name))
    return {
        "name": name,
        "title": about.title,
        "videos": about.releases[0].videos if about.releases else 0,
        "label": about.label,
        "scale": list(about.scale),
        "better": about.better,
        "splits": about.splits,
        "grouped": any("group" in label.columns for label in about.labels),
        "layouts": {layout.name: list(layout.videos) for layout in about.layouts},
        "homepage": about.homepage,
        "citation": about.citation,
        "licence": about.licence,
    }


def releases_of(dataset: str) -> tuple[Release, ...]:
    """Known releases of a dataset; none of a .csv."""
    return (
        ()
        if dataset.lower().endswith(".csv")
        else read_about(toml_of(dataset.partition(":layout=")[0])).releases
    )


def missing_files(manifest: Manifest) -> list[str]:
    """Paths of the manifest that are not there, in its order."""
    assert manifest.root is not None
    return [path for path in manifest.rows["path"] if not os.path.isfile(manifest.root / path)]


def _from_csv(path: Path, root: Path | None) -> Manifest:
    require(path.exists(), f"{path} does not exist; give a .csv with the columns path,mos")
    root = root or path.parent
    require(
        root.is_dir(),
        f"--root {root} {'is no folder' if root.exists() else 'does not exist'}; give the videos'",
    )
    plain = LabelFile((path.name,), {"id": "path", "path": "path", "mos": "mos"})
    table = read_table(path, plain, ["path", "mos"])
    exported = set(OF_ALL) <= table.columns.keys()
    if exported:
        table = read_table(path, plain, ["path", "mos"], as_is=True)
    given = {
        column: column for column in ("id", "mos_std", "group", "split") if column in table.columns
    }
    rows, _ = read_rows(table, replace(plain, columns=plain.columns | given), strip=False)
    check_unique(rows)
    if exported:  # where a missing video may lie in one of several folders, a star stands for them
        rows = [
            replace(row, names={**row.names, "path": row.names["path"].replace("*", ANYTHING)})
            for row in rows
        ]
    located = locate(Tree(root), rows, [Layout("", ("{path}",), extension="")])
    of_all = {name: _of_all(table, name) for name in OF_ALL if exported}
    labels = [row.mos for row in rows]
    low, high = (
        float(of_all.get(end, extreme(labels)))
        for end, extreme in (("lowest", min), ("highest", max))
    )
    name = of_all.get("dataset", path.stem)
    raw = parse_raw_format(of_all["raw"], str(path)) if of_all.get("raw") else None
    told = of_all.get("title", name), of_all.get("label", "MOS")
    better = of_all.get("better", "higher")
    notes = () if exported else _notes_on_csv(table, (low, high))
    return Manifest(
        name, *told, (low, high), _frame(rows, located.paths), root, raw, better, notes=notes
    )


def _notes_on_csv(table: Table, scale: tuple[float, float]) -> tuple[str, ...]:
    """What a plain .csv leaves to guess: a misspelt column would otherwise pass for none."""
    known = ("path", "mos", "id", "mos_std", "group", "split")
    unused = [column for column in table.columns if column not in known]
    said = (
        [f"columns not used: {', '.join(unused)}; known are {', '.join(known)}"] if unused else []
    )
    if "group" not in table.columns:
        said.append("no column group: each video is a content of its own")
    said.append(
        f"the scale is that of the labels, {scale[0]:g} to {scale[1]:g}; a .toml can say another"
    )
    return tuple(said)


def _of_all(table: Table, column: str) -> str:
    """What an exported manifest says of all its rows; UsageError where it says several things."""
    cells = table.columns[column]
    other = next((row for row, cell in enumerate(cells) if cell != cells[0]), None)
    if other is not None:
        raise table.wrong(
            other,
            column,
            f"{cells[other]!r} here and {cells[0]!r} above; it must be the same in all rows",
        )
    if column in SENSIBLE and not re.fullmatch(SENSIBLE[column], cells[0]):
        raise table.wrong(
            0, column, f"{cells[0]!r} is not understood; take the file as vqa-data export wrote it"
        )
    return cells[0]


def _from_toml(path: Path, root: Path | None, chosen: str) -> Manifest:
    about, name = read_about(path), path.stem
    layouts = [layout for layout in about.layouts if chosen in ("", layout.name)]
    known = ", ".join(layout.name for layout in about.layouts)
    require(bool(layouts), f"{name} has no layout {chosen!r}; choose from {known}")
    root = root or (Path(os.environ["VQA_DATA"]) / name if os.environ.get("VQA_DATA") else None)
    if root is None:
        raise UsageError(
            f"where are the videos of {name}? --root is not given and VQA_DATA is not "
            f"set.\n{advice(about)}"
        )
    require(
        root.is_dir(),
        f"{root} {'is no folder' if root.exists() else 'does not exist'}.\n{advice(about)}",
    )
    tree = Tree(root)
    rows: list[Row] = []
    notes: list[str] = []
    for label in about.labels:
        table = read_table(
            _label_file(tree, label, about), label, list(dict.fromkeys(label.columns.values()))
        )
        read, said = read_rows(table, label)
        rows += read
        notes += said
    check_unique(rows)
    require(
        bool(rows), f"{root}: no row of {name} has a label; take another copy of its label file"
    )
    located = locate(tree, rows, layouts)
    frame = _frame(rows, located.paths)
    return Manifest(
        *(name, about.title, about.label, about.scale, frame, root, about.raw, about.better),
        layout=located.layout,
        notes=tuple(notes),
    )


def _label_file(tree: Tree, label: LabelFile, about: About) -> Path:
    found = list(dict.fromkeys(path for pattern in label.file for path in tree.files(pattern)))
    require(bool(found), f"{tree.root / label.file[0]} is missing.\n{advice(about)}")
    listed = ", ".join(found)
    require(
        len(found) == 1,
        f"{tree.root} has {len(found)} label files: {listed}; move all but one of them elsewhere",
    )
    return tree.root / found[0]


def advice(about: About) -> str:
    """Where a dataset comes from and how it lies on disk, for people."""
    lines = [f"{about.title}: {about.obtain.strip()}".rstrip(": "), "Lay it out as"]
    lines += [f"  DIR/{label.file[0]}" for label in about.labels]
    columns = {
        name: f"<{column}>" for label in about.labels for name, column in label.columns.items()
    }
    for number, layout in enumerate(about.layouts):
        others = {
            name: f"<{name}>"
            for label in about.labels
            for name in (*label.part_names, *label.constant)
        }
        path = without_extension(layout.videos[0].format_map(others | columns))
        lines.append(
            f"  DIR/{path}{layout.extension}" + ("   or" if number + 1 < len(about.layouts) else "")
        )
    return "\n".join([*lines, "then give --root DIR"])


def _frame(rows: list[Row], paths: list[str]) -> pd.DataFrame:
    of_row = [
        (row.id, path, row.mos, row.mos_std, row.group, row.split)
        for row, path in zip(rows, paths, strict=True)
    ]
    return pd.DataFrame(of_row, columns=COLUMNS)
