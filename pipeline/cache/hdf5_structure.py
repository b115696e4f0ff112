"""HDF5's part of a track: what the HDF5 library says of it, asked in another process.

Damage can crash that library, and files may come from strangers. Reading needs none of this; it
tells damaged tracks from other files, compares the structure with the index, and gives the index
back where that is damaged.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vqa_twostage.pipeline.cache.track_index import (
    FORMAT,
    FORMAT_VERSION,
    OFFSET,
    TABLE,
    Column,
    TrackIndex,
    described,
    dtype_of,
)
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.processes import CrashError, call_apart

# of the table of videos: the names of the arrays, in the order of their checksums
ARRAYS = "arrays"
CREATED, IDENTITY = "created", "identity"
# what h5py raises of a damaged file, and Python of what such a file says
FAULTS = (
    *(OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError),
    *(ArithmeticError, MemoryError, RecursionError),
)
# seconds for a file that makes the HDF5 library go round in circles
TIMEOUT_S = 60.0
OWN = {"format", "format_version", IDENTITY, CREATED}


class DamagedStructureError(Exception):
    """HDF5's part of a file cannot be read, or is not that of a track."""


def read_structure(path: Path) -> TrackIndex:
    """The index as HDF5's part of a track has it; DamagedStructureError where it cannot be read."""
    try:
        return call_apart(_read_structure, path, timeout=TIMEOUT_S)
    except CrashError as error:
        raise DamagedStructureError(str(error)) from None


def is_track(path: Path) -> bool:
    """Whether HDF5's part names the file a track, or is too damaged to tell."""
    return _format(path) in (FORMAT, None)


def is_development_format(path: Path) -> bool:
    """Whether the file is a track of a format before the first: with a group for each video."""
    return _format(path) == "development"


def _format(path: Path) -> str | None:
    """``vqa-features``, ``development``, another text; empty for no HDF5 file at all."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            return ""
    try:
        return call_apart(_read_format, path, timeout=TIMEOUT_S)
    except CrashError:
        return None


def _read_format(path: Path) -> str | None:
    try:
        with h5py.File(path, "r", locking=False) as file:
            text = _text(file.attrs.get("format", "another program's"))
            if text == FORMAT and isinstance(file.get(TABLE, getclass=True), type):
                groups = file.get(TABLE, getclass=True) is h5py.Group
                return "development" if groups else text
            return text
    except FAULTS:
        return None


def _read_structure(path: Path) -> TrackIndex:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return structure_of(file)
    except (*FAULTS, UsageError) as error:
        raise DamagedStructureError(str(error)) from None


def structure_of(file: h5py.File) -> TrackIndex:
    """The index of an open file; an exception of many kinds where it is no track."""
    given = {name: _text(value) for name, value in file.attrs.items() if name != "format_version"}
    if given["format"] != FORMAT or file.attrs["format_version"] != FORMAT_VERSION:
        raise ValueError("it is no track of this version")
    identity = TrackIdentity.from_json(json.loads(given[IDENTITY]), "its identity")
    provenance = {name: text for name, text in given.items() if name not in OWN}
    empty = TrackIndex(identity, given[CREATED], provenance)
    if TABLE not in file:
        return empty
    table = _dataset(file, TABLE)
    names = json.loads(table.attrs[ARRAYS])
    columns = tuple(column_of(name, _dataset(file, name)) for name in names)
    rows = {len(file[column.name]) for column in columns}
    if len(rows) != 1:
        raise ValueError(f"its arrays have {sorted(rows)} rows")
    return TrackIndex(
        identity,
        empty.created,
        provenance,
        len(table),
        rows.pop(),
        column_of(TABLE, table),
        columns,
    )


def _text(value: Any) -> str:
    """An attribute's value: HDF5 has texts of a fixed and of a variable length."""
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """ValueError for anything else, links to other files among it, and for one that claims more
    than the file can hold.
    """
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:count]), getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name} is a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape:
        raise ValueError(f"{name} is no array")
    claimed = dataset.dtype.itemsize * math.prod(dataset.shape)
    if dataset.chunks is not None and claimed > file.id.get_filesize():
        raise ValueError(f"{name} has {dataset.shape} values, and the file has no room for them")
    return dataset


def column_of(name: str, dataset: h5py.Dataset, known: Column | None = None) -> Column:
    """Where the chunks of a dataset lie, those that ``known`` has not asked for again; ValueError
    for a dataset that is not plain rows of chunks.
    """
    plain = dataset.chunks is not None and not (dataset.is_virtual or dataset.external)
    shape = tuple(int(length) for length in dataset.shape[1:])
    if not plain or dataset.chunks[1:] != shape or dataset.id.get_create_plist().get_nfilters():
        raise ValueError(f"{name} is not stored as plain chunks of rows")
    chunk_rows = int(dataset.chunks[0])
    offsets = np.full(-(-len(dataset) // chunk_rows), -1, OFFSET)
    have = 0 if known is None else len(known.chunks)
    if known is None:
        dataset.id.chunk_iter(partial(_note_chunk, offsets, chunk_rows))
    else:
        offsets[:have] = known.chunks
        for chunk in range(have, len(offsets)):
            place = (chunk * chunk_rows, *(0 for _ in shape))
            offsets[chunk] = dataset.id.get_chunk_info_by_coord(place).byte_offset
    dtype = dtype_of(described(dataset.dtype))
    return Column(name, dtype, shape, chunk_rows, offsets)


def _note_chunk(offsets: np.ndarray, chunk_rows: int, chunk: Any) -> None:
    offsets[chunk.chunk_offset[0] // chunk_rows] = chunk.byte_offset
