"""The index of a track: where in its file the rows of each array lie.

A track is an HDF5 file, and behind HDF5's part of it stands the index, with its checksum. Reading
needs the index alone: it takes no HDF5 library, which damage could crash, and every byte that is
used has been tested. HDF5's own structure says the same a second time, for other programs, for
writing, and for repairing a file whose index is damaged. `docs/cache_format.md` is normative.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from vqa_twostage.pipeline.checksum import checksum
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity

FORMAT = "vqa-features"
FORMAT_VERSION = 1
MAGIC = b"VQAINDEX"
# the magic, the index's bytes, those of its first part, and its checksum; the last bytes of a track
TRAILER = struct.Struct("<8sQQQ")
OFFSET = np.dtype("<i8")
# names in HDF5's part and in the index: the table of videos, the arrays of features, and what every
# track has of its frames
TABLE, FEATURES = "videos", "features/"
FRAME_INDEX, TIMESTAMP = OF_FRAMES = ("frame_index", "timestamp")
# of numbers and texts as `described` writes them; NumPy understands far more
PLAIN_DTYPE = re.compile(r"[<|][fiuS][1-9][0-9]{0,5}")
DTYPES = {FRAME_INDEX: ("<i8",), TIMESTAMP: ("<f8",)}
DTYPES_OF_FEATURES = ("<f2", "<f4")


class DamagedIndexError(Exception):
    """A file whose last bytes are no index, or not the one that was written."""


@dataclass(frozen=True, eq=False)
class Column:
    """A chunked array of a track: row after row of all videos, or the table of videos.

    ``name`` is its path in HDF5's part, ``shape`` of one row, ``chunks`` the offset in the file of
    each chunk of ``chunk_rows`` rows.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk_rows: int
    chunks: Int64[np.ndarray, " chunks"]

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)

    def extents(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Offset and bytes of each piece of the rows from ``first`` to before ``last``."""
        row = first
        while row < last:
            chunk, within = divmod(row, self.chunk_rows)
            stop = min(last, (chunk + 1) * self.chunk_rows)
            yield (
                int(self.chunks[chunk]) + within * self.row_bytes,
                (stop - row) * self.row_bytes,
            )
            row = stop

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": described(self.dtype),
            "shape": list(self.shape),
            "chunk_rows": self.chunk_rows,
            "chunks": len(self.chunks),
        }


@dataclass(frozen=True)
class TrackIndex:
    """What a track is and where its arrays lie; it holds ``videos`` videos on ``rows`` rows.

    Until the first video is written ``table`` is None and there are no ``columns``.
    """

    identity: TrackIdentity
    created: str
    provenance: Mapping[str, str]
    videos: int = 0
    rows: int = 0
    table: Column | None = None
    columns: tuple[Column, ...] = ()

    @property
    def all_columns(self) -> tuple[Column, ...]:
        return self.columns if self.table is None else (self.table, *self.columns)

    def to_bytes(self) -> bytes:
        """The index and its trailer."""
        head = json.dumps(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "identity": self.identity.to_json(),
                "created": self.created,
                "provenance": dict(sorted(self.provenance.items())),
                "videos": self.videos,
                "rows": self.rows,
                "columns": [column.to_json() for column in self.all_columns],
            }
        ).encode()
        offsets = [column.chunks.astype(OFFSET).tobytes() for column in self.all_columns]
        index = head + b"".join(offsets)
        return index + TRAILER.pack(MAGIC, len(index), len(head), checksum(index))

    @classmethod
    def from_bytes(cls, index: bytes, head_bytes: int, hdf5_bytes: int) -> TrackIndex:
        """The index before its trailer; ``hdf5_bytes`` is the size of what lies before it.

        DamagedIndexError where it cannot be the index of such a file, UsageError for one of a newer
        format.
        """
        try:
            document = json.loads(index[:head_bytes])
            if document["format"] != FORMAT:
                raise DamagedIndexError(f"its format is not {FORMAT!r}")
            if document["format_version"] != FORMAT_VERSION:
                raise UsageError(
                    f"it has format version {document['format_version']}, and this program reads "
                    f"{FORMAT_VERSION}; update the program, or extract again into another --cache"
                )
            columns = tuple(_columns(document["columns"], memoryview(index)[head_bytes:]))
            provenance = {str(name): str(text) for name, text in document["provenance"].items()}
            named = {column.name: column for column in columns}
            if len(named) < len(columns) or (named and not {TABLE, *OF_FRAMES} <= named.keys()):
                raise ValueError(f"its arrays are {', '.join(column.name for column in columns)}")
            found = cls(
                TrackIdentity.from_json(document["identity"], "its identity"),
                str(document["created"]),
                provenance,
                _count(document["videos"]),
                _count(document["rows"]),
                named.pop(TABLE, None),
                tuple(named.values()),
            )
            found.check(hdf5_bytes)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamagedIndexError(f"it makes no sense ({error})") from None
        return found

    def check(self, hdf5_bytes: int) -> None:
        """ValueError unless every row lies inside of HDF5's part: files may come from strangers."""
        counts = {TABLE: self.videos}
        if any(column.shape for column in self.all_columns if column.name in {TABLE, *OF_FRAMES}):
            raise ValueError("its frames have several numbers or times")
        claimed = 0
        for column in self.columns:
            _check_column(column)
        for column in self.all_columns:
            chunk = column.chunk_rows * column.row_bytes
            claimed += chunk * len(column.chunks)
            rows = counts.get(column.name, self.rows)
            inside = 0 <= rows <= len(column.chunks) * column.chunk_rows
            starts = column.chunks
            if not (inside and chunk > 0 and (starts >= 0).all()):
                raise ValueError(f"{column.name} has {rows} rows")
            if len(starts) and int(starts.max()) + chunk > hdf5_bytes:
                raise ValueError(f"{column.name} lies beyond the end of the file")
        if claimed > hdf5_bytes or (self.videos and self.table is None):
            raise ValueError("its arrays do not fit the file")


def described(dtype: np.dtype[Any]) -> str | list[tuple[Any, ...]]:
    """A type as `numpy.dtype` takes it, without what libraries attach to it."""
    if dtype.names is None:
        return dtype.str
    fields = {name: dtype[name] for name in dtype.names}
    return [
        (name, field.base.str, *([list(field.shape)] if field.shape else []))
        for name, field in fields.items()
    ]


def _check_column(column: Column) -> None:
    level, _, statistic = column.name.removeprefix(FEATURES).rpartition("/")
    named = column.name in OF_FRAMES or (column.name.startswith(FEATURES) and level and statistic)
    if not named or column.dtype.str not in DTYPES.get(column.name, DTYPES_OF_FEATURES):
        raise ValueError(f"it has no array {column.name!r} of {column.dtype}")


def _count(value: Any) -> int:
    """ValueError unless it is how many there are of something."""
    if type(value) is not int or not 0 <= value <= sys.maxsize:
        raise ValueError(f"{value!r} is no number of anything")
    return value


def _columns(described: list[Any], offsets: memoryview) -> Iterator[Column]:
    place = 0
    for item in described:
        kind = item["dtype"]
        dtype = dtype_of(kind)
        kinds = [dtype[name].base for name in dtype.names] if dtype.names else [dtype]
        if any(each.kind not in "fiuS" for each in kinds) or dtype.itemsize == 0:
            raise ValueError(f"{item['name']} holds {dtype}")
        shape = tuple(map(_count, item["shape"]))
        if any(length < 1 for length in shape) or len(shape) > 8:
            raise ValueError(f"a row of {item['name']} is {shape}")
        count = _count(item["chunks"])
        chunks = np.frombuffer(offsets, OFFSET, count, place) if count else np.zeros(0, OFFSET)
        place += chunks.nbytes
        yield Column(str(item["name"]), dtype, shape, _count(item["chunk_rows"]), chunks)
    if place != len(offsets):
        raise ValueError("offsets are left over")


def dtype_of(kind: str | Sequence[Sequence[Any]]) -> np.dtype[Any]:
    """What `described` describes; JSON has made lists of its tuples."""
    if isinstance(kind, str):
        return _plain_dtype(kind)
    fields = [(str(field[0]), _plain_dtype(field[1]), *map(tuple, field[2:])) for field in kind]
    return np.dtype(fields)


def _plain_dtype(kind: Any) -> np.dtype[Any]:
    if not isinstance(kind, str) or not PLAIN_DTYPE.fullmatch(kind):
        raise ValueError(f"{kind!r} is no type of a number or a text")
    return np.dtype(kind)
