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

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from vqa_twostage.fuse.data import Features
from vqa_twostage.fuse.streams import Arrays
from vqa_twostage.pipeline.features import ArrayName

VERSION = 3
# squashed features are limited to so many standard deviations
CLIP = 5.0
# principal directions kept of a level's channels
COMPONENTS = 64
# most videos, and most frames or positions of them, that statistics are computed from; they are
# evenly spaced
SAMPLE = 2048
# interquartile range of a normal distribution, in standard deviations
NORMAL_IQR = 1.349
# directions beyond those that are kept, and rounds, of the search for principal directions
OVERSAMPLED, ROUNDS = 32, 3
# values of an array that are prepared at a time: what the processor's own memory holds
BLOCK_VALUES = 1 << 17

Columns = Float[np.ndarray, " C"]
Rows = Float[np.ndarray, "rows C"]


@dataclass(frozen=True, eq=False)
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
        values = _float32(rows).T.contiguous().numpy()
        finite = np.isfinite(values)
        values[~finite] = np.nan
        low, fill, high = _quartiles(values, finite.sum(axis=1))
        np.copyto(values, fill[:, None], where=~finite, casting="same_kind")
        width, deviation = (high - low) / NORMAL_IQR, values.std(axis=1, dtype=np.float64)
        keep = deviation > 1e-6 * np.maximum(1.0, np.abs(fill))
        # where most values are equal the range is 0: the deviation then is the unit
        scale = np.where(keep, np.where(width > 1e-6 * deviation, width, deviation), 1.0)
        squashed = (values - fill[:, None].astype(np.float32)) / scale[:, None].astype(np.float32)
        _asinh(torch.from_numpy(squashed))
        std = squashed.std(axis=1).astype(np.float64)
        return Squash(
            fill,
            scale,
            squashed.mean(axis=1).astype(np.float64),
            np.where(keep & (std > 0), std, 1.0),
            keep.astype(np.float64),
        )

    def __call__(self, rows: Rows) -> Float32[np.ndarray, "rows C"]:
        fill, unit, mean, slope, keep = (
            torch.from_numpy(values.astype(np.float32))
            for values in (self.fill, 1 / self.scale, self.mean, 1 / self.std, self.keep)
        )
        values = _float32(rows)
        if not values.sum().isfinite():  # a fraction of the time of looking at every value
            values = torch.where(values.isfinite(), values, fill)
        values.sub_(fill).mul_(unit)
        _asinh(values)
        squashed: Float32[np.ndarray, "rows C"] = (
            values.sub_(mean).mul_(slope).clamp_(-CLIP, CLIP).mul_(keep).numpy()
        )
        return squashed


def _asinh(values: Float32[Tensor, ...]) -> None:
    """In place, to 2e-7. Takes a fifth of the time of torch's and numpy's, of which only numpy's is
    fast, and only where the processor has AVX-512.
    """
    magnitude = values.abs()
    magnitude.add_(torch.hypot(magnitude, torch.ones(()))).log_()
    torch.copysign(magnitude, values, out=values)


def _float32(rows: Rows) -> Float32[Tensor, "rows C"]:
    """A copy; torch converts half precision thirty times as fast as numpy."""
    return torch.from_numpy(np.ascontiguousarray(rows)).to(torch.float32, copy=True)


def _quartiles(
    columns: Float[np.ndarray, "C rows"], counts: Int[np.ndarray, " C"]
) -> Float[np.ndarray, "3 C"]:
    """Of the ``counts`` values of each column that are not NaN; 0 where there is none."""
    ordered = np.sort(columns, axis=1)  # NaN last
    places = np.array([[0.25], [0.5], [0.75]]) * np.maximum(counts - 1, 0)
    below = np.floor(places).astype(np.int64)
    number = np.arange(len(columns))
    low, high = (
        ordered[number, place].astype(np.float64)
        for place in (below, np.minimum(below + 1, np.maximum(counts - 1, 0)))
    )
    return np.where(counts > 0, low + (high - low) * (places - below), 0.0)


