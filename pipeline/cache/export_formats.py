"""How an exported track is written: as .npz, as a folder of .npy files, as .parquet.

An .npz is that folder in one file. Reading them back is in `pipeline/cache/exported_files.py`.

Dimensions: N videos, R rows in all: sampled frames, or one a video where they are pooled.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZipFile, ZipInfo

import numpy as np
from jaxtyping import Int64

from vqa_twostage.pipeline.errors import require_installed
from vqa_twostage.pipeline.files import new_folder, replaced

FORMAT, FORMAT_VERSION = "vqa-features-export", 1
# what a file holds beside the arrays of features, whose names all have a slash
ABOUT, IDS, START = "about", "ids", "start"
# the column of a table that says whose a row is
ID = "id"
# an array's name becomes that of a file and of an HDF5 dataset: no part of it leaves its folder
SAFE_NAME = re.compile(r"(?=.{3,255}$)[\w+@-][\w.+@-]*(/[\w+@-][\w.+@-]*)+")


class Rows(NamedTuple):
    """An array with a row for each frame: its name, the type of its numbers, the shape of a row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file is to hold.

    ``about``: JSON in ASCII. ``videos``: ids and labels, by name, each [N]. ``start``: the first
    row of each video, and R at the end. ``blocks``: the videos that are read at a time, from first
    to before last. ``read(name, first, last)`` gives the rows of these videos.
    """

    about: str
    videos: Mapping[str, np.ndarray]
    start: Int64[np.ndarray, " starts"]
    pooled: bool
    columns: Sequence[Rows]
    blocks: Sequence[tuple[int, int]]
    read: Callable[[str, int, int], np.ndarray]


def write_npz(path: Path, contents: Contents) -> None:
    """Writes one file, in one step; equal contents give equal files."""
    with replaced(path) as aside, ZipFile(aside, "w") as archive:
        # ZipInfo has no time of day, and an array may have more than 4 GB
        _write_arrays(
            contents, lambda name: archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True)
        )


def write_npy(path: Path, contents: Contents) -> None:
    """Writes a folder, in one step."""
    with new_folder(path) as aside:

        def opened(name: str) -> IO[bytes]:
            file = aside / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            return file.open("wb")

        _write_arrays(contents, opened)


def _write_arrays(contents: Contents, opened: Callable[[str], IO[bytes]]) -> None:
    small = {ABOUT: np.array(contents.about.encode("ascii")), **contents.videos}
    if not contents.pooled:
        small[START] = contents.start
    for name, array in small.items():
        with opened(name) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)
    rows = int(contents.start[-1])
    for column in contents.columns:
        header = {
            "descr": np.lib.format.dtype_to_descr(column.dtype),
            "fortran_order": False,
            "shape": (rows, *column.shape),
        }
        with opened(column.name) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for first, last in contents.blocks:
                block = np.ascontiguousarray(contents.read(column.name, first, last))
                file.write(block.reshape(-1).view(np.uint8).data)


def write_parquet(path: Path, contents: Contents) -> None:
    """Writes one table, in one step: a row for each frame, or for each video where they are pooled.

    UsageError where pyarrow is not installed.
    """
    require_installed("--to parquet", ["pyarrow"], "parquet")
    import pyarrow
    from pyarrow import parquet

    tables = _tables(contents)
    first = next(tables)
    schema = first.schema.with_metadata({ABOUT: contents.about})
    # features repeat too seldom for dictionaries, which take half of the time
    texts = [field.name for field in schema if pyarrow.types.is_string(field.type)]
    with (
        replaced(path) as aside,
        parquet.ParquetWriter(str(aside), schema, use_dictionary=texts) as writer,
    ):
        for table in itertools.chain([first], tables):
            writer.write_table(pyarrow.table(table.columns, schema=schema))


def _tables(contents: Contents) -> Iterator[Any]:
    import pyarrow

    for first, last in contents.blocks:
        lengths = np.diff(contents.start[first : last + 1])
        columns = {
            ID if name == IDS else name: pyarrow.array(np.repeat(array[first:last], lengths))
            for name, array in contents.videos.items()
        }
        for column in contents.columns:
            rows = contents.read(column.name, first, last)
            numbers = pyarrow.array(rows.reshape(-1))
            columns[column.name] = numbers
            if column.shape:  # a row of a map lies flat; `about` has its shape
                columns[column.name] = pyarrow.FixedSizeListArray.from_arrays(
                    numbers, int(np.prod(column.shape))
                )
        yield pyarrow.table(columns)


class ExportFormat(NamedTuple):
    """How a format is written, and how its files' names end."""

    suffix: str
    write: Callable[[Path, Contents], None]


FORMATS = {
    "npz": ExportFormat(".npz", write_npz),
    "npy": ExportFormat("", write_npy),
    "parquet": ExportFormat(".parquet", write_parquet),
}
