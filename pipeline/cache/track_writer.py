"""Writing a track: videos take effect whole, a few at a time.

The HDF5 library writes into a `JournaledFile`, and a commit puts its changes and the new index into
the file in one step.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vqa_twostage.pipeline.cache import video_table
from vqa_twostage.pipeline.cache.hdf5_structure import ARRAYS, CREATED, IDENTITY, column_of
from vqa_twostage.pipeline.cache.journal import (
    DamagedJournalError,
    JournaledFile,
    written_whole,
)
from vqa_twostage.pipeline.cache.track import ArrayKind, Track, kind_of, load_index, refusal
from vqa_twostage.pipeline.cache.track_index import (
    FEATURES,
    FORMAT,
    FORMAT_VERSION,
    FRAME_INDEX,
    TABLE,
    TIMESTAMP,
    DamagedIndexError,
    TrackIndex,
)
from vqa_twostage.pipeline.cache.verifying import structure_faults
from vqa_twostage.pipeline.checksum import checksum
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.features import VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

LOG = logging.getLogger(__name__)

STORED, IMPORTED = np.float16, np.float32
# HDF5 1.10 and newer read it; every structure of it has a checksum
LIBVER = ("v110", "v110")
# of a chunk: large ones are read fast, and a track has one that is partly empty for each array
CHUNK_BYTES = 256 << 10
# HDF5 looks for a chunk among all that a column has, so a large column has larger ones: about so
# many, of at most so many bytes
CHUNKS, LARGEST_CHUNK = 64, 4 << 20
# a commit comes with the video that makes so many, or so many bytes, or with the first after so
# many seconds: a killed process loses its last second, and a video's share of a commit is small
COMMIT_VIDEOS, COMMIT_BYTES, COMMIT_SECONDS = 64, 16 << 20, 1.0
WAIT_SECONDS = 0.25  # between looks at whether another writer has ended


class TrackWriter(Track):
    """A track that is open to write; it reads what it has committed."""

    def __init__(
        self, path: Path, file: JournaledFile, index: TrackIndex, hdf5: h5py.File, videos: int
    ) -> None:
        super().__init__(path, file, index)
        self._hdf5 = hdf5
        self._expected = videos
        self._waiting: dict[str, tuple[dict[str, np.ndarray], VideoAttributes]] = {}
        self._retimed: dict[str, int] = {}
        self._committed = time.monotonic()
        self._broken = False
        self._room = self._table

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._waiting or super().__contains__(video_id)

    def attributes(self, video_id: str) -> VideoAttributes:
        waiting = self._waiting.get(video_id)
        return super().attributes(video_id) if waiting is None else waiting[1]

    def write(self, video_id: str, features: VideoFeatures) -> None:
        """Takes one video, to replace an earlier one of the same id; `commit` puts it on the disk.

        The 64th video, and the first after a second, commit all that wait. VideoError when a value
        is not finite or does not fit float16, or when the arrays are not those of the other videos;
        nothing is written then. An imported track keeps its type and what is not finite: its
        features are as good as the file they came from. UsageError where the disk takes no more.
        """
        stored = {
            f"{FEATURES}{name}": _to_stored(name, array, self.identity.imported)
            for name, array in sorted(features.arrays.items())
        }
        stored[FRAME_INDEX] = np.ascontiguousarray(features.frame_index, "<i8")
        stored[TIMESTAMP] = np.ascontiguousarray(features.timestamp, "<f8")
        lengths = {len(array) for array in stored.values()}
        assert len(lengths) == 1, f"{video_id}: arrays of {sorted(lengths)} frames"
        self._check_arrays({name: kind_of(array) for name, array in stored.items()})
        self._waiting[video_id] = (stored, features.attributes)
        size = sum(array.nbytes for array in stored.values()) * len(self._waiting)
        if (
            len(self._waiting) >= COMMIT_VIDEOS
            or size >= COMMIT_BYTES
            or time.monotonic() - self._committed >= COMMIT_SECONDS
        ):
            self.commit()

    def set_time(self, video_id: str, mtime_ns: int) -> None:
        """Of a video that is there, when its file was changed, whose content is the same; `commit`
        puts it on the disk.
        """
        self._retimed[video_id] = mtime_ns

    def commit(self) -> None:
        """Puts the videos that wait on the disk, in one step: all of them or none.

        UsageError where the disk does not take them; earlier ones stay.
        """
        if not (self._waiting or self._retimed) or self._broken:
            return
        with self._in_one_step(len(self._waiting)):
            self._commit()

    def copy(self, source: Track, ids: Sequence[str]) -> None:
        """Takes videos of another track as they are stored there, byte for byte, to replace earlier
        ones of the same ids, and puts them on the disk in one step: all of them or none.

        All their rows are in memory at once; ids in the order of ``source``'s file are read
        fastest. VideoError where the arrays are not those of the other videos; UsageError where one
        of them is damaged, or where the disk does not take them.
        """
        self.commit()
        self._check_arrays(source.kinds)
        names = [column.name for column in self.index.columns or source.index.columns]
        counts = source.row_counts(ids)
        ends = np.cumsum(counts)
        columns = {}
        for name in names:
            columns[name] = source.empty(name, int(counts.sum()))
            source.read_into(name, ids, ends - counts, columns[name])
        entries = source.entries(ids, names)
        entries[video_table.FIRST_ROW] = self.index.rows + ends - counts
        with self._in_one_step(len(ids)):
            self._append(columns, video_table.widened(entries, self._table.dtype))

    @contextmanager
    def _in_one_step(self, videos: int) -> Iterator[None]:
        """A block that puts so many ``videos`` on the disk; UsageError where it does not take
        them.
        """
        held = len(self)
        with uninterrupted():
            try:
                yield
            except OSError as error:
                self._broken = True
                raise UsageError(
                    f"{self.path} cannot be written ({error.strerror or error}); the last "
                    f"{videos} videos are not in it, {held} are. Mend that and "
                    "run the command again, which goes on there"
                ) from None
            except BaseException:
                self._broken = True
                raise
        self._committed = time.monotonic()

    def _commit(self) -> None:
        videos = list(self._waiting.items())
        first_row = self.index.rows
        columns = {
            name: np.concatenate([stored[name] for _, (stored, _) in videos])
            for name in (videos[0][1][0] if videos else ())
        }
        entries = [*self._retimed_entries()]
        for name, (stored, attributes) in videos:
            rows = len(stored[TIMESTAMP])
            digests = tuple(checksum(array.data) for array in stored.values())
            entries.append(video_table.Entry(name, first_row, rows, attributes, digests))
            first_row += rows
        widths = video_table.widths_of(self._table.dtype)
        self._append(columns, video_table.table_of(entries, widths))
        self._waiting.clear()
        self._retimed.clear()

    def _append(self, columns: Mapping[str, np.ndarray], entries: video_table.Table) -> None:
        """Puts rows behind those that are there, and the entries that say which videos they are;
        without ``columns``, entries of rows that are there.
        """
        names = list(columns) or [column.name for column in self.index.columns]
        if self.index.table is None:
            self._create_columns(columns, len(entries))
        for name, array in columns.items():
            _append(self._hdf5[name], array)
        table = self._write_table(entries, names)
        self._hdf5.flush()
        added = len(next(iter(columns.values()))) if columns else 0
        index = self._index(table, self.index.rows + added, names)
        self._file.commit(index.to_bytes())
        self.index, self._table = index, table
        self._columns = {column.name: number for number, column in enumerate(index.columns)}

    def _retimed_entries(self) -> Iterator[video_table.Entry]:
        for name, mtime_ns in self._retimed.items():
            if name not in self._waiting:
                entry = self._entry(name)
                yield video_table.Entry(
                    name,
                    int(entry[video_table.FIRST_ROW]),
                    int(entry[video_table.ROWS]),
                    replace(video_table.attributes_of(entry), source_mtime_ns=mtime_ns),
                    tuple(entry[video_table.DIGESTS].tolist()),
                )

    def _check_arrays(self, given: Mapping[str, ArrayKind]) -> None:
        known = self.kinds
        if not known and self._waiting:
            first, _ = next(iter(self._waiting.values()))
            known = {name: kind_of(array) for name, array in first.items()}
        if known and given != known:
            differing = sorted(
                name.removeprefix(FEATURES)
                for name in known.keys() | given.keys()
                if known.get(name) != given.get(name)
            )
            raise VideoError(
                f"its arrays are not those of the other videos: {', '.join(differing)}", "features"
            )

    def _create_columns(self, columns: Mapping[str, np.ndarray], videos: int) -> None:
        """``columns`` hold the first ``videos``."""
        times = max(1.0, self._expected / videos)
        for name, array in columns.items():
            row = array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
            share = min(int(array.nbytes * times) // CHUNKS, LARGEST_CHUNK)
            chunk = max(share, CHUNK_BYTES)
            _create(self._hdf5, name, array.dtype, array.shape[1:], max(1, chunk // row))

    def _write_table(
        self, new: video_table.Table, names_of_arrays: Sequence[str]
    ) -> video_table.Table:
        """Adds entries to the table, or replaces them, in memory and in HDF5's part."""
        had, dtype = self._table, new.dtype
        ids = video_table.ids_of(new)
        for name in ids:
            self._places.setdefault(name, len(self._places))
        rows = np.array([self._places[name] for name in ids])
        rewritten = self.index.table is None or dtype != had.dtype
        if rewritten:
            had = video_table.widened(had, dtype) if len(had) else np.zeros(0, dtype)
        if rewritten or len(self._places) > len(self._room):
            # with room for as many again: a copy of a large table for each commit takes its time
            self._room = np.zeros(2 * len(self._places), dtype)
            self._room[: len(had)] = had
        table = self._room[: len(self._places)]
        table[rows] = new
        if rewritten:
            if TABLE in self._hdf5:
                del self._hdf5[TABLE]
            rows_of_chunk = max(1, CHUNK_BYTES // dtype.itemsize)
            dataset = _create(self._hdf5, TABLE, dtype, (), rows_of_chunk)
            _put_text(dataset, ARRAYS, json.dumps(list(names_of_arrays)))
            _append(dataset, table)
        else:
            dataset = self._hdf5[TABLE]
            for row in rows[rows < len(had)].tolist():
                dataset[row] = table[row]
            _append(dataset, table[len(had) :])
        return table

    def _index(self, table: video_table.Table, rows: int, names: Sequence[str]) -> TrackIndex:
        """Of the state that is about to be committed."""
        known = {column.name: column for column in self.index.columns}
        had = self.index.table
        same_table = had is not None and had.dtype == table.dtype
        return replace(
            self.index,
            videos=len(table),
            rows=rows,
            table=column_of(TABLE, self._hdf5[TABLE], had if same_table else None),
            columns=tuple(column_of(name, self._hdf5[name], known.get(name)) for name in names),
        )


@contextmanager
def write_track(
    track: PathLike[str],
    identity: TrackIdentity,
    provenance: Mapping[str, str],
    wait: bool = False,
    videos: int = 0,
) -> Iterator[TrackWriter]:
    """Opens or creates the track of ``identity`` to write; one writer a file.

    ``provenance`` (`cache.layout.provenance`) is recorded when the file is created, and laid out
    for about so many ``videos``: with fewer or more it works, only not as fast. At the end, and
    when an exception ends it, all that was written is committed. UsageError where the file is in
    use, unless ``wait``, which waits until it is not; where it is no track, is damaged, or holds
    features of another identity.
    """
    path = Path(track)
    new = not path.exists()
    if new:
        create_track(path, identity, provenance, datetime.now(UTC).isoformat(timespec="seconds"))
    with ExitStack() as stack:
        opened = _open_to_write(path, stack, new, wait, videos)
        check_identity(path, opened.identity, identity)
        try:
            yield opened
        finally:
            opened.commit()


def _open_to_write(path: Path, stack: ExitStack, new: bool, wait: bool, videos: int) -> TrackWriter:
    try:
        file = stack.enter_context(closing(_journaled_file(path, wait)))
        index = load_index(file)
        # damage can crash the library, which is about to run in this process
        if not new and (faults := structure_faults(path, index)):
            raise UsageError(f"{path}: {faults[0]}")
        file.truncate(file.size - len(index.to_bytes()))
        hdf5 = stack.enter_context(
            h5py.File(file, "r+", libver=LIBVER, rdcc_nbytes=0, track_order=False)
        )
        return TrackWriter(path, file, index, hdf5, videos)
    except BlockingIOError:
        raise UsageError(
            f"{path} is in use by another process; a track has one writer. Run the command again "
            "when that has ended, or let vqa-extract --wait for it"
        ) from None
    except (DamagedIndexError, DamagedJournalError, EOFError) as error:
        raise refusal(path, error) from None
    except OSError as error:
        if error.errno is None:  # HDF5's library says so of a damaged structure
            raise refusal(path, DamagedIndexError(str(error))) from None
        raise UsageError(f"{path} cannot be opened to write: {error.strerror}") from None


def _journaled_file(path: Path, wait: bool) -> JournaledFile:
    """BlockingIOError where another process writes to it, unless ``wait``."""
    told = False
    while True:
        try:
            return JournaledFile(path, writable=True)
        except BlockingIOError:
            if not wait:
                raise
        if not told:
            LOG.warning("%s is in use by another process; waiting until that has ended", path)
            told = True
        time.sleep(WAIT_SECONDS)


def create_track(
    path: Path, identity: TrackIdentity, provenance: Mapping[str, str], created: str
) -> None:
    """Makes a track without videos, in one step, unless there is one by now. UsageError where the
    disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, replacing=False) as aside:
            with h5py.File(aside, "w", libver=LIBVER) as file:
                file.attrs["format_version"] = FORMAT_VERSION
                own = {"format": FORMAT, IDENTITY: identity.to_text(), CREATED: created}
                for name, text in {**own, **provenance}.items():
                    _put_text(file, name, text)
            with aside.open("ab") as file:
                file.write(TrackIndex(identity, created, provenance).to_bytes())
    except OSError as error:
        # HDF5's own text of an error is several lines
        reason = os.strerror(error.errno) if error.errno else error
        raise UsageError(f"{path} cannot be made: {reason}") from None


def check_identity(path: Path, stored: TrackIdentity, wanted: TrackIdentity) -> None:
    """UsageError that lists, field by field, where the identities of a file and of a run differ."""
    lines = [
        f"  {field}: the file has {theirs!s}, this run wants {ours!s}"
        for field, theirs, ours in stored.differences(wanted)
    ]
    if lines:
        raise UsageError(
            f"{path} holds features of another identity:\n"
            + "\n".join(lines)
            + "\ngive another --cache"
        )


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delays Ctrl-C to the end of the block: inside HDF5's calls the exception could be lost."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        # only the main thread is ever interrupted, and not where Ctrl-C is ignored (a job in the
        # background)
        yield
        return
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        before(signal.SIGINT, None)


def _create(
    file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], chunk_rows: int
) -> h5py.Dataset:
    # a chunk's unused rows are never written, which saves time and, on most disks, space
    return file.create_dataset(
        name,
        (0, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(chunk_rows, *shape),
        fill_time="never",
    )


def _put_text(holder: h5py.Group | h5py.Dataset, name: str, text: str) -> None:
    """Of a fixed length: HDF5 keeps others in a heap without a checksum, and zeros in that heap
    make it look for the end forever.
    """
    data = text.encode(errors="surrogateescape")
    holder.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def _append(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    if len(rows):
        had = len(dataset)
        dataset.resize(had + len(rows), axis=0)
        dataset[had:] = rows


def _to_stored(name: str, array: np.ndarray, imported: bool) -> np.ndarray:
    if imported:
        # what vqa-cache export wrote in half precision is no more than that
        return np.ascontiguousarray(array, STORED if array.dtype == STORED else IMPORTED)
    # twice as fast as looking for values that are not finite, and then for the largest
    largest = max(-float(array.min(initial=0.0)), float(array.max(initial=0.0)))
    if not np.isfinite(largest):
        raise VideoError(f"feature {name} holds values that are not finite", "features")
    if largest > float(np.finfo(STORED).max):
        raise VideoError(
            f"feature {name} reaches {largest:.3g}, which does not fit float16", "features"
        )
    return np.ascontiguousarray(array, STORED)
