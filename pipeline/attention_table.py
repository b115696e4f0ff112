"""``attention.csv`` of a run: how much each frame counts. Stage two writes it, a sampler reads it.

One row a frame: ``id``, ``timestamp`` (seconds), ``spatial`` and ``temporal`` (1 in all for a
video) and ``importance``, their mean.
"""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

if TYPE_CHECKING:  # the sampler reads without pandas
    import pandas as pd

FILE = "attention.csv"
COLUMNS = ("id", "timestamp", "spatial", "temporal", "importance")

# seconds, importance
Curve = tuple[Float64[np.ndarray, " frames"], Float64[np.ndarray, " frames"]]


def to_csv(table: pd.DataFrame) -> str:
    """The text of the file, of a table with the columns `COLUMNS`."""
    return table[list(COLUMNS)].to_csv(index=False)


def importance_curves(data: bytes) -> dict[str, Curve]:
    """Of each video the importance over time; ValueError where the file is damaged."""
    points: dict[str, list[tuple[float, float]]] = {}
    try:
        for row in csv.DictReader(StringIO(data.decode())):
            point = float(row["timestamp"]), float(row["importance"])
            points.setdefault(row["id"], []).append(point)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a column is missing: {error}") from None
    curves = {name: np.array(sorted(of_video)).T for name, of_video in points.items()}
    for name, curve in curves.items():
        if not np.isfinite(curve).all() or curve[1].min() < 0:
            raise ValueError(f"the importance of {name!r} is not a number of 0 or more")
    return {name: (curve[0], curve[1]) for name, curve in curves.items()}
