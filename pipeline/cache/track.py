"""A track: the file that holds the features of one extractor on one sampling of one dataset.

`docs/cache_format.md` is normative. Reading takes no lock and may go on beside a writer: what was
committed when the track was opened does not change. Every byte is tested against its checksum
before it is used. Writing is in `pipeline/cache/track_writer.py`; files of other programs are read
by `pipeline/cache/feature_files.py`.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from vqa_twostage.pipeline.cache import video_table
from vqa_twostage.pipeline.cache.journal import DamagedJournalError, JournaledFile, journal_of
from vqa_twostage.pipeline.cache.track_index import (
    FEATURES,
    OF_FRAMES,
    TRAILER,
    Column,
    DamagedIndexError,
    TrackIndex,
)
from vqa_twostage.pipeline.cache.track_index import MAGIC as INDEX_MAGIC
from vqa_twostage.pipeline.checksum import checksum
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

# how much of a column is read at a time
BLOCK_BYTES = 4 << 20
# a reader beside a writer may find half of a commit, which takes milliseconds; then it tries again,
# often, because a writer may do nothing but commit
TRIES, PAUSE = 100, 0.02


# of an array, but for its name: the shape of one row, and the type of its values
ArrayKind = tuple[tuple[int, ...], np.dtype[Any]]


def kind_of(array: np.ndarray) -> ArrayKind:
    """Of an array whose first dimension are rows."""
    return array.shape[1:], array.dtype


class Track:
    """An open track. Use `open_track` to read and `track_writer.write_track` to write."""

    def __init__(self, path: Path, file: JournaledFile, index: TrackIndex) -> None:
        self.path = path
        self.index = index
        self._file = file
        self._table = self._read_table()
        self._places = {name: row for row, name in enumerate(video_table.ids_of(self._table))}
        self._columns = {column.name: number for number, column in enumerate(index.columns)}

    @property
    def identity(self) -> TrackIdentity:
        return self.index.identity

    @property
    def ids(self) -> list[str]:
        """Ids of the videos, sorted."""
        return sorted(self._places)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def dead_rows(self) -> int:
        """Rows of videos that were replaced; `rewriting.compact` gives their space back."""
        return self.index.rows - int(self._table[video_table.ROWS].sum())

    @property
    def bytes_an_entry(self) -> int:
        """What the table holds of each video."""
        return self._table.dtype.itemsize

    @property
    def array_names(self) -> list[ArrayName]:
        """The arrays that every video has, frame numbers and times aside."""
        return [
            ArrayName(column.name.removeprefix(FEATURES))
            for column in self.index.columns
            if column.name.startswith(FEATURES)
        ]

    @property
    def kinds(self) -> dict[str, ArrayKind]:
        """Of each column, frame numbers and times included, by its name; empty for a track that
        never had a video.
        """
        return {column.name: (column.shape, column.dtype) for column in self.index.columns}

    def entries(self, ids: Sequence[str], names: Sequence[str]) -> video_table.Table:
        """The table's entries of the videos, their checksums in the order of the columns
        ``names``.
        """
        entries = self._table[self._places_of(ids)]
        order = [self._columns[name] for name in names]
        entries[video_table.DIGESTS] = entries[video_table.DIGESTS][:, order]
        return entries

    def digests(self) -> dict[str, tuple[str, int]]:
        """Of each video the digest of its file, and one checksum of all that is stored of it, by
        its id; none is read for it.
        """
        order = np.argsort([column.name for column in self.index.columns])
        stored = self._table[video_table.DIGESTS][:, order]
        files = (digest for _, _, digest in video_table.sources_of(self._table))
        sums = map(checksum, map(np.ndarray.tobytes, stored))
        return dict(zip(self._places, zip(files, sums, strict=True), strict=True))

    def attributes(self, video_id: str) -> VideoAttributes:
        """KeyError where the video is not there."""
        return video_table.attributes_of(self._entry(video_id))

    def sources(self) -> dict[str, tuple[int, int, str]]:
        """Of each video the size, the time of change (ns) and the digest of its file, by its id."""
        return dict(zip(self._places, video_table.sources_of(self._table), strict=True))

    def row_counts(self, ids: Sequence[str]) -> Int64[np.ndarray, " V"]:
        """How many rows, of sampled frames, each of the videos has."""
        return self._table[video_table.ROWS][self._places_of(ids)]

    def content_digest(self, ids: Sequence[str]) -> str:
        """One checksum, in hexadecimal, of everything that is stored of the videos, in their order;
        none is read for it.
        """
        digests = self._table[video_table.DIGESTS][self._places_of(ids)]
        return f"{checksum(digests.tobytes()):016x}"

    def read(self, video_id: str, without: Collection[str] = ()) -> VideoFeatures:
        """One video, but for the statistics named in ``without`` (as ``grid``, which is large).

        KeyError when it is not there, UsageError when it is damaged.
        """
        entry = self._entry(video_id)
        attributes = video_table.attributes_of(entry)
        first, rows = int(entry[video_table.FIRST_ROW]), int(entry[video_table.ROWS])
        digests = entry[video_table.DIGESTS].tolist()
        found: dict[str, np.ndarray] = {}
        for column, digest in zip(self.index.columns, digests, strict=True):
            if column.name in OF_FRAMES or ArrayName(column.name).statistic not in without:
                out = self.empty(column.name, rows)
                data = _bytes_of(out)
                self._read_rows(column, first, first + rows, data)
                if checksum(data) != digest:
                    raise self._damage(video_id, column.name)
                found[column.name] = out
        frame_index, timestamp = (found.pop(name) for name in OF_FRAMES)
        arrays = {ArrayName(name.removeprefix(FEATURES)): array for name, array in found.items()}
        return VideoFeatures(arrays, frame_index, timestamp, attributes)

    def empty(self, name: str, rows: int) -> np.ndarray:
        """Zeros for ``rows`` rows of a column: ``features/c5/mean``, ``timestamp``."""
        column = self._column(name)
        return np.zeros((rows, *column.shape), column.dtype)

    def read_padded(self, name: str, ids: Sequence[str], longest: int) -> np.ndarray:
        """One column of many videos, ``longest`` rows of each: [videos, longest, ...], padded with
        0. Raises as `read_into`.
        """
        # read to where it stays: a copy of a large track may not fit into memory
        rows = self.empty(name, len(ids) * longest)
        self.read_into(name, ids, np.arange(len(ids)) * longest, rows)
        return rows.reshape(len(ids), longest, *rows.shape[1:])

    def read_into(
        self, name: str, ids: Sequence[str], starts: Int64[np.ndarray, " V"], out: np.ndarray
    ) -> None:
        """Reads the rows of one column for many videos: those of ``ids[i]`` go to ``out`` from row
        ``starts[i]`` on.

        ``out`` is as `empty` makes it. The column is read in the order of the file, whatever the
        order of ``ids``. KeyError where a video is not there, UsageError where one is damaged.
        """
        column, number = self._column(name), self._columns[name]
        entries = self._table[self._places_of(ids)]
        first, rows = entries[video_table.FIRST_ROW], entries[video_table.ROWS]
        digests = entries[video_table.DIGESTS][:, number]
        order = np.argsort(first, kind="stable")
        target = _bytes_of(out)
        size = column.row_bytes
        for run in _runs(order, first, rows, max(1, BLOCK_BYTES // size)):
            begin, end = int(first[run[0]]), int(first[run[-1]] + rows[run[-1]])
            at = int(starts[run[0]])
            in_place = (starts[run] - at == first[run] - begin).all()
            if in_place:
                block = target[at * size : (at + end - begin) * size]
            else:
                block = np.empty((end - begin) * size, np.uint8).data
            self._read_rows(column, begin, end, block)
            edges = [*((first[run] - begin) * size).tolist(), len(block)]
            videos = list(itertools.pairwise(edges))
            found = [checksum(block[start:stop]) for start, stop in videos]
            broken = np.array(found, np.uint64) != digests[run]
            if broken.any():
                raise self._damage(ids[int(run[broken][0])], name)
            if not in_place:
                for place, (start, stop) in zip((starts[run] * size).tolist(), videos, strict=True):
                    target[place : place + stop - start] = block[start:stop]

    def blocks(self, ids: Sequence[str], rows: int) -> list[list[str]]:
        """``ids`` in blocks of about ``rows`` rows that lie together in the file.

        To train from a track that is larger than memory, shuffle the blocks, and the videos within
        each.
        """
        first_rows = self._table[video_table.FIRST_ROW][self._places_of(ids)]
        stored = [ids[number] for number in np.argsort(first_rows, kind="stable").tolist()]
        ends = np.cumsum(self.row_counts(stored))
        numbers = ((ends - 1) // rows).tolist()
        blocks: dict[int, list[str]] = {}
        for name, number in zip(stored, numbers, strict=True):
            blocks.setdefault(number, []).append(name)
        return list(blocks.values())

    def _read_rows(self, column: Column, first: int, last: int, target: memoryview) -> None:
        try:
            fill_rows(self._file, column, first, last, target)
        except (OSError, EOFError) as error:
            raise UsageError(f"{self.path} cannot be read: {error}") from None

    def _read_table(self) -> video_table.Table:
        table, sound = read_table(self._file, self.index)
        if not sound.all():
            broken = video_table.ids_of(table[~sound])
            raise DamagedIndexError(
                f"{len(broken)} of the {len(table)} entries in its table of videos are damaged: "
                + ", ".join(map(repr, broken[:5]))
            )
        if len(set(table[video_table.ID].tolist())) < len(table):
            raise DamagedIndexError("its table of videos names one of them twice")
        return table

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            raise KeyError(f"{self.path} has no array {name!r}")
        return self.index.columns[self._columns[name]]

    def _places_of(self, ids: Sequence[str]) -> Int64[np.ndarray, " V"]:
        try:
            return np.array([self._places[video_id] for video_id in ids], np.int64)
        except KeyError as error:
            raise KeyError(f"{self.path} holds no video {error.args[0]!r}") from None

    def _entry(self, video_id: str) -> np.void:
        return self._table[int(self._places_of([video_id])[0])]

    def _damage(self, video_id: str, name: str) -> UsageError:
        return UsageError(
            f"{self.path}: {video_id}: {name.removeprefix(FEATURES)} is damaged, its checksum is "
            f"another; vqa-cache repair {self.path} drops this video, and the next vqa-extract "
            "makes it again"
        )


def read_table(
    file: JournaledFile, index: TrackIndex
) -> tuple[video_table.Table, Bool[np.ndarray, " V"]]:
    """The table of videos, and which of its entries are sound."""
    if index.table is None:
        return np.zeros(0, video_table.table_dtype(0, {})), np.zeros(0, bool)
    try:
        widths = video_table.widths_of(index.table.dtype)
    except KeyError as error:
        raise DamagedIndexError(f"its table of videos has other columns: {error}") from None
    expected = video_table.table_dtype(len(index.columns), widths)
    if index.table.dtype != expected or index.table.shape:
        raise DamagedIndexError("its table of videos has other columns")
    table = np.zeros(index.videos, expected)
    fill_rows(file, index.table, 0, index.videos, _bytes_of(table))
    sound = video_table.sound_entries(table, index.rows)
    # or a small file could claim to be an enormous dataset
    if int(table[video_table.ROWS][sound].sum()) > index.rows:
        raise DamagedIndexError("its videos share rows")
    return table, sound


def fill_rows(
    file: JournaledFile, column: Column, first: int, last: int, target: memoryview
) -> None:
    """Reads rows of a column into ``target``, which has their size."""
    done = 0
    for offset, count in column.extents(first, last):
        file.read_into(target[done : done + count], offset)
        done += count


def load_index(file: JournaledFile) -> TrackIndex:
    """The index behind HDF5's part of an open file; DamagedIndexError where it has none."""
    place = file.size - TRAILER.size
    trailer = bytearray(TRAILER.size)
    if place < 0:
        raise DamagedIndexError("it is too short")
    file.read_into(memoryview(trailer), place)
    magic, size, head, expected = TRAILER.unpack(trailer)
    if magic != INDEX_MAGIC or size > place:
        raise DamagedIndexError("it does not end with one")
    data = bytearray(size)
    file.read_into(memoryview(data), place - size)
    if checksum(data) != expected:
        raise DamagedIndexError("its checksum is another")
    return TrackIndex.from_bytes(bytes(data), head, place - size)