@dataclass(frozen=True, eq=False)
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
        videos = rows[_evenly(len(rows))]
        place, frame = np.nonzero(features.mask[videos])
        chosen = _evenly(len(place))
        video, frame = videos[place[chosen]], frame[chosen]
        for name, array in features.arrays.items():
            values = _as_rows(array[video, frame])
            values = values[_evenly(len(values))]
            squash[name] = Squash.fit(values)
            if values.shape[1] > COMPONENTS:
                levels.setdefault(name.level, []).append(squash[name](values))
        return Preparation(
            squash, {level: principal_directions(values) for level, values in levels.items()}
        )

    def compact(self) -> Preparation:
        """The same with bases of half precision, for a model that is saved and so also trained with
        them.
        """
        return Preparation(
            self.squash, {level: basis.astype(np.float16) for level, basis in self.basis.items()}
        )

    def __call__(self, features: Features) -> Arrays:
        """Every array that it was fitted on, prepared, as float32; padding is 0.

        In torch's memory, which begins at a multiple of 64 bytes as numpy's does not: the last bits
        of a product of matrices may depend on it.
        """
        prepared = self._empty(features, features.mask.shape[1])
        for name, full in prepared.items():
            array, basis = features.arrays[name], self._basis(name)
            channels = full.shape[2]
            for videos, values in _blocks(features, name):
                mask = features.mask[videos]
                rows = self.squash[name](_as_rows(values[mask]))
                rows = rows if basis is None else rows @ basis
                rows = rows.reshape(int(mask.sum()), *array.shape[3:], channels)
                full.numpy()[videos][mask] = np.moveaxis(rows, -1, 1)
        return prepared

    def means(self, features: Features, threads: int = 1) -> Arrays:
        """What `__call__` gives, averaged over the frames of each video: [N, draws, K], a mean for
        each draw of patches, of which most tracks have one.

        ``threads``: how many arrays are prepared at a time; it changes no bit.
        """
        prepared = self._empty(features, features.draws)

        def prepare(name: ArrayName) -> None:
            prepared[name][:] = self._means_of(features, name)

        if threads == 1:
            for name in prepared:
                prepare(name)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(prepare, prepared):
                    pass
        return prepared

    def _means_of(self, features: Features, name: ArrayName) -> Float32[Tensor, "N draws K"]:
        array, basis, draws = features.arrays[name], self._basis(name), features.draws
        means = torch.empty(len(array), draws, array.shape[2])
        for videos, values in _blocks(features, name):
            mask = features.mask[videos]
            squashed = torch.from_numpy(self.squash[name](values[mask]))
            means[videos] = _means(squashed, mask.sum(axis=1), draws)
        # the basis is linear: averaged first, as many times fewer products
        rows = means.flatten(0, 1)
        rows = rows if basis is None else rows @ torch.tensor(basis)
        return rows.unflatten(0, (-1, draws))

    def _empty(self, features: Features, frames: int) -> Arrays:
        """Zeros for every array: of averages the columns of one tensor, so that neighbours can be
        read as one.
        """
        size = len(features.mask), frames
        shapes = {
            name: (
                self.basis[name.level].shape[1] if name.level in self.basis else len(squash.fill),
                *features.arrays[name].shape[3:],
            )
            for name, squash in sorted(self.squash.items())
        }
        averages = {name: shape[0] for name, shape in shapes.items() if len(shape) == 1}
        columns = torch.zeros(*size, sum(averages.values())).split([*averages.values()], dim=2)
        maps = {
            name: torch.zeros(*size, *shape) for name, shape in shapes.items() if len(shape) > 1
        }
        return dict(zip(averages, columns, strict=True)) | maps

    def _basis(self, name: ArrayName) -> Float32[np.ndarray, "C K"] | None:
        basis = self.basis.get(name.level)
        return None if basis is None else basis.astype(np.float32)


def _means(
    frames: Float32[Tensor, "F C"], lengths: Int[np.ndarray, " videos"], draws: int
) -> Float32[Tensor, "videos draws C"]:
    """Of the frames of each video, which follow each other; each frame is there for every draw."""
    if (lengths == lengths[0]).all():
        return frames.unflatten(0, (len(lengths), -1, draws)).mean(dim=1)
    videos = frames.split(lengths.tolist())
    return torch.stack([video.unflatten(0, (-1, draws)).mean(dim=0) for video in videos])


def _as_rows(frames: Float[np.ndarray, "F C ..."]) -> Float[np.ndarray, "rows C"]:
    """A row for each frame, or for each position of each frame's map."""
    return np.moveaxis(frames, 1, -1).reshape(-1, frames.shape[1])


def _evenly(count: int) -> Int[np.ndarray, " _"]:
    """At most `SAMPLE` of so many places, evenly spaced."""
    return np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(np.int64)


def _blocks(
    features: Features, name: ArrayName
) -> Iterator[tuple[slice, Float[np.ndarray, "videos T ..."]]]:
    """Videos that are prepared at a time, and their values."""
    videos = max(1, BLOCK_VALUES // max(1, math.prod(features.arrays[name].shape[1:])))
    for place, block in features.blocks(name):
        for first in range(0, len(block), videos):
            part = block[first : first + videos]
            start = place.start + first
            yield slice(start, start + len(part)), part


def principal_directions(arrays: list[Float[np.ndarray, "_ C"]]) -> Float[np.ndarray, "C K"]:
    """The directions of largest variance of several arrays together, scaled to an average variance
    of 1.

    Found by a randomised subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011), whose
    error `docs/experiments.md` states.
    """
    rows = np.concatenate([array / np.float32(len(array) ** 0.5) for array in arrays])
    size = min(COMPONENTS + OVERSAMPLED, *rows.shape)
    found = np.random.default_rng(0).standard_normal((rows.shape[1], size), np.float32)
    for _ in range(ROUNDS):
        found = scipy.linalg.qr(rows.T @ (rows @ found), mode="economic", check_finite=False)[0]
    projected, kept = rows @ found, min(COMPONENTS, size)
    values, directions = scipy.linalg.eigh(projected.T @ projected, check_finite=False)
    largest = np.arange(len(values))[::-1][:kept]
    values, basis = np.maximum(values[largest], 1e-12), found @ directions[:, largest]
    return basis * np.float32(np.sqrt(len(arrays) * kept / values.sum()))
