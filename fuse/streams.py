"""The contracts of the learnable parts, and what passes between them: pooling -> temporal encoder
-> fusion.

Each part is a plug-in: a file in ``pooling/``, ``temporal/`` or ``fusion/`` whose ``build`` makes a
`torch.nn.Module` that fulfils the `Pooling`, `TemporalEncoder` or `Fusion` below.

A part with ``OF_MEANS = True`` in its module gives the same for a video whose frames were averaged
first: a pooling that is linear, an encoder that averages, a fusion that reads nothing but
`Stream.vector` and `Stream.level_vectors`. A head of such parts only is trained on means, which
takes a fraction of the time; without the line a part gets every frame.

Masks are true from the first frame to the last, and every video has a frame. Members of an ensemble
are trained at once with `torch.func.vmap`, which is fast. A part that vmap refuses, because it
branches on the values of its tensors or uses an operator such as `nn.GRU`, is trained member by
member, which takes longer.

Dimensions: B videos, T frames of the stream (the two streams may differ), D channels of a token, F
of the fused vector, N rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES as AVERAGES
from vqa_twostage.pipeline.features import ArrayName as ArrayName

# the shape of each array per frame: (C,), or (C, H, W) of a map
Shapes = dict[ArrayName, tuple[int, ...]]
Arrays = dict[ArrayName, Float[Tensor, "B T ..."]]

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")


@dataclass(frozen=True)
class Streams(Generic[T_co]):
    """One value for each of the two streams. Where a dataset has no temporal track, both are of the
    spatial one.
    """

    spatial: T_co
    temporal: T_co

    def __iter__(self) -> Iterator[T_co]:
        yield self.spatial
        yield self.temporal

    @overload
    def map(self, function: Callable[[T_co], V]) -> Streams[V]: ...
    @overload
    def map(self, function: Callable[[T_co, U], V], other: Streams[U], /) -> Streams[V]: ...
    def map(self, function: Callable[..., V], *others: Streams[Any]) -> Streams[V]:
        """``function`` of each stream's value, and of the other pair's value of the same stream."""
        return Streams(*(function(*values) for values in zip(self, *others, strict=True)))

    def zip(self, other: Streams[U]) -> Streams[tuple[T_co, U]]:
        """The values of both pairs, stream by stream."""
        return Streams((self.spatial, other.spatial), (self.temporal, other.temporal))

    def items(self) -> Iterator[tuple[str, T_co]]:
        """``("spatial", …)`` and ``("temporal", …)``: names of streams where they are written."""
        return zip(("spatial", "temporal"), self, strict=True)


class Channels(NamedTuple):
    """Of a stream: ``tokens`` of its encoded tokens, ``levels`` of its pooled levels, shallow
    first.
    """

    tokens: int
    levels: tuple[int, ...]


class Stream(NamedTuple):
    """One track on its way: pooled ``levels`` (before the temporal encoder), encoded ``tokens`` and
    their weights.
    """

    levels: list[Float[Tensor, "B T _"]]
    tokens: Float[Tensor, "B T D"]
    weights: Float[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]

    @property
    def vector(self) -> Float[Tensor, "B D"]:
        """The encoded tokens, averaged with the encoder's weights."""
        return self._mean(self.tokens)

    @property
    def level_vectors(self) -> list[Float[Tensor, "B _"]]:
        """Each pooled level, averaged with the encoder's weights."""
        return [self._mean(level) for level in self.levels]

    def _mean(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        if tokens.shape[1] == 1:  # whose weight is 1
            return tokens.squeeze(1)
        return torch.einsum("btc,bt->bc", tokens, self.weights)


class Fused(NamedTuple):
    """``gates``: name -> [B, G], the weights that the fusion used, saved with a run; ``penalty`` is
    added to the loss.
    """

    vector: Float[Tensor, "B F"]
    gates: dict[str, Float[Tensor, "B _"]]
    penalty: Float[Tensor, ""]


@runtime_checkable
class Pooling(Protocol):
    """Spatial pooling: the stored arrays of each frame to one token a level, shallow levels first.

    Its module has ``READS``, the statistics it reads, such as ``("mean", "std")``, and
    ``build(shapes, *, options)``.
    """

    @property
    def level_channels(self) -> tuple[int, ...]:
        """How many channels the token of each level has."""

    def forward(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]: ...

    def __call__(self, arrays: Arrays) -> list[Float[Tensor, "B T _"]]: ...


@runtime_checkable
class TemporalEncoder(Protocol):
    """The tokens of all frames to encoded tokens and their weights.

    The weights of a video sum to one over its frames, and are 0 for padding. Tokens of padding may
    hold anything finite, and never influence another token. Its module has
    ``build(channels, *, options)``.
    """

    @property
    def out_channels(self) -> int:
        """D, how many channels an encoded token has."""

    def forward(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T"]]: ...

    def __call__(
        self, tokens: Float[Tensor, "B T C"], mask: Bool[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T"]]: ...


@runtime_checkable
class Fusion(Protocol):
    """Both streams to one vector a video.

    Its module has ``build(spatial: Channels, temporal: Channels, *, options)``.
    """

    @property
    def out_channels(self) -> int:
        """F, the length of the fused vector."""

    def forward(self, spatial: Stream, temporal: Stream) -> Fused: ...

    def __call__(self, spatial: Stream, temporal: Stream) -> Fused: ...


@runtime_checkable
class Regressor(Protocol):
    """As those of scikit-learn."""

    def fit(self, rows: Float[np.ndarray, "N C"], labels: Float[np.ndarray, " N"]) -> Regressor: ...

    def predict(self, rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, " N"]: ...


@runtime_checkable
class Baseline(Protocol):
    """Regressors for tables of so many columns; the one with the lowest validation RMSE is taken.

    Its module has ``build(*, options)``.
    """

    def __call__(self, columns: int) -> Iterator[Regressor]: ...


def fused(
    vector: Float[Tensor, "B F"],
    gates: dict[str, Float[Tensor, "B _"]] | None = None,
    penalty: Float[Tensor, ""] | None = None,
) -> Fused:
    """A `Fused` without gates or penalty where there is none."""
    return Fused(vector, gates or {}, vector.new_zeros(()) if penalty is None else penalty)


def by_level(shapes: Shapes, statistics: tuple[str, ...]) -> dict[str, list[ArrayName]]:
    """Array names with one of the ``statistics``, by level, shallow first: ``{"c1": ["c1/mean",
    "c1/std"], …}``.
    """
    grouped: dict[str, list[ArrayName]] = {}
    for name in sorted(shapes):
        if name.statistic in statistics:
            grouped.setdefault(name.level, []).append(name)
    return grouped


def grid_or_averages(shapes: Shapes, pooling: str) -> dict[str, list[ArrayName]]:
    """What a pooling over space reads, by level: its grid alone where it has one, else its averages
    as in avg.

    UsageError that names ``pooling`` where no level has a grid.
    """
    levels, grids = by_level(shapes, AVERAGES), by_level(shapes, ("grid",))
    if not grids:
        raise UsageError(
            f"{pooling} needs stored maps, and the track has {', '.join(shapes)}; extract with "
            "`grid=2`, as in vqa-extract --spatial resnet:grid=2, or choose avg or adaptive (if "
            "only the temporal track has no maps: --temporal-pooling avg)"
        )
    return dict(sorted({**levels, **grids}.items()))