@contextmanager
def open_track(track: PathLike[str]) -> Iterator[Track]:
    """Opens a track to read.

    UsageError when it is missing, not a track, of another version, or damaged.
    """
    path = Path(track)
    if not path.is_file():
        raise UsageError(f"{path} does not exist; vqa-extract makes it")
    opened, file = _open(path)
    with closing(file):
        yield opened


def _open(path: Path) -> tuple[Track, JournaledFile]:
    for attempt in range(TRIES):
        before = _state(path)
        try:
            return _open_once(path)
        except (DamagedIndexError, DamagedJournalError, EOFError) as error:
            if attempt + 1 == TRIES or (attempt and before == _state(path)):
                raise refusal(path, error) from None
        time.sleep(PAUSE)
    raise AssertionError("unreachable")


def _open_once(path: Path) -> tuple[Track, JournaledFile]:
    before = _state(path)
    try:
        file = JournaledFile(path, writable=False)
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        opened = Track(path, file, load_index(file))
        if _state(path)[0] != before[0]:
            raise DamagedIndexError("it was replaced while it was opened")
    except OSError as error:
        file.close()
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UsageError as error:
        file.close()
        raise UsageError(f"{path}: {error}") from None
    except BaseException:
        file.close()
        raise
    return opened, file


def _state(path: Path) -> tuple[int | bytes, ...]:
    """Changes whenever a writer commits. The times of files do not tell it: several commits may
    fall into one tick of the clock that they are taken from.
    """
    try:
        status = path.stat()
    except OSError:
        return ()
    # both end with a checksum of what was committed
    return (status.st_ino, status.st_size, _end_of(path), _end_of(journal_of(path)))


