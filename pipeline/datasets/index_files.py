"""Index files: the permutations of the references by which a published experiment split its videos.

Dimensions: P permutations of M references (contents), N videos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vqa_twostage.pipeline.datasets.matlab import MOST_VALUES, read_variables
from vqa_twostage.pipeline.errors import UsageError

KINDS = ".mat, .npy, .csv or .txt"


def read_index_file(
    path: str | Path,
) -> tuple[Int[np.ndarray, "P M"], Int[np.ndarray, " N"] | None]:
    """The permutations, one in each row, and the reference number of each video if the file has
    them; both count from 0.

    A ``.mat`` contains ``index`` and perhaps ``ref_ids``, as the info files of VSFA do; the other
    kinds contain one table of whole numbers. They may count from 0 or from 1, and a permutation may
    be a row or a column: whichever are permutations is used, and rows if both are. UsageError if
    the file cannot be read or does not contain permutations.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is not a file" if path.exists() else "does not exist"
        raise UsageError(f"{path} {problem}; give an index file, {KINDS}")
    try:
        index, ref_ids = _read(path)
        table = index.reshape(1, -1) if index.ndim < 2 else index
        permutations = _permutations(table)
        if permutations is None:
            permutations = _permutations(table.T)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        raise UsageError(
            f"{path} cannot be read as {path.suffix} ({error}); give an intact index file, {KINDS}"
        ) from None
    if permutations is None:
        shape = " x ".join(map(str, table.shape))
        raise UsageError(
            f"{path}: neither the rows nor the columns of its {shape} numbers are permutations of "
            "1 to M (or 0 to M-1); give a file with one permutation of the references in each row "
            "or column"
        )
    if ref_ids is None:
        return permutations, None
    return permutations, _references(path, ref_ids, int(index.min()), permutations.shape[1])


def _references(
    path: Path, ref_ids: Float[np.ndarray, ...], first: int, count: int
) -> Int[np.ndarray, " N"]:
    """``ref_ids`` counted from 0. In the file they count from ``first``, and there are ``count``
    references.
    """
    references = ref_ids.ravel() - first
    wrong = np.flatnonzero(~np.isin(references, np.arange(count)))
    if len(wrong):
        raise UsageError(
            f"{path}: ref_ids of video {wrong[0] + 1} is {ref_ids.ravel()[wrong[0]]:g}, but index "
            f"permutes the references {first} to {count - 1 + first}; the file is damaged: replace "
            "it by an intact copy"
        )
    return references.astype(np.int64)


def _read(path: Path) -> tuple[Float[np.ndarray, ...], Float[np.ndarray, ...] | None]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        table = np.load(path, mmap_mode="r", allow_pickle=False)
        return _numbers(path, "the array", table), None
    if suffix in (".csv", ".txt"):
        text = path.read_text(encoding="utf-8-sig").replace(",", " ").replace(";", " ")
        lines = [line.split() for line in text.splitlines()]
        return np.array([[float(word) for word in words] for words in lines if words]), None
    if suffix != ".mat":
        raise UsageError(f"{path} is not an index file of a known kind; give one of {KINDS}")
    variables = read_variables(path, ["index", "ref_ids"])
    if "index" not in variables:
        raise UsageError(
            f"{path} has no array index; give the info file that contains the permutations"
        )
    index = _numbers(path, "index", variables["index"])
    if "ref_ids" not in variables:
        return index, None
    return index, _numbers(path, "ref_ids", variables["ref_ids"])


def _numbers(path: Path, name: str, array: Any) -> Float[np.ndarray, ...]:
    if (
        not isinstance(array, np.ndarray)
        or array.dtype.kind not in "iuf"
        or array.ndim > 2
        or array.size > MOST_VALUES
    ):
        raise UsageError(
            f"{path}: {name} is not a table of whole numbers; give a file with one permutation in "
            "each row or column"
        )
    return np.asarray(array, dtype=float)


def _permutations(rows: Float[np.ndarray, "P M"]) -> Int[np.ndarray, "P M"] | None:
    """``rows`` counted from 0, if each is a permutation of 0 to M-1 or each one of 1 to M."""
    if not rows.size or not np.isfinite(rows).all() or rows.min() not in (0, 1):
        return None
    from_zero = rows - rows.min()
    if not (np.sort(from_zero, axis=1) == np.arange(rows.shape[1])).all():
        return None
    return from_zero.astype(np.int64)
