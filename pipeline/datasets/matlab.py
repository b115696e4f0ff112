"""MATLAB files, v5 and v7.3, as plain values: numbers, text, cells and structs. Nothing else in
them is read.

They come from strangers: no object is built, no link is followed, and only the variables that were
asked for are read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse
from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque

from vqa_twostage.pipeline.errors import UsageError, require

# an array [rows, columns] of numbers as MATLAB shows it; text; the values of a cell, column after
# column; a struct
Value = Any
# of numbers: far above any published label or index file, far below what fills a machine
LARGEST = 50_000_000
# of cells in cells and structs in structs
DEEPEST = 8
NUMBERS = {
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
REFUSED = "only numbers, text, cells and structs are read; in MATLAB save it as one of these"


def variable_names(path: Path) -> list[str]:
    """What the file holds, in its order; what MATLAB keeps for itself is left out."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            return [name for name in file if not name.startswith("#")]
    return [str(name) for name, _, _ in scipy.io.whosmat(path)]


def read_variables(path: Path, names: Sequence[str]) -> dict[str, Value]:
    """Those of ``names`` that the file has, as numbers [rows, columns], str, list (a cell) or dict
    (a struct).

    UsageError where one is or holds anything else, or lies in another file.
    """
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            left = itertools.count(LARGEST, -1)
            return {
                name: _of_hdf5(path, name, _member(path, file, name), left)
                for name in names
                if name in file
            }
    for name, shape, _ in scipy.io.whosmat(path):  # before anything is inflated
        size = math.prod(shape)
        require(
            name not in names or size <= LARGEST,
            f"{path}: {name} has {size} values; {LARGEST} are the most read",
        )
    try:
        found = scipy.io.loadmat(path, variable_names=list(names))
    except NotImplementedError as error:  # of a damaged v7.3 file
        raise UsageError(f"{path} cannot be read as .mat: {error}") from None
    return {name: _of_version_5(path, name, found[name]) for name in names if name in found}


def _of_version_5(path: Path, name: str, value: Any) -> Value:
    if isinstance(value, MatlabOpaque | MatlabObject | MatlabFunction):
        kind = "a function" if isinstance(value, MatlabFunction) else "objects"
        raise UsageError(f"{path}: {name} holds {kind}; {REFUSED}")
    require(not scipy.sparse.issparse(value), f"{path}: {name} is sparse; {REFUSED}")
    array = np.asarray(value)
    if array.dtype.names:
        entries = [
            {
                field: _of_version_5(path, f"{name}.{field}", entry[field])
                for field in array.dtype.names
            }
            for entry in array.ravel(order="F")
        ]
        return entries[0] if len(entries) == 1 else entries
    if array.dtype.kind == "O":
        return [
            _of_version_5(path, f"{name}{{{i}}}", entry)
            for i, entry in enumerate(array.ravel(order="F"), 1)
        ]
    if array.dtype.kind in "US":
        lines = [str(line) for line in array.ravel()]
        return lines if len(lines) > 1 else "".join(lines)
    return _numbers(path, name, array)


def _member(path: Path, group: h5py.Group, name: str) -> Any:
    """A stranger's file may point elsewhere: only what lies in it is read."""
    require(
        isinstance(group.get(name, getlink=True), h5py.HardLink),
        f"{path}: {name} is a link; this file is refused",
    )
    return group[name]


def _of_hdf5(path: Path, name: str, item: Any, left: Iterator[int], depth: int = 0) -> Value:
    """``left`` counts down what may still be looked at, since cells may refer to each other again
    and again.
    """
    require(depth < DEEPEST and next(left) > 0, f"{path}: {name} is nested too deeply; {REFUSED}")
    kind = np.asarray(item.attrs.get("MATLAB_class", b"")).astype(str).item()
    if "MATLAB_object_decode" in item.attrs or kind not in {"", "struct", "cell", "char", *NUMBERS}:
        raise UsageError(
            f"{path}: {name} holds {'objects' if kind != 'function_handle' else 'a function'}; "
            f"{REFUSED}"
        )
    if isinstance(item, h5py.Group):
        require("MATLAB_sparse" not in item.attrs, f"{path}: {name} is sparse; {REFUSED}")
        inside = {field: (f"{name}.{field}", _member(path, item, field)) for field in item}
        return {
            field: _of_hdf5(path, inner, value, left, depth + 1)
            for field, (inner, value) in inside.items()
        }
    apart = item.is_virtual or item.external
    require(
        not apart and item.size is not None,
        f"{path}: the values of {name} are in another file; it is refused",
    )
    require(
        item.size <= LARGEST,
        f"{path}: {name} has {item.size} values; {LARGEST} are the most that is read",
    )
    if item.attrs.get("MATLAB_empty"):
        return "" if kind == "char" else [] if kind == "cell" else np.zeros((0, 0))
    array = item[()]
    if array.dtype.kind == "O":  # references of a cell, or of a field of several structs
        references = h5py.check_ref_dtype(item.dtype) is h5py.Reference
        require(references, f"{path}: {name} holds texts as MATLAB writes none; {REFUSED}")
        cells = [
            (f"{name}{{{i}}}", reference)
            for i, reference in enumerate(np.asarray(array).ravel(), 1)
        ]
        return [
            _of_hdf5(path, inner, item.file[reference], left, depth + 1)
            for inner, reference in cells
        ]
    array = np.atleast_2d(array).T
    if kind == "char":
        require(array.dtype.kind == "u", f"{path}: {name} is no text; {REFUSED}")
        lines = [
            line.astype("<u2").tobytes().decode("utf-16-le", "surrogatepass").rstrip()
            for line in array
        ]
        return lines if len(lines) > 1 else "".join(lines)
    return _numbers(path, name, array)


def _numbers(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    what = "complex" if array.dtype.kind in "cV" else str(array.dtype)
    require(array.dtype.kind in "fiub", f"{path}: {name} holds values that are {what}; {REFUSED}")
    require(
        array.size <= LARGEST,
        f"{path}: {name} has {array.size} values; {LARGEST} are the most that is read",
    )
    return array
