"""A manifest as one ``.csv`` that `load_manifest` reads back: exactly what a study used."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from vqa_twostage.pipeline.datasets.loading import DATASET_COLUMNS
from vqa_twostage.pipeline.datasets.manifest import COLUMNS, Manifest
from vqa_twostage.pipeline.files import write_text


def write_csv(manifest: Manifest, path: Path) -> None:
    """All of a manifest but its root, in one step: a row a video; what is said of the whole dataset
    is in every row.
    """
    (low, high), raw = manifest.scale, str(manifest.raw or "")
    of_all = [
        manifest.name,
        manifest.title,
        manifest.label,
        repr(low),
        repr(high),
        manifest.better,
        raw,
    ]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*COLUMNS, *DATASET_COLUMNS])
    for row in manifest.rows[COLUMNS].itertuples(index=False):
        cells = [repr(float(cell)) if isinstance(cell, float) else cell for cell in row]
        writer.writerow(
            ["" if pd.isna(number) else cell for cell, number in zip(cells, row, strict=True)]
            + of_all
        )
    write_text(path, table.getvalue())
