"""A track: the HDF5 file that holds the features of one extractor on one sampling of one dataset.

`docs/cache_format.md` is normative. A video is complete or absent: all that writing it changes
takes effect in one step (`pipeline/cache/journal.py`). Files of other programs are read by
`pipeline/cache/feature_files.py`.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from urllib.parse import quote, unquote

import h5py
import numpy as np

from vqa_twostage.pipeline.cache.journal import JournaledFile, journal_of
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

FORMAT = "vqa-features"
FORMAT_VERSION = 1
STORED, IMPORTED = np.float16, np.float32


class Track:
    """An open track file. Use `open_track` to read and `write_track` to write."""

    def __init__(self, path: Path, file: h5py.File, journaled: JournaledFile | None = None) -> None:
        self.path = path
        self._file, self._journaled = file, journaled
        self._videos: h5py.Group = file["videos"]
        self.identity = _read_identity(path, file)

    @property
    def ids(self) -> list[str]:
        """Ids of the complete videos, sorted."""
        return sorted(unquote(name) for name in self._videos)

    def __contains__(self, video_id: str) -> bool:
        return _group_name(video_id) in self._videos

    def __len__(self) -> int:
        return len(self._videos)

    def attributes(self, video_id: str) -> VideoAttributes:
        return self._attributes(video_id, self._group(video_id))

    def _attributes(self, video_id: str, group: h5py.Group) -> VideoAttributes:
        try:
            return VideoAttributes.from_plain(group.attrs)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"its attributes are damaged: {error}"
            raise UsageError(f"{self.path}: {video_id}: {reason}; extract it again") from None

    def read(self, video_id: str, without: Collection[str] = ()) -> VideoFeatures:
        """One video, but for the statistics named in ``without`` (as ``grid``, which is large).

        KeyError when it is not there, UsageError when it is unsafe to read.
        """
        group = self._group(video_id)
        _refuse_unsafe(self.path, group)
        arrays: dict[ArrayName, np.ndarray] = {}

        def read_array(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset) and ArrayName(name).statistic not in without:
                arrays[ArrayName(name)] = item[()]

        group["features"].visititems(read_array)
        frame_index, timestamp = group["frame_index"][()], group["timestamp"][()]
        lengths = {len(array) for array in [*arrays.values(), frame_index, timestamp]}
        if not arrays or len(lengths) != 1:
            damage = f"is damaged (arrays of {sorted(lengths)} frames); extract it again"
            raise UsageError(f"{self.path}: {video_id} {damage}")
        attributes = self._attributes(video_id, group)
        return VideoFeatures(arrays, frame_index, timestamp, attributes)

    def _group(self, video_id: str) -> h5py.Group:
        name = _group_name(video_id)
        if name not in self._videos:
            raise KeyError(f"{self.path} holds no video {video_id!r}")
        _refuse_link(self.path, self._videos, name)
        return self._videos[name]

    def write(self, video_id: str, features: VideoFeatures) -> None:
        """Publishes one video in one step, replacing an earlier one of the same id.

        VideoError when a value is not finite or does not fit float16; nothing is written then. An
        imported track keeps float32 and what is not finite: its features are as good as the file
        they came from.
        """
        lengths = {
            len(array)
            for array in (*features.arrays.values(), features.frame_index, features.timestamp)
        }
        assert len(lengths) == 1, f"{video_id}: arrays of {sorted(lengths)} frames"
        stored = {
            name: _to_stored(name, array, self.identity.imported)
            for name, array in features.arrays.items()
        }
        with _uninterrupted():
            self._publish(video_id, stored, features)

    def _publish(
        self, video_id: str, stored: Mapping[ArrayName, np.ndarray], features: VideoFeatures
    ) -> None:
        pending = self._file.require_group("_pending")
        name = _group_name(video_id)
        if name in pending:  # left by a write of this process that failed
            del pending[name]
        group = pending.create_group(name)
        for array_name, array in stored.items():
            group.create_dataset(f"features/{array_name}", data=array)
        group.create_dataset("frame_index", data=features.frame_index.astype(np.int64))
        group.create_dataset("timestamp", data=features.timestamp.astype(np.float64))
        group.attrs.update(features.attributes.to_plain())
        if name in self._videos:
            del self._videos[name]
        self._file.move(f"_pending/{name}", f"videos/{name}")
        self._file.flush()
        assert self._journaled is not None, "a track opened to read"
        self._journaled.commit()  # all of this takes effect here, in one step


@contextmanager
def open_track(track: PathLike[str]) -> Iterator[Track]:
    """Opens a track to read.

    UsageError when it is missing, not a track, of a newer version, or unsafe to open.
    """
    path = Path(track)
    with _open_to_read(path) as file:
        _check(path, file)
        yield Track(path, file)


@contextmanager
def write_track(
    track: PathLike[str], identity: TrackIdentity, provenance: Mapping[str, str]
) -> Iterator[Track]:
    """Opens or creates the track of ``identity`` to write; one writer a file.

    ``provenance`` (`cache.layout.provenance`) is recorded when the file is created.
    """
    path = Path(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create(path, identity, provenance)
    with ExitStack() as stack:
        with _hdf5_errors(path):
            # HDF5 writes many small pieces, and a file that has half of them may be beyond repair
            journaled = stack.enter_context(closing(JournaledFile(path, writable=True)))
            file = stack.enter_context(h5py.File(journaled, "r+"))
        _check(path, file)
        opened = Track(path, file, journaled)
        check_identity(path, opened.identity, identity)
        yield opened


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


def verify(path: PathLike[str]) -> list[str]:
    """Reads every array of a track and returns its faults, one line each; empty means sound."""
    faults = []
    with open_track(path) as track:
        for video_id in track.ids:
            try:
                arrays = track.read(video_id).arrays
            except (OSError, KeyError, UsageError) as error:
                faults.append(f"{video_id}: cannot be read ({error})")
                continue
            wrong = [
                name
                for name, array in arrays.items()
                if not (track.identity.imported or np.isfinite(array).all())
            ]
            faults += [f"{video_id}: {name} holds values that are not finite" for name in wrong]
    return faults


@contextmanager
def _uninterrupted() -> Iterator[None]:
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


def _create(path: Path, identity: TrackIdentity, provenance: Mapping[str, str]) -> None:
    # built aside and renamed, so that no other process ever sees a file without its identity
    aside = path.with_name(path.name + ".new")
    with h5py.File(aside, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["identity"] = identity.to_text()
        file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.attrs.update(provenance)
        file.create_group("videos")
        file.create_group("_pending")
    aside.replace(path)


@contextmanager
def _open_to_read(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise UsageError(f"{path} does not exist; vqa-extract makes it")
    with ExitStack() as stack:
        with _hdf5_errors(path):
            file = stack.enter_context(h5py.File(path, "r"))
            if journal_of(path).exists():  # its writer was killed while it carried that out
                file.close()
                journaled = stack.enter_context(closing(JournaledFile(path, writable=False)))
                file = stack.enter_context(h5py.File(journaled, "r"))
        yield file


@contextmanager
def _hdf5_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise UsageError(f"{path} is in use by another process; a track has one writer") from None
    except OSError as error:
        raise UsageError(
            f"{path} is not a readable HDF5 file ({error}); remove it and extract again"
        ) from None


def _read_identity(path: Path, file: h5py.File) -> TrackIdentity:
    try:
        document = json.loads(file.attrs["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: its identity is damaged ({error}); extract it again") from None
    return TrackIdentity.from_json(document, str(path))


def _check(path: Path, file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise UsageError(
            f"{path} is not a feature cache (its attribute 'format' is not {FORMAT!r})"
        )
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise UsageError(
            f"{path} has format version {version}, and this program reads {FORMAT_VERSION}; update "
            "the program, or extract again into another --cache"
        )
    for name in ("videos", "_pending"):
        _refuse_link(path, file, name)


def _refuse_link(path: Path, group: h5py.Group, name: str) -> None:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        where = f"{group.name.rstrip('/')}/{name}"
        raise UsageError(
            f"{path}: {where} is a link; a feature cache holds none, and this file is refused"
        )


def _refuse_unsafe(path: Path, group: h5py.Group) -> None:
    """Refuses links, objects and data kept elsewhere: a stranger's file must be safe to open."""
    for name in group:
        _refuse_link(path, group, name)
        item = group[name]
        if isinstance(item, h5py.Group):
            _refuse_unsafe(path, item)
        elif item.dtype.kind not in "fiu" or item.is_virtual or item.external:
            raise UsageError(
                f"{path}: {item.name} is not a plain numeric array; this file is refused"
            )


def _to_stored(name: str, array: np.ndarray, imported: bool) -> np.ndarray:
    if imported:
        return array.astype(IMPORTED)
    if not np.isfinite(array).all():
        raise VideoError(f"feature {name} holds values that are not finite", "features")
    largest = float(np.abs(array).max(initial=0.0))
    if largest > float(np.finfo(STORED).max):
        raise VideoError(
            f"feature {name} reaches {largest:.3g}, which does not fit float16", "features"
        )
    return array.astype(STORED)


def _group_name(video_id: str) -> str:
    """An id as one HDF5 name: ``/`` and a leading ``.`` have a meaning there."""
    name = quote(video_id, safe=" ~!@#$^&*()+=,;:'[]{}<>?|")
    return "%2E" + name[1:] if name.startswith(".") else name
