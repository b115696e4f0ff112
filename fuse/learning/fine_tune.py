"""Training that starts from the heads of another run, and does not go far from them.

Few labels say little about many weights, and what the heads know already is worth more. So the
scores of each member are first brought to the scale of the new labels, which changes no ranking;
training is short, and weights decay towards their start and not towards 0. Validation, which is of
few videos too, has one choice: the end of training, or the start where that is surely better.

Dimensions: N videos.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vqa_twostage.fuse.data import Features
from vqa_twostage.fuse.learning.model import QualityModel
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.streams import Arrays, Streams


@dataclass(frozen=True)
class TuningRecipe:
    """What differs from `fuse.learning.recipe.Recipe`."""

    version: int = 1
    """Raised when the same options give other results."""
    learning_rate: float = 3e-2
    weight_decay: float = 10.0
    """Towards the start."""
    epochs: int = 20
    """Where options do not say."""
    refitted_from: int = 50
    """Training videos; statistics of fewer are worse than those of another dataset."""


TUNING = TuningRecipe()


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    ``models`` and ``preparations`` (of each track of a stream) are those of the run's final model.
    ``last``: only the last layer is trained. ``refitted``: whether the statistics of each column
    are those of the new training videos, None where there are enough of them; the principal
    directions are the source's either way, since its weights are for them. ``mirrored``: whether
    better quality is the higher label of one dataset and the lower label of the other.
    """

    models: list[QualityModel]
    preparations: Streams[list[Preparation]]
    last: bool
    refitted: bool | None
    mirrored: bool

    def preparation(
        self, of_source: Preparation, track: Features, rows: Int[np.ndarray, " rows"]
    ) -> Preparation:
        """How a track is prepared; ``rows`` are the new training videos."""
        enough = len(rows) >= TUNING.refitted_from
        if not (enough if self.refitted is None else self.refitted):
            return of_source
        return replace(of_source, squash=Preparation.fit(track, rows).squash)

    def members(
        self, arrays: Streams[Arrays], masks: Streams[Bool[Tensor, "N _"]]
    ) -> list[QualityModel]:
        """Copies of the models, whose scores of these training videos have mean 0 and deviation 1,
        as the standardised labels do.
        """
        members = [copy.deepcopy(model).eval() for model in self.models]
        for member in members:
            with torch.inference_mode():
                scores = member(arrays, masks).scores
            deviation = float(scores.std(correction=0))
            slope = (-1 if self.mirrored else 1) / (deviation if deviation > 1e-6 else 1.0)
            member.rescale(slope, -slope * float(scores.mean()))
            member.requires_grad_(not self.last)
            member.last_layer.requires_grad_(True)
        return members


def start_or_last(srcc: Mapping[int, float], videos: int) -> int:
    """Which of two epochs, 0 and another, ``srcc`` of so many validation videos chooses: the start
    where it is better by more than the standard error of an SRCC, which is 1 / sqrt(N - 1), or
    where training came to constant scores.
    """
    last = max(srcc)
    better = srcc[0] - srcc[last]
    sure = better > 1 / math.sqrt(max(1, videos - 1))
    return 0 if sure or math.isnan(srcc[last]) else last
