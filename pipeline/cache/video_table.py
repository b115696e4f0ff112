"""The table of videos in a track: of each its rows, attributes and the checksums of its arrays.

Dimensions: V videos, A arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt64

from vqa_twostage.pipeline.checksum import ENCODED, checksum
from vqa_twostage.pipeline.features import VideoAttributes

# texts have a fixed width in bytes, a multiple of this; a longer text makes the table wider
WIDTH = 16
ID, FIRST_ROW, ROWS, DIGESTS, CHECKSUM = "id", "first_row", "rows", "digests", "checksum"
TEXTS = tuple(field.name for field in fields(VideoAttributes) if field.type == "str")

# one entry a video, of the type that `table_dtype` gives
Table = np.ndarray


def table_dtype(arrays: int, widths: Mapping[str, int]) -> np.dtype[Any]:
    """The type of an entry for a track of A arrays, where a text has ``widths`` bytes at most."""
    kinds = {"int": "<i8", "float": "<f8"}

    def text(name: str) -> str:
        return f"S{max(1, -(-widths.get(name, 1) // WIDTH)) * WIDTH}"

    attributes = [
        (field.name, kinds.get(str(field.type)) or text(field.name))
        for field in fields(VideoAttributes)
    ]
    return np.dtype(
        [
            (ID, text(ID)),
            (FIRST_ROW, "<i8"),
            (ROWS, "<i8"),
            *attributes,
            (DIGESTS, "<u8", (arrays,)),
            (CHECKSUM, "<u8"),
        ]
    )


def widths_of(dtype: np.dtype[Any]) -> dict[str, int]:
    """How many bytes its texts can have."""
    return {name: dtype[name].itemsize for name in (ID, *TEXTS)}


@dataclass(frozen=True)
class Entry:
    """One video: its rows begin with ``first_row``; ``digests`` are the checksums of its arrays."""

    id: str
    first_row: int
    rows: int
    attributes: VideoAttributes
    digests: tuple[int, ...]


def table_of(entries: Sequence[Entry], at_least: Mapping[str, int]) -> Table:
    """The entries as a table, whose texts are at least so many bytes wide."""
    plain = [entry.attributes.to_plain() for entry in entries]
    columns = {name: [values[name] for values in plain] for name in plain[0]}
    columns[ID] = [entry.id for entry in entries]
    texts = {
        name: [str(text).encode("utf-8", "surrogateescape") for text in columns[name]]
        for name in (ID, *TEXTS)
    }
    widths = {name: max(at_least.get(name, 1), *map(len, values)) for name, values in texts.items()}
    table = np.zeros(len(entries), table_dtype(len(entries[0].digests), widths))
    for name, values in {**columns, **texts}.items():
        table[name] = values
    table[FIRST_ROW] = [entry.first_row for entry in entries]
    table[ROWS] = [entry.rows for entry in entries]
    table[DIGESTS] = [entry.digests for entry in entries]
    table[CHECKSUM] = checksums(table)
    return table


def checksums(table: Table) -> UInt64[np.ndarray, " V"]:
    """Of each entry, the checksum of its bytes before the field ``checksum``."""
    size = table.dtype.itemsize
    data = memoryview(table.tobytes())
    starts = range(0, len(data), size)
    return np.array([checksum(data[at : at + size - ENCODED.size]) for at in starts], np.uint64)


def sound_entries(table: Table, rows: int) -> Bool[np.ndarray, " V"]:
    """Which entries are as they were written, and of rows that a track of ``rows`` rows has."""
    first, count = table[FIRST_ROW], table[ROWS]
    inside = (first >= 0) & (count >= 0) & (first <= rows) & (count <= rows - first)
    return (checksums(table) == table[CHECKSUM]) & inside


def ids_of(table: Table) -> list[str]:
    return [name.decode("utf-8", "surrogateescape") for name in table[ID].tolist()]


def attributes_of(entry: np.void) -> VideoAttributes:
    values = {field.name: entry[field.name] for field in fields(VideoAttributes)}
    texts = {name: bytes(values[name]).decode("utf-8", "surrogateescape") for name in TEXTS}
    return VideoAttributes.from_plain({**values, **texts})


def sources_of(table: Table) -> Iterator[tuple[int, int, str]]:
    """Size, time of change (ns) and digest of each video's file."""
    digests = (digest.decode() for digest in table["source_digest"].tolist())
    return zip(
        table["source_size"].tolist(), table["source_mtime_ns"].tolist(), digests, strict=True
    )


def widened(table: Table, at_least: np.dtype[Any]) -> Table:
    """The same entries, whose texts are at least as wide as those of the type ``at_least``."""
    had, wanted = widths_of(table.dtype), widths_of(at_least)
    widths = {name: max(had[name], wanted[name]) for name in had}
    wide = np.zeros(len(table), table_dtype(table.dtype[DIGESTS].shape[0], widths))
    for name in wide.dtype.names or ():
        wide[name] = table[name]
    wide[CHECKSUM] = checksums(wide)
    return wide
