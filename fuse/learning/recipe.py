"""The recipe that every head is trained by: its numbers, each once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vqa_twostage.fuse.learning import prepare


@dataclass(frozen=True)
class Recipe:
    """AdamW on a schedule of one cycle (`fuse.learning.adamw`)."""

    version: int = 8
    """Raised when the same options give other results."""
    learning_rate: float = 2e-2
    """The highest of the cycle, where it has up to ``full_rate_steps`` (`peak`)."""
    full_rate_steps: int = 60
    weight_decay: float = 1.0
    batch: int = 2048
    """Most videos of a batch. The labels of small datasets are few, and losses such as PLCC want
    them together."""
    epochs: int = 40
    """Where options do not say, and sets are neither small nor large."""
    shown: int = 28_800
    """Small sets have more epochs, as many as show so many videos. They need them, and an epoch of
    them takes less time (docs/experiments.md)."""
    most_epochs: int = 120
    """But no more than these."""
    steps: int = 480
    """Large sets have fewer epochs, as many as make so many steps: more change no ranking."""
    fewest_epochs: int = 12
    """But no fewer than these."""
    warm_up: float = 0.3
    """The part of training in which the learning rate rises."""
    validate_every: int = 4
    """Epochs between two validations, after the warm-up."""
    preparation: int = prepare.VERSION
    components: int = prepare.COMPONENTS
    clip: float = prepare.CLIP

    def peak(self, steps: int) -> float:
        """The highest learning rate of so many steps. The product of both stays the same: so far
        weights move, and decay, whatever the number of videos.
        """
        return self.learning_rate * min(1.0, self.full_rate_steps / steps)

    def epochs_for(self, videos: int) -> int:
        """The epochs of a training on so many videos."""
        of_small = min(self.most_epochs, math.ceil(self.shown / videos))
        of_large = max(self.fewest_epochs, math.ceil(self.steps / math.ceil(videos / self.batch)))
        return min(max(self.epochs, of_small), of_large)


RECIPE = Recipe()
