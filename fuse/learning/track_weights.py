"""How much each track decided: how far a video's score moves when the track says nothing.

A track says nothing where its prepared columns are 0, those of the average training video. So the
weight is defined for every head, and for what is averaged with it (occlusion, Zeiler and Fergus,
"Visualizing and understanding convolutional networks", ECCV 2014, of whole tracks).

Dimensions: N videos, K tracks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vqa_twostage.fuse.data import Dataset, Side
from vqa_twostage.fuse.learning.sides import track_names
from vqa_twostage.fuse.streams import Arrays, Streams
from vqa_twostage.pipeline.cache.layout import TrackPath

NAME = "track"


def track_weights(
    data: Dataset,
    arrays: Streams[Arrays],
    score: Callable[[Streams[Arrays]], Float[Tensor, " N"]],
) -> Float[np.ndarray, "N K"]:
    """Of the tracks of ``data``, each once; they sum to 1 for a video.

    ``arrays`` are prepared, ``score`` is on any scale.
    """
    usual = score(arrays)
    changes = torch.stack(
        [
            (score(arrays.map(_without(track.path), data.features)) - usual).abs()
            for track in data.tracks
        ],
        dim=1,
    )
    total = changes.sum(dim=1, keepdim=True)
    equal = torch.full_like(changes, 1 / changes.shape[1])
    return torch.where(total > 0, changes / total.clamp(min=1e-30), equal).numpy()


def labels_of(data: Dataset) -> list[str]:
    """What the columns of `track_weights` are called."""
    return track_names([track.identity for track in data.tracks])


def _without(path: TrackPath) -> Callable[[Arrays, Side], Arrays]:
    def without(arrays: Arrays, side: Side) -> Arrays:
        names = track_names([track.identity for track in side])
        silent = tuple(
            f"{name}/" if name else ""
            for name, track in zip(names, side, strict=True)
            if track.path == path
        )
        return {
            name: torch.zeros_like(array) if name.startswith(silent) else array
            for name, array in arrays.items()
        }

    return without
