"""What `vqa-fuse train` can be told, each default once; the command line and the API share it. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainOptions:
    """Specs, and the recipe's few numbers. ``spatial`` and ``temporal`` None means the only such track in the cache."""

    fusion: str = "dynamic"
    pooling: str = "avg"
    temporal_pooling: str | None = None  # as the spatial track
    temporal_encoder: str = "mean"
    loss: str = "smooth_l1+plcc+group"
    protocol: str = "random:n=10"
    spatial: str | None = None
    temporal: str | None = None
    seed: int = 0
    epochs: int = 120
    members: int = 5
    oracle_epoch: bool = False
    baseline: str | None = None  # instead of a head: a file of fuse/baselines
