"""Read MATLAB files, v5 and v7.3, as plain values: numbers, text, cells and structs.

The files come from strangers, so nothing else is read: no object is built, no link is followed, and
only the variables that are asked for are loaded.
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
from jaxtyping import Shaped
from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque

from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.processes import call_apart

# an array [rows, columns] of numbers as MATLAB shows it; a text or a list of texts; a list of the
# values of a cell, column after column; a dict, or a list of dicts, for a struct
Value = Any
# far more than any published label or index file has, and far less than fills a computer's memory
MOST_VALUES = 50_000_000
DEEPEST = 8  # levels of cells in cells and of structs in structs
NUMBERS = {
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}
SUPPORTED = (
    "only numbers, text, cells and structs can be read; convert it to one of these in MATLAB"
)


def variable_names(path: Path) -> list[str]:
    """Names of the variables in a file, in its order, without those that MATLAB uses internally."""
    return call_apart(_variable_names, path)


def _variable_names(path: Path) -> list[str]:
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            return [name for name in file if not name.startswith("#")]
    return [str(name) for name, _, _ in scipy.io.whosmat(path)]


def read_variables(path: Path, names: Sequence[str]) -> dict[str, Value]:
    """The variables among ``names`` that the file has, as numbers [rows, columns], str, list (a
    cell) or dict (a struct).

    UsageError if one contains anything else, or is stored in another file.
    """
    return call_apart(_read_variables, path, names)


def _read_variables(path: Path, names: Sequence[str]) -> dict[str, Value]:
    if h5py.is_hdf5(path):
        with h5py.File(path, "r") as file:
            budget = itertools.count(MOST_VALUES, -1)
            return {
                name: _from_hdf5(path, name, _member(path, file, name), budget)
                for name in names
                if name in file
            }
    for name, shape, _ in scipy.io.whosmat(path):  # before anything is decompressed
        if name in names:
            _check_size(path, name, math.prod(shape))
    try:
        variables = scipy.io.loadmat(path, variable_names=list(names))
    except NotImplementedError as error:  # a damaged v7.3 file
        raise UsageError(f"{path} cannot be read as .mat: {error}") from None
    return {
        name: _from_version_5(path, name, variables[name]) for name in names if name in variables
    }


def _from_version_5(path: Path, name: str, value: Any) -> Value:
    if isinstance(value, MatlabOpaque | MatlabObject | MatlabFunction):
        kind = "a function" if isinstance(value, MatlabFunction) else "objects"
        raise UsageError(f"{path}: {name} contains {kind}; {SUPPORTED}")
    if scipy.sparse.issparse(value):
        raise UsageError(f"{path}: {name} is sparse; {SUPPORTED}")
    array = np.asarray(value)
    if array.dtype.names:
        structs = [
            {
                field: _from_version_5(path, f"{name}.{field}", struct[field])
                for field in array.dtype.names
            }
            for struct in array.ravel(order="F")
        ]
        return structs[0] if len(structs) == 1 else structs
    if array.dtype.kind == "O":
        return [
            _from_version_5(path, f"{name}{{{number}}}", entry)
            for number, entry in enumerate(array.ravel(order="F"), 1)
        ]
    if array.dtype.kind in "US":
        return _as_text([str(line) for line in array.ravel()])
    return _checked_numbers(path, name, array)


def _member(path: Path, group: h5py.Group, name: str) -> Any:
    """An object of a group; UsageError if it is a link, which might lead out of the file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise UsageError(f"{path}: {name} is a link; such a file is refused")
    return group[name]


def _from_hdf5(path: Path, name: str, item: Any, budget: Iterator[int], depth: int = 0) -> Value:
    """``budget`` counts down how many objects may still be visited, because cells may refer to each
    other again and again.
    """
    if depth >= DEEPEST or next(budget) <= 0:
        raise UsageError(f"{path}: {name} is nested too deeply; {SUPPORTED}")
    kind = np.asarray(item.attrs.get("MATLAB_class", b"")).astype(str).item()
    if "MATLAB_object_decode" in item.attrs or kind not in {"", "struct", "cell", "char", *NUMBERS}:
        content = "a function" if kind == "function_handle" else "objects"
        raise UsageError(f"{path}: {name} contains {content}; {SUPPORTED}")
    if isinstance(item, h5py.Group):
        if "MATLAB_sparse" in item.attrs:
            raise UsageError(f"{path}: {name} is sparse; {SUPPORTED}")
        return {
            field: _from_hdf5(
                path, f"{name}.{field}", _member(path, item, field), budget, depth + 1
            )
            for field in item
        }
    if item.is_virtual or item.external or item.size is None:
        raise UsageError(
            f"{path}: the values of {name} are in another file; such a file is refused"
        )
    _check_size(path, name, item.size)
    if item.attrs.get("MATLAB_empty"):
        return _empty(kind)
    array = item[()]
    if array.dtype.kind == "O":  # references of a cell, or of a field of several structs
        if h5py.check_ref_dtype(item.dtype) is not h5py.Reference:
            raise UsageError(
                f"{path}: {name} contains HDF5 strings, which MATLAB does not write; {SUPPORTED}"
            )
        return [
            _from_hdf5(path, f"{name}{{{number}}}", item.file[reference], budget, depth + 1)
            for number, reference in enumerate(np.asarray(array).ravel(), 1)
        ]
    array = np.atleast_2d(array).T
    if kind == "char":
        if array.dtype.kind != "u":
            raise UsageError(f"{path}: {name} is not text, although it says so; {SUPPORTED}")
        return _as_text([_decoded(line) for line in array])
    return _checked_numbers(path, name, array)


def _empty(kind: str) -> Value:
    if kind == "char":
        return ""
    return [] if kind == "cell" else np.zeros((0, 0))


def _decoded(line: Shaped[np.ndarray, " C"]) -> str:
    """A row of UTF-16 code units as text; MATLAB pads rows to equal length with blanks."""
    return line.astype("<u2").tobytes().decode("utf-16-le", "surrogatepass").rstrip()


def _as_text(lines: list[str]) -> str | list[str]:
    return lines if len(lines) > 1 else "".join(lines)


def _checked_numbers(
    path: Path, name: str, array: Shaped[np.ndarray, ...]
) -> Shaped[np.ndarray, ...]:
    if array.dtype.kind not in "fiub":
        kind = "complex" if array.dtype.kind in "cV" else str(array.dtype)
        raise UsageError(f"{path}: {name} contains values that are {kind}; {SUPPORTED}")
    _check_size(path, name, array.size)
    return array


def _check_size(path: Path, name: str, size: int) -> None:
    if size > MOST_VALUES:
        raise UsageError(f"{path}: {name} has {size} values; at most {MOST_VALUES} can be read")
