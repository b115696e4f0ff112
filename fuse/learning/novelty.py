"""How far a video lies from the training videos of a model (an out-of-distribution score): far from
all of them, a predicted score is a guess.

For each prepared column, the mean over a video's frames is compared with mean and deviation over
the training videos. The distance is the root mean square over all columns, 1 for a typical training
video.

Dimensions: N videos, D columns of all arrays together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from vqa_twostage.fuse.streams import Arrays, Streams

# a distribution is kept as its percentiles from 0 to 100
PERCENTILES = np.arange(101)

Masks = Streams[Bool[Tensor, "N _"]]


@dataclass(frozen=True, eq=False)
class NoveltyReference:
    """``mean`` and ``std`` of each column over the training videos, and the percentiles 0 to 100 of
    their ``distances``.
    """

    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]
    distances: Float[np.ndarray, " 101"]

    @staticmethod
    def fit(arrays: Streams[Arrays], masks: Masks) -> NoveltyReference:
        """From the prepared arrays of the training videos."""
        vectors = _vectors(arrays, masks)
        mean, std = vectors.mean(axis=0), vectors.std(axis=0)
        # of few videos some directions hardly vary: none may decide alone
        std = np.maximum(std, max(0.1 * float(np.median(std)), 1e-6))
        return NoveltyReference(
            mean, std, np.percentile(_distances(vectors, mean, std), PERCENTILES)
        )

    def distance(self, arrays: Streams[Arrays], masks: Masks) -> Float[np.ndarray, " N"]:
        """Of each video; prepared as the training videos were."""
        return _distances(_vectors(arrays, masks), self.mean, self.std)


def percentile_of(value: float, distribution: Float[np.ndarray, " 101"]) -> float:
    """The percentage (0 to 100) of the training videos whose value is below ``value``.

    ``distribution``: their percentiles from 0 to 100.
    """
    return float(np.interp(value, distribution, PERCENTILES))


def _vectors(arrays: Streams[Arrays], masks: Masks) -> Float[np.ndarray, "N D"]:
    columns = []
    for track, mask in arrays.zip(masks):
        frames = mask.sum(dim=1).numpy()
        for array in track.values():
            pooled = array.numpy().reshape(*array.shape[:3], -1).mean(axis=-1, dtype=np.float64)
            columns.append(pooled.sum(axis=1) / frames[:, None])  # padding is 0
    return np.concatenate(columns, axis=1)


def _distances(
    vectors: Float[np.ndarray, "N D"], mean: Float[np.ndarray, " D"], std: Float[np.ndarray, " D"]
) -> Float[np.ndarray, " N"]:
    return np.sqrt((((vectors - mean) / std) ** 2).mean(axis=1))
