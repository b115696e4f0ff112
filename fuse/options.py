"""What `vqa-fuse train` can be told, each default once; the command line and the API share it. No
torch here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainOptions:
    """Which head, on which features and splits, by which recipe. Specs are ``name:key=value,…``."""

    fusion: str = "dynamic"
    """Spec of how spatial and temporal features meet."""
    pooling: str = "avg"
    """Spec: stored arrays to one token a level."""
    temporal_pooling: str | None = None
    """The same of the temporal track; None is that of the spatial one."""
    temporal_encoder: str = "mean"
    """Spec: tokens of frames to one vector."""
    loss: str = "smooth_l1+plcc+group"
    """Losses joined by ``+``."""
    protocol: str = "random:n=10"
    """Spec of how videos are divided."""
    spatial: str | None = None
    """Which spatial track; None is the only one in the cache."""
    temporal: str | None = None
    """Which temporal track; None is the only one in the cache, or none."""
    seed: int = 0
    """Added to every seed."""
    epochs: int = 120
    """The most; validation chooses among them."""
    members: int = 5
    """Models whose scores are averaged."""
    oracle_epoch: bool = False
    """Whether to tell also what choosing the epoch on the test part would have claimed."""
    baseline: str | None = None
    """Instead of a head: a file of ``fuse/baselines``."""
