"""Index files of others: the permutations that a published experiment split its videos by.

Letters: P permutations of M references (contents), N videos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from vqa_twostage.pipeline.datasets.matlab import LARGEST, read_variables
from vqa_twostage.pipeline.errors import UsageError

KINDS = ".mat, .npy, .csv or .txt"


def read_index_file(path: Path) -> tuple[Int[np.ndarray, "P M"], Int[np.ndarray, " N"] | None]:
    """The permutations, a row each, and each video's reference number where the file has any; both
    from 0.

    A ``.mat`` holds ``index`` and perhaps ``ref_ids``, as the info files of VSFA do; the others
    hold one table of whole numbers. They may count from 0 or 1, and a permutation may be a row or a
    column: whichever are permutations is taken, rows where both are. UsageError where the file
    cannot be read, or holds no permutations.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} {'is no file' if path.exists() else 'does not exist'}; give one of {KINDS}"
        )
    try:
        index, ref_ids = _read(path)
        index = index.reshape(1, -1) if index.ndim < 2 else index
        permutations = next(
            (found for found in map(_permutations, (index, index.T)) if found is not None), None
        )
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file can make its parser raise anything
        raise UsageError(
            f"{path} cannot be read as {path.suffix} ({error}); give one of {KINDS}"
        ) from None
    if permutations is None:
        raise UsageError(
            f"{path}: neither the rows nor the columns of its {' x '.join(map(str, index.shape))} "
            "numbers are "
            "permutations of 1 to M (or 0 to M-1); give a permutation of the references a row or a "
            "column"
        )
    first = int(index.min())
    if ref_ids is None:
        return permutations, None
    references = ref_ids.ravel() - first
    wrong = np.flatnonzero(~np.isin(references, np.arange(permutations.shape[1])))
    if len(wrong):
        raise UsageError(
            f"{path}: ref_ids of video {wrong[0] + 1} is {ref_ids.ravel()[wrong[0]]:g}, and index "
            "orders the "
            f"references {first} to {permutations.shape[1] - 1 + first}; the file is damaged, take "
            "another copy"
        )
    return permutations, references.astype(np.int64)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        table = np.load(path, mmap_mode="r", allow_pickle=False)
        return _numbers(path, "the array", table), None
    if suffix in (".csv", ".txt"):
        text = path.read_text(encoding="utf-8-sig").replace(",", " ").replace(";", " ")
        return np.array(
            [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
        ), None
    if suffix != ".mat":
        raise UsageError(f"{path} is no index file that is known here; give one of {KINDS}")
    found = read_variables(path, ["index", "ref_ids"])
    if "index" not in found:
        raise UsageError(
            f"{path} has no array index; give the info file that holds the permutations"
        )
    ref_ids = found.get("ref_ids")
    return _numbers(path, "index", found["index"]), None if ref_ids is None else _numbers(
        path, "ref_ids", ref_ids
    )


def _numbers(path: Path, name: str, array: Any) -> np.ndarray:
    if (
        not isinstance(array, np.ndarray)
        or array.dtype.kind not in "iuf"
        or array.ndim > 2
        or array.size > LARGEST
    ):
        raise UsageError(
            f"{path}: {name} is no table of whole numbers; give a permutation a row or a column"
        )
    return np.asarray(array, dtype=float)


def _permutations(rows: np.ndarray) -> Int[np.ndarray, "P M"] | None:
    """``rows`` counted from 0, if each is a permutation of 0 to M-1 or each of 1 to M."""
    if not rows.size or not np.isfinite(rows).all() or rows.min() not in (0, 1):
        return None
    from_zero = rows - rows.min()
    if not (np.sort(from_zero, axis=1) == np.arange(rows.shape[1])).all():
        return None
    return from_zero.astype(np.int64)
