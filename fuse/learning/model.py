"""Pooling, temporal encoder, fusion and regressor put together: prepared features in, one score a
video out.

Dimensions: B videos, T frames of one track.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.streams import (
    Arrays,
    Channels,
    Fusion,
    Pooling,
    Shapes,
    Stream,
    Streams,
    TemporalEncoder,
    value,
)
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

# of the regressor's hidden layer
DROPOUT = 0.3


class HeadOutput(NamedTuple):
    """Of members of an ensemble together, every tensor has their number in front."""

    scores: Float[Tensor, "*members B"]
    """On the scale of standardised labels."""
    weights: Streams[Float[Tensor, "*members B _"]]
    """Of the frames of each track."""
    gates: dict[str, Float[Tensor, "*members B _"]]
    """The weights that the fusion used, by their names."""
    penalty: Float[Tensor, "*members"]
    """Added to the loss."""
    axes: Float[Tensor, "*members B axes"]
    """Scores of further labels, on their own standardised scales."""


@dataclass(frozen=True)
class Head:
    """The plug-ins that make a model; resolved once, built for every split."""

    pooling: spec.Plugin
    temporal_pooling: spec.Plugin
    temporal_encoder: spec.Plugin
    fusion: spec.Plugin
    closed_forms: tuple[spec.Plugin, ...] = ()
    """Whose scores are averaged with those of the networks."""
    axes: tuple[str, ...] = ()
    """Further labels, each with an output of its own."""

    @staticmethod
    def of(options: TrainOptions) -> Head:
        """UsageError where a spec names no plug-in, or an option that its plug-in does not have."""
        return Head(
            spec.resolve("fuse.pooling", options.pooling),
            spec.resolve("fuse.pooling", options.temporal_pooling or options.pooling),
            spec.resolve("fuse.temporal", options.temporal_encoder),
            spec.resolve("fuse.fusion", options.fusion),
            closed_forms(options.average_with),
            tuple(options.axes or ()),
        )

    @property
    def plugins(self) -> tuple[spec.Plugin, ...]:
        """Everything that decides the scores."""
        return *self.of_networks, *self.closed_forms

    @property
    def of_networks(self) -> tuple[spec.Plugin, ...]:
        return self.fusion, self.pooling, self.temporal_pooling, self.temporal_encoder

    @property
    def poolings(self) -> Streams[spec.Plugin]:
        return Streams(self.pooling, self.temporal_pooling)

    @property
    def reads(self) -> Streams[tuple[str, ...]]:
        """The statistics that are read of each track."""
        return self.poolings.map(lambda pooling: tuple(pooling.module.READS))

    @property
    def reads_frames(self) -> bool:
        """Whether the head needs the frames one by one; if not, their mean gives the same, for as
        many times less work as a video has frames.
        """
        return not all(getattr(plugin.module, "OF_MEANS", False) for plugin in self.of_networks)

    def build(self, shapes: Streams[Shapes]) -> QualityModel:
        """A new model for tracks with arrays of these shapes per frame."""
        return QualityModel(self, shapes)


def closed_forms(text: str) -> tuple[spec.Plugin, ...]:
    """The plug-ins that ``text`` names; UsageError for an unknown one, or one named twice."""
    if text == "none":
        return ()
    plugins = tuple(spec.resolve("fuse.closed_form", name) for name in spec.parse_list(text))
    names = [str(plugin.short_spec) for plugin in plugins]
    if not names or len({*names}) < len(names):
        raise UsageError(
            f"average_with must be different regressors in closed form, or none, not {text!r}"
        )
    return plugins


class Encoder(nn.Module):
    """One stream: stored arrays to pooled levels of equal width, to encoded tokens."""

    pool: Pooling
    encode: TemporalEncoder

    def __init__(self, pooling: spec.Plugin, temporal_encoder: spec.Plugin, shapes: Shapes) -> None:
        super().__init__()
        self.pool = pooling.build(shapes)
        channels = self.pool.level_channels
        self.project = pooling.shared()(channels, tracks_of_levels(shapes, len(channels)))
        self.encode = temporal_encoder.build(sum(self.project.level_channels))
        self.averages = getattr(temporal_encoder.module, "OF_MEANS", False)
        self.channels = Channels(self.encode.out_channels, self.project.level_channels)

    def forward(self, arrays: Arrays, mask: Bool[Tensor, "B T"]) -> Stream:
        pooled = self.pool(arrays)
        parts = self.project(pooled)
        if self.averages:
            return Stream(parts, None, mask / mask.sum(dim=1, keepdim=True), mask, pooled)
        tokens, weights = self.encode(torch.cat([value(part) for part in parts], dim=-1), mask)
        return Stream(parts, tokens, weights, mask, pooled)


def tracks_of_levels(shapes: Shapes, levels: int) -> tuple[int, ...]:
    """The number of the track that each pooled level is of (`fuse.learning.sides` puts a track's
    name in front of its levels, where there are several); all 0 for a pooling whose levels are
    others than those that are stored.
    """
    names = list(dict.fromkeys(name.level for name in sorted(shapes)))
    tracks = [name.partition("/")[0] if "/" in name else "" for name in names]
    if len(names) != levels or "" in tracks:
        return (0,) * levels
    numbers = {track: number for number, track in enumerate(dict.fromkeys(tracks))}
    return tuple(numbers[track] for track in tracks)


class QualityModel(nn.Module):
    """Scores on the scale of standardised labels: mean 0 and deviation 1 over the training part."""

    fuse: Fusion

    def __init__(self, head: Head, shapes: Streams[Shapes]) -> None:
        super().__init__()
        self.spatial = Encoder(head.pooling, head.temporal_encoder, shapes.spatial)
        self.temporal = Encoder(head.temporal_pooling, head.temporal_encoder, shapes.temporal)
        self.fuse = head.fusion.build(self.spatial.channels, self.temporal.channels)
        width = self.fuse.out_channels
        self.regress = nn.Sequential(
            nn.Linear(width, width),
            nn.GELU(),
            Dropout(DROPOUT),
            nn.Linear(width, 1 + len(head.axes)),
        )

    def forward(self, arrays: Streams[Arrays], masks: Streams[Bool[Tensor, "B _"]]) -> HeadOutput:
        spatial = self.spatial(arrays.spatial, masks.spatial)
        temporal = self.temporal(arrays.temporal, masks.temporal)
        vector, gates, penalty = self.fuse(spatial, temporal)
        weights = Streams(spatial.weights, temporal.weights)
        outputs = self.regress(vector)
        return HeadOutput(outputs[:, 0], weights, gates, penalty, outputs[:, 1:])

    @torch.no_grad()
    def rescale(self, slope: float, shift: float) -> None:
        """Every score becomes ``slope * score + shift``; the ranking is the same, or the reverse of
        it. Those of further labels too.
        """
        last = self.last_layer
        last.weight.mul_(slope)
        last.bias.mul_(slope).add_(shift)

    @property
    def last_layer(self) -> nn.Linear:
        """The layer whose outputs are the scores."""
        last = self.regress[-1]
        assert isinstance(last, nn.Linear)
        return last
