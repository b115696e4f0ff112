"""Features prepared for learning, with statistics of the training part alone: impute, squash,
standardise, rotate.

Hand-made features have heavy tails (a skewness of 31 in VIDEVAL's), deep ones have thousands of
columns for a few hundred videos. So each column is squashed by asinh around its median, in units of
its interquartile range (linear for usual values, logarithmic for outliers, always increasing), and
standardised. The channels of a level are then rotated to at most `COMPONENTS` principal directions,
one basis for all its statistics, so that averages, maxima and maps still agree.

Dimensions: N videos, T frames, F frames of some videos together, C channels of one stored array, K
components kept, H, W positions of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import linalg

from vqa_twostage.fuse.data import Features
from vqa_twostage.fuse.streams import Arrays
from vqa_twostage.pipeline.features import ArrayName

VERSION = 1
# squashed features are limited to so many standard deviations
CLIP = 5.0
# principal directions kept of a level's channels
COMPONENTS = 64
# most frames or positions that statistics are computed from, evenly spaced
SAMPLE = 8192
# interquartile range of a normal distribution, in standard deviations
NORMAL_IQR = 1.349

Columns = Float[np.ndarray, " C"]
Rows = Float[np.ndarray, "rows C"]


@dataclass(frozen=True)
class Squash:
    """Statistics of each column: ``fill`` (its median, which replaces values that are not finite),
    ``scale``, and mean and deviation of the squashed values.

    ``keep`` is 0 for a column that is constant in training: it carries no information, and becomes
    0 in every video.
    """

    fill: Columns
    scale: Columns
    mean: Columns
    std: Columns
    keep: Columns

    @staticmethod
    def fit(rows: Rows) -> Squash:
        rows = np.where(np.isfinite(rows), rows, np.nan).astype(np.float64)
        rows[:, np.isnan(rows).all(axis=0)] = 0.0
        # nanquantile is far slower, and most columns have no gap
        quantile = np.nanquantile if np.isnan(rows).any() else np.quantile
        low, fill, high = quantile(rows, (0.25, 0.5, 0.75), axis=0)
        rows = np.where(np.isnan(rows), fill, rows)
        width, deviation = (high - low) / NORMAL_IQR, rows.std(axis=0)
        keep = deviation > 1e-6 * np.maximum(1.0, np.abs(fill))
        # where most values are equal the range is 0: the deviation then is the unit
        scale = np.where(keep, np.where(width > 1e-6 * deviation, width, deviation), 1.0)
        squashed = np.arcsinh((rows - fill) / scale)
        std = squashed.std(axis=0)
        return Squash(
            fill,
            scale,
            squashed.mean(axis=0),
            np.where(keep & (std > 0), std, 1.0),
            keep.astype(np.float64),
        )

    def __call__(self, rows: Rows) -> Float[np.ndarray, "rows C"]:
        fill, scale, mean, std, keep = (
            values.astype(np.float32)
            for values in (self.fill, self.scale, self.mean, self.std, self.keep)
        )
        rows = rows.astype(np.float32)
        squashed = np.arcsinh((np.where(np.isfinite(rows), rows, fill) - fill) / scale)
        return np.clip((squashed - mean) / std, -CLIP, CLIP) * keep


@dataclass(frozen=True)
class Preparation:
    """How one track is prepared: the `Squash` of each array, and the basis [C, K] of each level
    with more than K channels.
    """

    squash: dict[ArrayName, Squash]
    basis: dict[str, Float[np.ndarray, "C K"]]

    @staticmethod
    def fit(features: Features, rows: Int[np.ndarray, " rows"]) -> Preparation:
        """From the frames of the videos ``rows`` alone."""
        squash: dict[ArrayName, Squash] = {}
        levels: dict[str, list[Rows]] = {}
        mask = features.mask[rows]
        for name, array in features.arrays.items():
            frames = _as_rows(array[rows][mask])
            frames = frames[:: -(-len(frames) // SAMPLE)]
            squash[name] = Squash.fit(frames)
            if frames.shape[1] > COMPONENTS:
                levels.setdefault(name.level, []).append(squash[name](frames))
        return Preparation(squash, {level: _principal(frames) for level, frames in levels.items()})

    def compact(self) -> Preparation:
        """The same with bases of half precision, for a model that is saved and so also trained with
        them.
        """
        return Preparation(
            self.squash, {level: basis.astype(np.float16) for level, basis in self.basis.items()}
        )

    def __call__(self, features: Features) -> Arrays:
        """Every array that it was fitted on, prepared, as float32; padding is 0."""
        prepared = {}
        for name in self.squash:
            array = features.arrays[name]
            rows = self.squash[name](_as_rows(array[features.mask]))
            basis = self.basis.get(name.level)
            if basis is not None:
                rows = rows @ basis.astype(np.float32)
            frames, positions = int(features.mask.sum()), array.shape[3:]
            rows = np.moveaxis(rows.reshape(frames, *positions, -1), -1, 1)
            full = np.zeros((*features.mask.shape, *rows.shape[1:]), np.float32)
            full[features.mask] = rows
            prepared[name] = torch.from_numpy(full)
        return prepared


def _as_rows(frames: Float[np.ndarray, "F C ..."]) -> Float[np.ndarray, "rows C"]:
    """A row for each frame, or for each position of each frame's map."""
    return np.moveaxis(frames, 1, -1).reshape(-1, frames.shape[1])


def _principal(arrays: list[Float[np.ndarray, "_ C"]]) -> Float[np.ndarray, "C K"]:
    """The directions of largest variance of several arrays together, scaled to an average variance
    of 1.
    """
    rows = np.concatenate([array / len(array) ** 0.5 for array in arrays])
    # the smaller of the two products has the same eigenvalues
    wide = len(rows) < rows.shape[1]
    product = rows @ rows.T if wide else rows.T @ rows
    size = len(product)
    values, vectors = linalg.eigh(product, subset_by_index=(max(0, size - COMPONENTS), size - 1))
    values = np.maximum(values[::-1], 1e-12)
    basis = vectors[:, ::-1]
    if wide:
        basis = rows.T @ basis / np.sqrt(values)
    return basis * np.sqrt(len(arrays) * len(values) / values.sum())
