"""What `vqa-cache export` wrote, read back: .npz, a folder of .npy files, .parquet.

How they are written is in `pipeline/cache/export_formats.py`. Such a file may come from a stranger:
no pickle is loaded, and what does not fit together is refused.

Dimensions: N videos, R rows in all, T rows of a video.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from jaxtyping import Float, Int64

from vqa_twostage.pipeline.cache.export_formats import (
    ABOUT,
    FORMAT,
    FORMAT_VERSION,
    ID,
    IDS,
    SAFE_NAME,
    START,
)
from vqa_twostage.pipeline.cache.feature_folders import array_files
from vqa_twostage.pipeline.cache.track_index import (
    DTYPES_OF_FEATURES,
    FRAME_INDEX,
    OF_FRAMES,
    TIMESTAMP,
)
from vqa_twostage.pipeline.errors import UsageError, close_to, require, require_installed
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.files import is_text, sha256_of
from vqa_twostage.pipeline.identity import parse_opinions
from vqa_twostage.pipeline.processes import call_apart

PARQUET = ".parquet"
NPY = ".npy"
ABOUT_FILE = f"{ABOUT}{NPY}"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class ExportedVideo:
    """The rows of one video, as they were stored: ``arrays`` by name, each [T, ...]."""

    arrays: dict[ArrayName, Float[np.ndarray, "T ..."]]
    frame_index: Int64[np.ndarray, " T"]
    timestamp: Float[np.ndarray, " T"]


@dataclass(frozen=True)
class Export:
    """``videos`` by their ids; ``trained_on``: as `TrackIdentity.trained_on` of the track."""

    videos: dict[str, ExportedVideo]
    trained_on: str


def is_export(path: Path) -> bool:
    """Whether `vqa-cache export` wrote this file or folder, by a look at what it says of itself."""
    if path.suffix.lower() == PARQUET and path.is_file():
        return True  # nothing else is read of this kind
    try:
        if path.is_dir():
            return _is_about(np.load(path / ABOUT_FILE, allow_pickle=False))
        with ZipFile(path) as archive, archive.open(ABOUT_FILE) as file:
            return _is_about(np.lib.format.read_array(file, allow_pickle=False))
    except Exception:  # noqa: BLE001  other files, and damaged ones, can raise anything
        return False


def _is_about(array: np.ndarray) -> bool:
    return array.dtype.kind == "S" and array.shape == () and FORMAT.encode() in array.item()


def read_export(path: Path, key: str | None) -> Export:
    """Every video of an export, by its id; ``key`` is the only array to read.

    Pooled features have one row, whose frame number and time are 0. UsageError where the file is
    damaged or says what cannot be.
    """
    in_a_table = path.suffix.lower() == PARQUET and path.is_file()
    if in_a_table:
        require_installed(f"reading {path}", ["pyarrow"], "parquet")
    try:
        if in_a_table:
            found = call_apart(_read_parquet, path, key)
        elif path.is_dir():
            files = {
                file.relative_to(path).with_suffix("").as_posix(): file
                for file in sorted(path.rglob(f"*{NPY}"))
            }
            found = _chosen(list(files), key, lambda name: np.load(files[name], allow_pickle=False))
        else:
            with np.load(path, allow_pickle=False) as archive:
                found = _chosen(archive.files, key, archive.__getitem__)
        return Export(_videos(found), _trained_on(found[ABOUT].item()))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise UsageError(f"{path} cannot be read ({reason}); export it again") from None


def _chosen(names: list[str], key: str | None, load: Callable[[str], np.ndarray]) -> Arrays:
    arrays = [name for name in names if "/" in name]
    require(
        key is None or key in arrays,
        f"--key {key}: there is no such array; choose from {', '.join(arrays)}"
        f"{close_to(key, arrays)}",
    )
    wanted = arrays if key is None else [key]
    needed = [name for name in (ABOUT, IDS, START, *OF_FRAMES) if name in names]
    return {name: load(name) for name in (*needed, *wanted)}


def _read_parquet(path: Path, key: str | None) -> Arrays:
    from pyarrow import parquet, types

    with parquet.ParquetFile(path) as file:
        about: bytes = (file.schema_arrow.metadata or {}).get(ABOUT.encode(), b"{}")
        _check_about(about)
        shapes = json.loads(about)["arrays"]

        def load(name: str) -> np.ndarray:
            column = file.read(columns=[name]).column(name).combine_chunks()
            require(column.null_count == 0, f"its column {name} has empty cells")
            if name == ID:
                return np.array(column.to_pylist(), np.str_)
            shape = shapes.get(name, [])
            if shape:
                require(types.is_fixed_size_list(column.type), f"its column {name} is no array")
                column = column.flatten()
            return column.to_numpy(zero_copy_only=False).reshape(-1, *shape)

        names = [name for name in file.schema_arrow.names if "/" in name or name in OF_FRAMES]
        found = {**_chosen(names, key, load), ABOUT: np.array(about)}
        ids = load(ID)
    # the rows of a video follow each other
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    found[IDS] = ids[first]
    if FRAME_INDEX in found:
        found[START] = np.append(first, len(ids))
    return found


def _videos(found: Arrays) -> dict[str, ExportedVideo]:
    _check_about(found[ABOUT].item())
    ids = found[IDS]
    require(ids.ndim == 1 and ids.dtype.kind == "U" and len(ids) > 0, "it names no videos")
    names = ids.tolist()
    require(len(set(names)) == len(names), "it names a video twice")
    require(all(map(is_text, names)), "an id in it is no text")
    start = found.get(START, np.arange(len(names) + 1))
    rows = _rows_of(start, len(names))
    frame_index = found.get(FRAME_INDEX, np.zeros(rows, np.int64))
    timestamp = found.get(TIMESTAMP, np.zeros(rows, np.float64))
    arrays = {ArrayName(name): array for name, array in found.items() if "/" in name}
    require(bool(arrays), "it has no arrays of features")
    for name, array in arrays.items():
        fits = array.dtype.str in DTYPES_OF_FEATURES and array.ndim in (2, 4) and min(array.shape)
        require(bool(fits), f"its array {name} is {array.dtype} of shape {array.shape}")
        require(SAFE_NAME.fullmatch(name) is not None, f"{name!r} is no name of an array")
    numbers = frame_index.dtype.kind == "i" and timestamp.dtype.kind == "f"
    require(numbers and bool(np.isfinite(timestamp).all()), "its frames have no numbers or times")
    for what, array in [*arrays.items(), (FRAME_INDEX, frame_index), (TIMESTAMP, timestamp)]:
        require(len(array) == rows, f"its array {what} has {len(array)} rows, its videos {rows}")
    require(frame_index.ndim == timestamp.ndim == 1, "its frames have several numbers or times")
    return {
        video_id: ExportedVideo(
            {name: array[first:last] for name, array in arrays.items()},
            frame_index[first:last].astype(np.int64),
            timestamp[first:last].astype(np.float64),
        )
        for video_id, first, last in zip(names, start[:-1], start[1:], strict=True)
    }


def _check_about(text: bytes) -> None:
    about = json.loads(text)
    require(
        isinstance(about, dict) and about.get("format") == FORMAT,
        "vqa-cache export did not write it; of other programs write .npz, .npy, .csv or .h5",
    )
    version = about.get("format_version")
    require(
        version == FORMAT_VERSION,
        f"it has version {version!r}, and this program reads {FORMAT_VERSION}; update the program",
    )


def _trained_on(about: bytes) -> str:
    identity = json.loads(about).get("identity")
    text = identity.get("trained_on", "") if isinstance(identity, dict) else ""
    return parse_opinions(str(text)) if text else ""


def _rows_of(start: np.ndarray, videos: int) -> int:
    """How many rows there are; UsageError unless each video has some of its own."""
    plain = start.dtype.kind == "i" and start.shape == (videos + 1,)
    require(
        plain and start[0] == 0 and bool((np.diff(start) > 0).all()),
        "its videos have no rows of their own",
    )
    return int(start[-1])


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a file, or of a folder with the names and contents of its arrays."""
    if not path.is_dir():
        return sha256_of(path), path.stat().st_size
    files = array_files(path)
    listed = [[file.relative_to(path).as_posix(), sha256_of(file)] for file in files]
    size = sum(file.stat().st_size for file in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest(), size