def _end_of(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(-TRAILER.size, os.SEEK_END)
            return file.read()
    except OSError:  # there is none, or it is shorter
        return b""


def refusal(path: Path, error: Exception) -> UsageError:
    """The message for a file that cannot be opened as a track: what it is, and what to do."""
    # HDF5's library is loaded to tell files of other programs from damaged tracks, and for nothing
    # else
    from vqa_twostage.pipeline.cache.hdf5_structure import is_development_format, is_track

    if isinstance(error, EOFError):
        error = DamagedIndexError("it ends too early")
    if is_development_format(path):
        return UsageError(
            f"{path} was written by a development version, whose format is not read any more; "
            "extract again into another --cache"
        )
    if isinstance(error, DamagedIndexError) and not is_track(path):
        return UsageError(f"{path} is not a feature cache: {error}")
    what = "its index is damaged" if isinstance(error, DamagedIndexError) else "it is damaged"
    return UsageError(
        f"{path}: {what}: {error}; vqa-cache repair {path} keeps what is sound, and the next "
        "vqa-extract makes the rest again"
    )


def _runs(
    order: Int64[np.ndarray, " V"],
    first: Int64[np.ndarray, " V"],
    rows: Int64[np.ndarray, " V"],
    most: int,
) -> Iterator[Int64[np.ndarray, " _"]]:
    """Cuts videos, in the order of the file, where their rows do not follow each other, and after
    about ``most`` rows.
    """
    if not len(order):
        return
    begin, end = first[order], first[order] + rows[order]
    cut = begin[1:] != end[:-1]
    cut |= (end[1:] - begin[0]) // most != (end[:-1] - begin[0]) // most
    yield from np.split(order, np.flatnonzero(cut) + 1)


def _bytes_of(array: np.ndarray) -> memoryview:
    """The memory of a contiguous array."""
    return memoryview(array.reshape(-1).view(np.uint8).data)
