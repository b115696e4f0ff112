"""The contract of baselines beyond `fuse.streams.Baseline`: how the columns that they read are
prepared, how many videos they can take, and regressors that give several predictions at once.

The module of a baseline has ``build(*, options)``, which returns a `Candidates`, or just a function
from the number of columns to regressors, whose columns are then prepared as by default.

Dimensions: N videos, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from vqa_twostage.fuse.streams import Baseline, Regressor

PREPARATIONS = ("robust", "min_max", "as_is")


@runtime_checkable
class RegressorPath(Protocol):
    """Regressors that differ in one option, such as the penalty, and are fitted together, because
    they share most of the work. Validation chooses among them as among single regressors.
    """

    def fit(
        self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]
    ) -> RegressorPath: ...

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "options N"]: ...


@dataclass(frozen=True)
class Candidates:
    """A `fuse.streams.Baseline`.

    ``preparation``: ``robust`` (imputed by the median, squashed by asinh, standardised, and
    divided so that each track has variance 1 as a whole, and all its levels the same), ``min_max``
    (imputed by the mean, scaled to 0 to 1) or ``as_is``. ``most_videos``: for training and
    validation together; a split with more is refused. ``score``: the name of the imported scores of
    a published model, the only column that it reads (`fuse.published_scores`); empty for the
    columns of all tracks.
    """

    regressors: Callable[[int], Iterable[Regressor]]
    preparation: str = "robust"
    most_videos: int | None = None
    score: str = ""

    def __post_init__(self) -> None:
        if self.preparation not in PREPARATIONS:
            raise TypeError(
                f"the preparation of a baseline is one of {', '.join(PREPARATIONS)}, "
                f"not {self.preparation!r}"
            )

    @staticmethod
    def of(baseline: Baseline) -> Candidates:
        """What a plug-in's ``build`` returned, with the defaults where it says nothing."""
        return baseline if isinstance(baseline, Candidates) else Candidates(baseline)

    def __call__(self, columns: int) -> Iterator[Regressor]:
        return iter(self.regressors(columns))
