"""The contract of what is averaged with a head's networks: regressors in closed form.

Such a plug-in is a file in ``closed_form/``; its ``build`` returns a `ClosedForm`. It reads one row
a video: the mean over the frames (and over the positions of a map) of every prepared array.

Dimensions: N videos, T frames of a track, D columns of all prepared arrays, P penalties.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vqa_twostage.fuse.streams import Arrays, Shapes, Streams


class TrainingRows(NamedTuple):
    """The row, the label and the content of each training video, and the level of each column."""

    rows: Float[np.ndarray, "N D"]
    level: Int[np.ndarray, " D"]
    labels: Float[np.ndarray, " N"]
    group: Int[np.ndarray, " N"]


Fit = Callable[[TrainingRows, Float[np.ndarray, " P"]], nn.Module]
"""From training videos and penalties to a module that takes rows [N, D] and gives a prediction for
each penalty [P, N]."""


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """``fits``: one, or several, of which each is more careful than the one before. Validation
    chooses among ``penalties`` for each, and takes the most careful one that is not surely worse
    than the best: whose squared error is within two standard errors of the lowest.

    ``module``: the class that they return. It has nothing but buffers, which are the arguments of
    its constructor; so a model is saved and read again. ``remembers_contents``: whether it is left
    out where contents have several videos.
    """

    penalties: Float[np.ndarray, " P"]
    fits: tuple[Fit, ...]
    module: type[nn.Module]
    remembers_contents: bool = False


class Setting(NamedTuple):
    """What validation chose: the number of the fit, from 0, and the penalty."""

    fit: int
    penalty: float


class FittedAverage(NamedTuple):
    """The regressors of a head on one split, fitted on training and validation together, the
    setting of each by its spec, and the sums of their predictions, on the scale of the labels.

    ``everywhere``: of all videos; ``unseen``: of validation videos, by regressors that were fitted
    on the training part alone.
    """

    regressors: list[nn.Module]
    settings: dict[str, Setting]
    everywhere: Float[np.ndarray, " N"]
    unseen: Float[np.ndarray, " val"]


def rows_of(arrays: Streams[Arrays], masks: Streams[Bool[Tensor, "N _"]]) -> Float[Tensor, "N D"]:
    """The row of each video; the columns of the spatial stream come first, those of a stream in the
    order of the names of its arrays.
    """
    columns = []
    for track, mask in arrays.zip(masks):
        frames = mask.sum(dim=1, keepdim=True)
        for _, array in sorted(track.items()):
            pooled = array if array.ndim == 3 else array.flatten(3).mean(dim=-1)
            columns.append(pooled.sum(dim=1) / frames)  # padding is 0
    return torch.cat(columns, dim=1)


def average(
    networks: Float[Tensor, " N"],
    regressors: Sequence[nn.Module],
    arrays: Streams[Arrays],
    masks: Streams[Bool[Tensor, "N _"]],
) -> Float[Tensor, " N"]:
    """The mean of the networks' score and of the prediction of each regressor."""
    if not regressors:
        return networks
    rows = rows_of(arrays, masks)
    return torch.stack([networks, *(module(rows)[0] for module in regressors)]).mean(dim=0)


def levels_of(shapes: Streams[Shapes]) -> Int[np.ndarray, " D"]:
    """The number of the level that each column of `rows_of` is of."""
    names = [(stream, name) for stream, track in shapes.items() for name in sorted(track)]
    levels = list(dict.fromkeys((stream, name.level) for stream, name in names))
    numbers = [levels.index((stream, name.level)) for stream, name in names]
    widths = [track[name][0] for track in shapes for name in sorted(track)]
    return np.repeat(numbers, widths)
