"""The labels that a head has outputs for: the main one, and those of axes (`fuse.options`).

Everything that is of one label is done for each by itself, on a view of the dataset whose labels
are those of the axis (`fuse.data.Dataset.of_axis`): a head's networks alone learn them together.

Dimensions: N videos.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


class StandardLabels(NamedTuple):
    """Labels of all videos, standardised by ``mean`` and ``std`` of some."""

    mean: float
    std: float
    target: Float[Tensor, " N"]

    @staticmethod
    def of(labels: Float[np.ndarray, " N"], rows: Int[np.ndarray, " rows"]) -> StandardLabels:
        """``rows``: the videos whose mean becomes 0 and whose deviation becomes 1."""
        mean, std = float(labels[rows].mean()), max(float(labels[rows].std()), 1e-6)
        return StandardLabels(mean, std, torch.from_numpy((labels - mean) / std).float())

    def on_scale(self, scores: Float[Tensor, " rows"]) -> Float[np.ndarray, " rows"]:
        """Standardised scores on the scale of the labels."""
        return scores.double().numpy() * self.std + self.mean
