"""Write a manifest as one ``.csv`` that `load_manifest` reads back unchanged."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from vqa_twostage.pipeline.datasets.manifest import COLUMNS, Manifest
from vqa_twostage.pipeline.datasets.own_table import AXES_COLUMN
from vqa_twostage.pipeline.files import write_text


def write_csv(manifest: Manifest, path: Path) -> None:
    """Write everything but the root, one row for each video. What describes the whole dataset is
    repeated in every row.
    """
    low, high = manifest.scale
    dataset_cells = {
        "dataset": manifest.name,
        "title": manifest.title,
        "label": manifest.label,
        "lowest": repr(low),
        "highest": repr(high),
        "better": manifest.better,
        "raw": "" if manifest.raw is None else str(manifest.raw),
    }
    if manifest.axes:
        dataset_cells[AXES_COLUMN] = ";".join(axis.to_text() for axis in manifest.axes)
    columns = [*COLUMNS, *(axis.column for axis in manifest.axes)]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*columns, *dataset_cells])
    for row in manifest.rows[columns].itertuples(index=False):
        writer.writerow([*map(_as_cell, row), *dataset_cells.values()])
    write_text(path, table.getvalue())


def _as_cell(value: str | float) -> str:
    if pd.isna(value):
        return ""
    return repr(float(value)) if isinstance(value, float) else value
