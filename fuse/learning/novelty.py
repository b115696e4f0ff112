"""How far a video lies from those that a model was trained on: a score far from all it has seen is
a guess.

Of each prepared column the mean over a video's frames is compared with mean and deviation over the
training videos; the distance is the root mean square over all columns, 1 for a typical training
video.

Letters: N videos, D columns of all arrays together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

# of what is kept of a distribution: its percentiles from 0 to 100
PERCENTILES = np.arange(101)

Track = dict[str, Float[Tensor, "N _ ..."]]


@dataclass(frozen=True)
class Familiar:
    """``mean`` and ``std`` of each column over the training videos; percentiles 0 to 100 of their
    distances.
    """

    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]
    distances: Float[np.ndarray, " 101"]

    @staticmethod
    def fit(tracks: list[Track], masks: list[Bool[Tensor, "N _"]]) -> Familiar:
        """From the training videos, prepared."""
        vectors = _vectors(tracks, masks)
        mean, std = vectors.mean(axis=0), vectors.std(axis=0)
        # of few videos some directions hardly vary: none may decide alone
        std = np.maximum(std, max(0.1 * float(np.median(std)), 1e-6))
        return Familiar(mean, std, np.percentile(_distances(vectors, mean, std), PERCENTILES))

    def distance(
        self, tracks: list[Track], masks: list[Bool[Tensor, "N _"]]
    ) -> Float[np.ndarray, " N"]:
        return _distances(_vectors(tracks, masks), self.mean, self.std)


def percentile_of(value: float, distribution: Float[np.ndarray, " 101"]) -> float:
    """The percentage of the training videos that ``value`` is above, of their percentiles; 0 to
    100.
    """
    return float(np.interp(value, distribution, PERCENTILES))


def _vectors(tracks: list[Track], masks: list[Bool[Tensor, "N _"]]) -> Float[np.ndarray, "N D"]:
    columns = []
    for track, mask in zip(tracks, masks, strict=True):
        frames = mask.sum(dim=1).numpy()
        for array in track.values():
            pooled = array.numpy().reshape(*array.shape[:3], -1).mean(axis=-1, dtype=np.float64)
            columns.append(pooled.sum(axis=1) / frames[:, None])  # frames that are not there hold 0
    return np.concatenate(columns, axis=1)


def _distances(
    vectors: Float[np.ndarray, "N D"], mean: Float[np.ndarray, " D"], std: Float[np.ndarray, " D"]
) -> Float[np.ndarray, " N"]:
    return np.sqrt((((vectors - mean) / std) ** 2).mean(axis=1))
