"""Pooling, temporal encoder, fusion and regressor put together: cached features in, one score a video out.

Letters: B videos, T frames of the spatial track, U of the temporal one, C channels of one level.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from fuse.options import TrainOptions
from pipeline import spec

Levels = dict[str, Float[Tensor, "B T _"]]
TemporalLevels = dict[str, Float[Tensor, "B U _"]]


@dataclass(frozen=True)
class Head:
    """Which plug-ins make a model; resolved once, built for every split."""

    pooling: spec.Plugin
    temporal_encoder: spec.Plugin
    fusion: spec.Plugin

    @staticmethod
    def of(options: TrainOptions) -> Head:
        """UsageError where a spec names nothing, or an option that its plug-in does not have."""
        return Head(
            spec.resolve("fuse.pooling", options.pooling),
            spec.resolve("fuse.temporal", options.temporal_encoder),
            spec.resolve("fuse.fusion", options.fusion),
        )

    def build(self, spatial: dict[str, int], temporal: dict[str, int]) -> QualityModel:
        """A fresh model for tracks with these columns per level."""
        return QualityModel(self, spatial, temporal)


class QualityModel(nn.Module):
    """Scores on the scale of standardised labels: mean 0 and deviation 1 over the training part."""

    def __init__(self, head: Head, spatial: dict[str, int], temporal: dict[str, int]) -> None:
        super().__init__()
        self.pool_spatial, self.pool_temporal = (head.pooling.build(levels) for levels in (spatial, temporal))
        self.encode_spatial = head.temporal_encoder.build(self.pool_spatial.out_channels)
        self.encode_temporal = head.temporal_encoder.build(self.pool_temporal.out_channels)
        self.fuse = head.fusion.build(self.encode_spatial.out_channels, self.encode_temporal.out_channels)
        self.regress = nn.Linear(self.fuse.out_channels, 1)

    def forward(
        self,
        spatial: Levels,
        temporal: TemporalLevels,
        mask: Bool[Tensor, "B T"],
        other: Bool[Tensor, "B U"] | None = None,
    ) -> Float[Tensor, " B"]:
        """``mask`` is of the spatial frames; ``other`` of the temporal ones, where those are not the same frames."""
        vectors = (
            self.encode_spatial(self.pool_spatial(spatial), mask),
            self.encode_temporal(self.pool_temporal(temporal), mask if other is None else other),
        )
        return self.regress(self.fuse(*vectors)).squeeze(1)

    def attention(
        self,
        spatial: Levels,
        temporal: TemporalLevels,
        mask: Bool[Tensor, "B T"],
        other: Bool[Tensor, "B U"] | None = None,
    ) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B U"]] | None:
        """How much each frame counts for the spatial and the temporal vector, 1 in all for a video.

        None unless the temporal encoder weighs frames: it then has a method ``weights(tokens, mask)``.
        """
        encoders = self.encode_spatial, self.encode_temporal
        if not all(hasattr(encoder, "weights") for encoder in encoders):
            return None
        return (
            self.encode_spatial.weights(self.pool_spatial(spatial), mask),
            self.encode_temporal.weights(self.pool_temporal(temporal), mask if other is None else other),
        )
