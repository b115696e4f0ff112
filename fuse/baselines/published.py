"""Scores of a published model as vqa-fuse import-scores stored them, as they are or re-fitted.

Nothing is learnt from the features of a dataset. With `refit=none` a prediction is the score itself
(mirrored where lower scores are better), the same in every split; PLCC and RMSE fit a logistic to
whatever is predicted, so its scale does not matter. With `refit=logistic` it is put on the scale of
the labels by the monotonic logistic of `fuse.metrics`, fitted on training and validation together.
Where nothing increasing fits them better than a constant, it is that constant, and has no SRCC.

Dimensions: N rows, C columns, of which the first is read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.metrics import apply_logistic, fit_logistic
from vqa_twostage.fuse.streams import Regressor
from vqa_twostage.pipeline.errors import UsageError

VERSION = 1


def build(*, score: str, refit: str = "none") -> Candidates:
    if refit not in ("none", "logistic"):
        raise UsageError(f"published: refit must be none or logistic, not {refit!r}")

    def candidates(columns: int) -> Iterator[Regressor]:
        yield AsPublished() if refit == "none" else Refitted()

    return Candidates(candidates, "as_is", score=score)


class AsPublished:
    """The score as it is stored."""

    def fit(self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]) -> AsPublished:
        return self

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
        return rows[:, 0].copy()


class Refitted:
    """The score after a logistic."""

    def fit(self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]) -> Refitted:
        self.logistic = fit_logistic(rows[:, 0], labels)
        return self

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]:
        return apply_logistic(self.logistic, rows[:, 0])
