"""Feature files of other programs: .mat, .npy, .npz, .csv, .h5 in, plain float32 arrays out.

What `vqa-cache export` wrote is read by `pipeline/cache/exported_files.py`, a folder with a file
for each video by `pipeline/cache/feature_folders.py`. Names of videos in a file are matched by
`pipeline/cache/video_names.py`.

Nothing in such a file is trusted: no pickle is loaded, no link is followed, only plain numbers are
read.

Dimensions: T frames, C columns of a file's array.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import scipy.io
from jaxtyping import Float32

from vqa_twostage.pipeline.cache.video_names import MatchedNames, match_names
from vqa_twostage.pipeline.datasets.matlab import NUMBERS as MATLAB_NUMBERS
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.files import is_text
from vqa_twostage.pipeline.processes import call_apart

T = TypeVar("T")

# what stands for "no number" in tables, beside what Python itself reads as nan
EMPTY = {"", "na", "n/a", "null", "none"}
# of NumPy's kinds of numbers; complex ones of MATLAB v7.3 are records of two
PROBLEMS = {"c": "complex", "O": "objects", "U": "text", "S": "text", "V": "complex or records"}
LISTED = 10
# the array of an .npz that names the videos of its rows
IDS = "ids"
NO_OBJECTS = (
    "Only plain real numbers are read: no objects, cells, structs, text, sparse or complex arrays"
)
SAFE = "a file that refers to other files is refused; write a copy that holds its own numbers"


@dataclass(frozen=True)
class Wanted:
    """The videos that the file must have features of: ``ids`` in the order of its rows.

    ``description`` says how many they are, for messages: ``konvid has 1200 videos``. ``videos``:
    the paths of all videos of the dataset by their ids, for files that name their videos.
    ``by_list``: a list beside the file says what its rows are, whatever it says itself.
    """

    ids: list[str]
    description: str
    videos: Mapping[str, str] = field(default_factory=dict)
    by_list: bool = False


@dataclass(frozen=True, eq=False)
class FoundFeatures:
    """``videos``: id -> [T, C]; ``key``: the name of the array or group, empty where it has none.

    ``by_row``: the rows of one array are the videos; otherwise each video has an array named by its
    id. ``matches``: of the names in the file, None where it has none. ``column_names``: what a
    table calls its columns.
    """

    key: str
    videos: Mapping[str, Float32[np.ndarray, "_ C"]]
    by_row: bool
    matches: MatchedNames | None = None
    column_names: list[str] | None = None


@dataclass(frozen=True)
class Entry:
    """A named array before it is read; ``problem``: what it holds if not plain numbers."""

    shape: tuple[int, ...]
    problem: str


def read_features(path: Path, key: str | None, wanted: Wanted) -> FoundFeatures:
    """Reads the features of one file.

    UsageError where the file cannot be read, or does not say which array holds the features.
    """
    reader = READERS.get(path.suffix.lower())

    def read() -> FoundFeatures:
        if reader is None:
            raise UsageError(f"{path} is not a known kind of feature file; give one of {SUFFIXES}")
        if reader in (_read_mat, _read_hdf5):
            return call_apart(reader, path, key, wanted)
        return reader(path, key, wanted)

    return guarded(path, read)


def read_blocks(path: Path, keys: Sequence[str], wanted: Wanted) -> dict[str, FoundFeatures]:
    """Several arrays of one .npz, each read once; UsageError as `read_features`."""

    def read() -> dict[str, FoundFeatures]:
        require(
            path.suffix.lower() == ".npz",
            f"--block is for .npz files, and {path} is none; give --kind, --name and --key",
        )
        with np.load(path, allow_pickle=False) as loaded:
            for key in keys:
                if key not in loaded.files:
                    entries = {name: _npz_entry(loaded, name) for name in loaded.files}
                    raise UsageError(
                        f"--block {key}: there is no such array; choose another\n"
                        f"{listing(path, entries, len(entries))}"
                    )
            named, matches = _own_names(path, loaded, wanted)
            return {key: _of_npz(path, key, loaded, named, matches) for key in dict.fromkeys(keys)}

    return guarded(path, read)


def guarded(path: Path, read: Callable[[], T]) -> T:
    """What ``read`` gives; UsageError where there is no file, or one that cannot be parsed."""
    require(
        path.is_file(),
        f"{path} {'is not a file' if path.exists() else 'does not exist'}; give one of {SUFFIXES}",
    )
    try:
        return read()
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(
            f"{path} cannot be read as {path.suffix} ({reason}); it is damaged or of another kind, "
            "write it again"
        ) from None


def _read_numpy(path: Path, key: str | None, wanted: Wanted) -> FoundFeatures:
    try:
        loaded = np.load(path, allow_pickle=False)
    except ValueError as error:
        require(
            "pickle" not in str(error),
            f"{path} holds Python objects or is not a NumPy file. {NO_OBJECTS}",
        )
        raise
    if isinstance(loaded, np.ndarray):
        return _by_row(path, _nameless(path, key), loaded, wanted)
    with loaded:
        named, matches = _own_names(path, loaded, wanted)
        name = _choose(path, {name: _npz_entry(loaded, name) for name in loaded.files}, key, named)
        return _of_npz(path, name, loaded, named, matches)


def _of_npz(
    path: Path, key: str, loaded: Any, named: Wanted, matches: MatchedNames | None
) -> FoundFeatures:
    """One array of an .npz, with its rows under the ids of the videos that ``matches`` found."""
    try:
        array = loaded[key]
    except ValueError:
        array = np.empty(0, object)  # unpickling it would run code
    found = _by_row(path, key, array, named)
    if matches is None:
        return found
    videos = {video_id: found.videos[name] for name, video_id in matches.ids.items()}
    return replace(found, videos=videos, matches=matches)


def _own_names(path: Path, loaded: Any, wanted: Wanted) -> tuple[Wanted, MatchedNames | None]:
    """The videos of the rows as the file's own ``ids`` name them; those that were wanted where it
    has none, or a list beside the file says what they are.
    """
    if IDS not in loaded.files or wanted.by_list:
        return wanted, None
    try:
        array = loaded[IDS]
    except ValueError:
        array = np.empty(0, object)
    plain = array.ndim == 1 and array.dtype.kind in "USiu" and len(array) > 0
    entry = Entry(array.shape, "")
    require(
        plain,
        f"{IDS} of {path} is {description_of(entry)} of {array.dtype}; write a text or a whole "
        "number for each row, or give --ids FILE to say which videos the rows are",
    )
    try:
        names = [item.decode() if isinstance(item, bytes) else str(item) for item in array.tolist()]
    except UnicodeDecodeError:
        names = [""]
    require(
        all(name and is_text(name) for name in names),
        f"an id of {path} is no text; write a text or a whole number for each row",
    )
    twice = [name for name, count in Counter(names).items() if count > 1]
    require(
        not twice,
        f"{IDS} of {path} name {', '.join(twice[:LISTED])} more than once; a row is one video",
    )
    return Wanted(names, f"its ids name {len(names)} videos"), match_names(names, wanted.videos)


def _npz_entry(loaded: Any, name: str) -> Entry:
    try:
        array = loaded[name]
    except ValueError:  # unpickling it would run code
        return Entry((), "Python objects")
    return Entry(array.shape, problem_of(array.dtype))


def _read_mat(path: Path, key: str | None, wanted: Wanted) -> FoundFeatures:
    if h5py.is_hdf5(path):
        require(
            _of_matlab(path),
            f"{path} is HDF5 but was not written by MATLAB; rename it to .h5 and import that",
        )
        return _read_hdf5(path, key, wanted)
    arrays = scipy.io.whosmat(path)
    entries = {
        name: Entry(shape, "" if kind in MATLAB_NUMBERS else kind) for name, shape, kind in arrays
    }
    name = _choose(path, entries, key, wanted)
    return _by_row(path, name, scipy.io.loadmat(path, variable_names=[name])[name], wanted)


def _read_hdf5(path: Path, key: str | None, wanted: Wanted) -> FoundFeatures:
    matlab = _of_matlab(path)
    with h5py.File(path, "r") as file:
        datasets = _datasets(path, file)
        key = key.strip("/") if key else key
        # an array a video, named by it; with --key in a group of that name
        group = "" if key is None else f"{key}/"
        named = {
            name.removeprefix(group): item
            for name, item in datasets.items()
            if name.startswith(group)
        }
        matches = _matches_of_arrays(named, wanted)
        if matches.ids and not matlab:
            videos = {
                video_id: _of_video(path, video_id, named[name])
                for name, video_id in matches.ids.items()
            }
            widths = {
                array.shape[1]: f"{array.shape[1]} for {video_id}"
                for video_id, array in videos.items()
            }
            require(
                len(widths) == 1,
                f"{path}: the numbers of columns differ, {', '.join(list(widths.values())[:5])}",
            )
            return FoundFeatures(group.rstrip("/"), videos, by_row=False, matches=matches)
        # in groups called #… MATLAB keeps what its cells hold
        entries = {
            name: _hdf5_entry(item, matlab)
            for name, item in datasets.items()
            if not name.startswith("#")
        }
        name = _choose(path, entries, key, wanted)
        array = datasets[name][()]
        return _by_row(path, name, array.T if matlab else array, wanted)


def _matches_of_arrays(named: Mapping[str, object], wanted: Wanted) -> MatchedNames:
    """The arrays of an .h5 that are videos by their names. Those in groups are so only by the very
    id: two groups may hold other features of the same videos.
    """
    videos = wanted.videos or {video_id: video_id for video_id in wanted.ids}
    comparable = [name for name in named if name in videos or "/" not in name]
    matches = match_names(comparable, videos)
    in_groups = [name for name in named if name not in videos and "/" in name]
    return replace(matches, unknown=sorted([*matches.unknown, *in_groups]))


def _of_matlab(path: Path) -> bool:
    """Whether an HDF5 file is MATLAB's (v7.3), which writes its arrays with the axes reversed."""
    with path.open("rb") as file:
        return file.read(6) == b"MATLAB"


