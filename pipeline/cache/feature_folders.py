"""A folder with a file of features for each video, .npy or .npz: the names of the files are those
of the videos.

Before anything is used, every file is looked at; then one is in memory at a time, so a folder may
be larger than the memory. As of other feature files, nothing is trusted and nothing is unpickled.

Dimensions: T frames, C columns.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Generic, TypeVar
from zipfile import ZipFile

import numpy as np
from jaxtyping import Float32
from numpy.lib import format as npy

from vqa_twostage.pipeline.cache.feature_files import (
    LISTED,
    NO_OBJECTS,
    Entry,
    FoundFeatures,
    Wanted,
    as_float32,
    description_of,
    guarded,
    listing,
    problem_of,
)
from vqa_twostage.pipeline.cache.video_names import match_names
from vqa_twostage.pipeline.errors import UsageError, require

NPY, NPZ = ".npy", ".npz"
T = TypeVar("T")


class ReadAtEachLook(Mapping[str, T], Generic[T]):
    """What ``read`` gives for each of ``keys``: read again at each look, so none is kept."""

    def __init__(self, keys: list[str], read: Callable[[str], T]) -> None:
        self._keys, self._read = dict.fromkeys(keys), read

    def __getitem__(self, key: str) -> T:
        if key not in self._keys:
            raise KeyError(key)
        return self._read(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def array_files(folder: Path) -> list[Path]:
    """The .npy and .npz files in ``folder`` and below it, sorted; hidden ones, which file systems
    and archives leave beside others, do not count.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in (NPY, NPZ) and not path.name.startswith(".") and path.is_file()
    )


def read_folder(folder: Path, key: str | None, wanted: Wanted) -> FoundFeatures:
    """The features of each video whose file is in ``folder``; ``key``: the array in each .npz.

    A file holds ``[T, C]``, or ``[C]``, which is one frame. The arrays are read when they are
    looked at.

    Raises:
        UsageError: A file is damaged or holds something else, the numbers of columns differ, or
            it is not clear which array is meant.
    """
    files = _by_name(folder)
    matches = match_names(list(files), wanted.videos)
    paths = {video_id: files[name] for name, video_id in matches.ids.items()}
    chosen = _key_of(paths, key)
    widths: dict[int, Path] = {}
    for path in paths.values():
        shape = guarded(path, partial(_shape_of, path, chosen))
        widths.setdefault(shape[-1], path)
    require(
        len(widths) < 2,
        f"{folder}: the numbers of columns differ, "
        + ", ".join(f"{width} in {path.name}" for width, path in [*widths.items()][:5])
        + "; features of one track have the same columns in every video. Of one axis, an array is "
        "the columns of one frame",
    )

    def read(video_id: str) -> Float32[np.ndarray, "_ C"]:
        path = paths[video_id]
        array = guarded(path, lambda: _load(path, chosen))
        require(
            array.ndim in (1, 2) and array.shape[-1] in widths,
            f"{path} was changed while it was read; import the folder again",
        )
        return as_float32(array.reshape(-1, array.shape[-1]))

    found = ReadAtEachLook(list(paths), read)
    return FoundFeatures(chosen or "", found, by_row=False, matches=matches)


def _by_name(folder: Path) -> dict[str, Path]:
    """The files by their names: the path in the folder, without the extension."""
    files = array_files(folder)
    if not files:
        others = Counter(path.suffix for path in folder.iterdir() if path.is_file())
        there = ", ".join(f"{count} of {kind or 'no extension'}" for kind, count in others.items())
        raise UsageError(
            f"{folder} holds no .npy and no .npz file{f', but {there}' if there else ''}; give a "
            "folder with a file for each video, called as the video and written by numpy.save: "
            "frames x columns, or one row of columns"
        )
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    require(
        not twice,
        f"{folder} has a {NPY} and a {NPZ} of {', '.join(twice[:LISTED])}; a video has one file, "
        "remove the other",
    )
    return dict(zip(names, files, strict=True))


def _key_of(paths: Mapping[str, Path], key: str | None) -> str | None:
    """Which array of each .npz is meant: ``key``, or the only one that can be features. None where
    no file has names of arrays.
    """
    first = next((path for path in paths.values() if path.suffix.lower() == NPZ), None)
    if first is None:
        require(
            key is None or not paths, f"--key {key}: a {NPY} holds one array, which has no name"
        )
        return None
    if key is not None:
        return key
    entries = guarded(first, lambda: _entries(first))
    # one number a video may well be its label: never taken unasked
    fitting = [name for name, entry in entries.items() if _fits(entry) and entry.shape[-1] > 1]
    if len(fitting) == 1 or len(entries) == 1:
        return (fitting or list(entries))[0]
    raise UsageError(
        f"{'several arrays fit' if fitting else 'no array can be the features'}; choose one with "
        f"--key\n{listing(first, entries)}"
    )


def _shape_of(path: Path, key: str | None) -> tuple[int, ...]:
    """Of the array in a file; UsageError where it cannot be features, or a part is missing."""
    if path.suffix.lower() == NPY:
        with path.open("rb") as file:
            entry, size = _header(file)
            complete = os.fstat(file.fileno()).st_size - file.tell() >= size
    else:
        entries = _entries(path)
        if key not in entries:
            raise UsageError(f"{path} has no array {key}\n{listing(path, entries)}")
        entry, complete = entries[key], True
    what = f"{path}{f', array {key},' if path.suffix.lower() == NPZ else ''}"
    require(not entry.problem, f"{what} is {description_of(entry)}. {NO_OBJECTS}")
    require(
        _fits(entry),
        f"{what} is {description_of(entry)}; of each video give frames x columns, or one row of "
        "columns",
    )
    require(complete, f"{path} is shorter than its header says; write it again")
    return entry.shape


def _fits(entry: Entry) -> bool:
    return not entry.problem and len(entry.shape) in (1, 2) and min(entry.shape) > 0


def _entries(path: Path) -> dict[str, Entry]:
    """The arrays of an .npz, each read through, which tests its checksum."""
    found = {}
    with ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                entry, size = _header(file)
                left = 0
                while block := file.read(1 << 20):
                    left += len(block)
                require(left >= size, f"{path}: {member} is shorter than its header says")
            found[member.removesuffix(NPY)] = entry
    return found


def _header(file: Any) -> tuple[Entry, int]:
    """The array that begins here in an opened file, and its bytes; nothing of it is read."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of its format is not known")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    problem = "Python objects" if dtype.hasobject else problem_of(dtype)
    return Entry(shape, problem), dtype.itemsize * prod(shape)


def _load(path: Path, key: str | None) -> np.ndarray:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        array: np.ndarray = loaded[key]
        return array
