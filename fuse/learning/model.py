"""Pooling, temporal encoder, fusion and regressor put together: prepared features in, one score a
video out.

Letters: B videos, T frames of the spatial track, U of the temporal one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.streams import Channels, Stream
from vqa_twostage.pipeline import spec

Arrays = dict[str, Float[Tensor, "B T ..."]]
TemporalArrays = dict[str, Float[Tensor, "B U ..."]]
Shapes = dict[str, tuple[int, ...]]


# of the regressor's hidden layer
DROPOUT = 0.3


class Answer(NamedTuple):
    """``scores`` on the scale of standardised labels; what was weighed on the way; ``penalty`` is
    added to the loss.
    """

    scores: Float[Tensor, " B"]
    spatial_weights: Float[Tensor, "B T"]
    temporal_weights: Float[Tensor, "B U"]
    gates: dict[str, Float[Tensor, "B _"]]
    penalty: Float[Tensor, ""]


@dataclass(frozen=True)
class Head:
    """Which plug-ins make a model; resolved once, built for every split."""

    pooling: spec.Plugin
    temporal_pooling: spec.Plugin
    temporal_encoder: spec.Plugin
    fusion: spec.Plugin

    @staticmethod
    def of(options: TrainOptions) -> Head:
        """UsageError where a spec names nothing, or an option that its plug-in does not have."""
        return Head(
            spec.resolve("fuse.pooling", options.pooling),
            spec.resolve("fuse.pooling", options.temporal_pooling or options.pooling),
            spec.resolve("fuse.temporal", options.temporal_encoder),
            spec.resolve("fuse.fusion", options.fusion),
        )

    @property
    def plugins(self) -> tuple[spec.Plugin, ...]:
        return self.fusion, self.pooling, self.temporal_pooling, self.temporal_encoder

    @property
    def reads(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Which statistics of the spatial and of the temporal track."""
        return self.pooling.module.READS, self.temporal_pooling.module.READS

    def build(self, spatial: Shapes, temporal: Shapes) -> QualityModel:
        """A fresh model for tracks with arrays of these shapes per frame."""
        return QualityModel(self, spatial, temporal)


class Encoder(nn.Module):
    """One stream: stored arrays to pooled levels of equal width, to encoded tokens."""

    def __init__(self, pooling: spec.Plugin, temporal_encoder: spec.Plugin, shapes: Shapes) -> None:
        super().__init__()
        self.pool = pooling.build(shapes)
        self.project = pooling.shared()(self.pool.level_channels)
        self.encode = temporal_encoder.build(sum(self.project.level_channels))
        self.channels = Channels(self.encode.out_channels, self.project.level_channels)

    def forward(self, arrays: Arrays, mask: Bool[Tensor, "B T"]) -> Stream:
        levels = self.project(self.pool(arrays))
        tokens, weights = self.encode(torch.cat(levels, dim=-1), mask)
        return Stream(levels, tokens, weights, mask)


class QualityModel(nn.Module):
    """Scores on the scale of standardised labels: mean 0 and deviation 1 over the training part."""

    def __init__(self, head: Head, spatial: Shapes, temporal: Shapes) -> None:
        super().__init__()
        self.spatial = Encoder(head.pooling, head.temporal_encoder, spatial)
        self.temporal = Encoder(head.temporal_pooling, head.temporal_encoder, temporal)
        self.fuse = head.fusion.build(self.spatial.channels, self.temporal.channels)
        width = self.fuse.out_channels
        self.regress = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(width, 1)
        )

    def forward(
        self,
        spatial: Arrays,
        temporal: TemporalArrays,
        mask: Bool[Tensor, "B T"],
        other: Bool[Tensor, "B U"],
    ) -> Answer:
        """``mask`` is of the spatial frames, ``other`` of the temporal ones."""
        first, second = self.spatial(spatial, mask), self.temporal(temporal, other)
        vector, gates, penalty = self.fuse(first, second)
        return Answer(
            self.regress(vector).squeeze(1), first.weights, second.weights, gates, penalty
        )