def _datasets(path: Path, file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every array by its path in the file; UsageError for links and data in other files."""
    links: dict[str, object] = {}
    file.visititems_links(links.__setitem__)
    for name, link in links.items():
        require(isinstance(link, h5py.HardLink), f"{path}: {name} is a link; {SAFE}")
    found = {name: item for name in links if isinstance(item := file[name], h5py.Dataset)}
    for name, item in found.items():
        require(
            not item.is_virtual and not item.external,
            f"{path}: the numbers of {name} are in another file; {SAFE}",
        )
    return found


def _hdf5_entry(item: h5py.Dataset, matlab: bool) -> Entry:
    kind = str(
        np.asarray(item.attrs.get("MATLAB_class", b"double") if matlab else "double").astype(str)
    )
    problem = problem_of(item.dtype) or ("" if kind in MATLAB_NUMBERS else kind)
    shape = item.shape or ()  # none where it holds nothing at all
    return Entry(shape[::-1] if matlab else shape, problem)


def _of_video(path: Path, video_id: str, item: h5py.Dataset) -> Float32[np.ndarray, "_ C"]:
    entry = _hdf5_entry(item, matlab=False)
    fits = not entry.problem and len(entry.shape) in (1, 2) and min(entry.shape) > 0
    require(
        fits,
        f"{path}: video {video_id} has {description_of(entry)}; give frames, or frames x columns, "
        "of plain "
        "numbers",
    )
    return as_float32(item[()].reshape(len(item), -1))


def _read_csv(path: Path, key: str | None, wanted: Wanted) -> FoundFeatures:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    require(
        bool(lines), f"{path} is empty; give a row of numbers for each video, separated by commas"
    )
    first = lines[0][1]
    names = first if first[0] else first[1:]
    # pandas numbers columns that have no names
    counted = names == [str(number) for number in range(len(names))]
    header = (counted and len(lines) == len(wanted.ids) + 1) or any(
        _number(cell) is None for cell in first
    )
    body = lines[1:] if header else lines
    table = np.empty((len(body), len(first)), np.float64)
    for row, (line, cells) in enumerate(body):
        require(
            len(cells) == len(first),
            f"{path}, line {line} has {len(cells)} columns, the first has {len(first)}",
        )
        numbers = [_number(cell) for cell in cells]
        if None in numbers:
            wrong = (
                f"column {numbers.index(None)} (from 0): {cells[numbers.index(None)]!r} is "
                "not a number"
            )
            raise UsageError(
                f"{path}, line {line}, {wrong}; give numbers only under one header, ids with --ids "
                "FILE"
            )
        table[row] = numbers
    found = _by_row(path, _nameless(path, key), table, wanted)
    return replace(found, column_names=first if header else None)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return np.nan if cell.lower() in EMPTY else None


def _nameless(path: Path, key: str | None) -> str:
    require(key is None, f"--key {key}: {path} holds one array, which has no name; leave --key out")
    return ""


def _by_row(path: Path, key: str, array: np.ndarray, wanted: Wanted) -> FoundFeatures:
    # once more for a named array: that MATLAB's are complex shows in the numbers only
    _check_fits(
        f"{path}, array {key}" if key else str(path),
        Entry(array.shape, problem_of(array.dtype)),
        wanted,
    )
    rows = as_float32(array if array.ndim == 3 else array.reshape(len(array), 1, -1))
    return FoundFeatures(key, dict(zip(wanted.ids, rows, strict=True)), by_row=True)


def _choose(path: Path, entries: Mapping[str, Entry], key: str | None, wanted: Wanted) -> str:
    """The array that ``key`` names; without it the only one that can be features.

    UsageError lists all arrays where that is not clear.
    """
    listed = listing(path, entries)
    if key is None and len(entries) == 1:
        key = next(iter(entries))
    if key is not None:
        require(
            key in entries, f"--key {key}: there is no such array; choose another --key\n{listed}"
        )
        _check_fits(f"{path}, array {key}", entries[key], wanted)
        return key
    plain = {
        name: entry.shape
        for name, entry in entries.items()
        if not entry.problem and len(entry.shape) in (2, 3)
    }
    # one number a video may well be its label: never taken unasked
    fitting = [
        name for name, shape in plain.items() if shape[0] == len(wanted.ids) and shape[-1] > 1
    ]
    require(
        len(fitting) < 2,
        f"several arrays fit; choose one with --key: {', '.join(fitting)}\n{listed}",
    )
    if not fitting:
        raise UsageError(
            f"{path} has no array that can be the features. {wanted.description}, so the file "
            "needs "
            "a matrix with a row for each and more than one column, or (.h5) arrays named by "
            "video. "
            "Name the array with --key, or give --ids FILE to say which videos the rows are\n"
            f"{listed}"
        )
    return fitting[0]


def listing(path: Path, entries: Mapping[str, Entry], most: int = LISTED) -> str:
    """The arrays of a file with their shapes, a line each."""
    lines = [f"  {name}: {description_of(entry)}" for name, entry in [*entries.items()][:most]]
    lines += [f"  and {len(entries) - most} more"] if len(entries) > most else []
    return "\n".join([f"{path} holds", *(lines or ["  no array"])])


def _check_fits(what: str, entry: Entry, wanted: Wanted) -> None:
    described, shape, count = f"{what} is {description_of(entry)}", entry.shape, len(wanted.ids)
    require(not entry.problem, f"{described}. {NO_OBJECTS}")
    require(
        len(shape) in (1, 2, 3) and min(shape) > 0,
        f"{described}; give videos x columns or videos x frames x columns",
    )
    turned = f" (another axis has {count}: is it transposed?)" if count in shape[1:] else ""
    advice = (
        "Give a row for each video in the same order, or give --ids FILE to say which videos the "
        "rows are"
    )
    require(
        shape[0] == count,
        f"{described}: {shape[0]} rows, and {wanted.description}{turned}. {advice}",
    )


def description_of(entry: Entry) -> str:
    shape = " x ".join(map(str, entry.shape)) or "a single value"
    return f"{shape} ({entry.problem}, not plain numbers)" if entry.problem else shape


def problem_of(dtype: np.dtype) -> str:
    return "" if dtype.kind in "fiub" else PROBLEMS.get(dtype.kind, str(dtype))


def as_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # becomes infinite, and import reports what is
        return array.astype(np.float32)


READERS: dict[str, Callable[[Path, str | None, Wanted], FoundFeatures]]
READERS = {".mat": _read_mat, ".npy": _read_numpy, ".npz": _read_numpy, ".csv": _read_csv}
READERS |= {".h5": _read_hdf5, ".hdf5": _read_hdf5}
SUFFIXES = ", ".join(READERS) + ", or what vqa-cache export wrote"
