"""The recipe that every head is trained by: its numbers, each once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vqa_twostage.fuse.learning import prepare


@dataclass(frozen=True)
class Recipe:
    """AdamW on a schedule of one cycle (`fuse.learning.adamw`)."""

    version: int = 6
    """Raised when the same options give other results."""
    learning_rate: float = 1e-2
    """The highest of the cycle."""
    weight_decay: float = 1.0
    batch: int = 2048
    """Most videos of a batch. The labels of small datasets are few, and losses such as PLCC want
    them together."""
    epochs: int = 120
    """The most, where options do not say."""
    steps: int = 480
    """Large sets have fewer epochs, as many as make so many steps: more change no ranking
    (docs/experiments.md)."""
    fewest_epochs: int = 12
    """But no fewer than these."""
    warm_up: float = 0.3
    """The part of training in which the learning rate rises. No epoch of it is chosen, however
    lucky its validation."""
    validate_every: int = 4
    """Epochs between two validations, after the warm-up."""
    preparation: int = prepare.VERSION
    components: int = prepare.COMPONENTS
    clip: float = prepare.CLIP

    def epochs_for(self, videos: int) -> int:
        """The epochs of a training on so many videos."""
        batches = math.ceil(videos / self.batch)
        return min(self.epochs, max(self.fewest_epochs, math.ceil(self.steps / batches)))


RECIPE = Recipe()
