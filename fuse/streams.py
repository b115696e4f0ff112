"""The contracts of the learnable parts, and what passes between them: pooling -> temporal encoder
-> fusion.

Each part is a plug-in: a file in ``pooling/``, ``temporal/`` or ``fusion/`` whose ``build`` makes a
`torch.nn.Module` that fulfils the `Pooling`, `TemporalEncoder` or `Fusion` below.

A part with ``OF_MEANS = True`` in its module gives the same for a video whose frames were averaged
first: a pooling that is linear, an encoder that averages the tokens and does nothing else (it is
not even called, except to check that), a fusion that reads nothing but means of a `Stream`. A head
of such parts only is trained on means, which takes a fraction of the time; without the line a part
gets every frame. Where frames have several draws of patches (``crops=K``) it is trained on the mean
of one draw of each video, at random in each epoch.

Levels reach a fusion as products that are not computed yet. A fusion whose first layer is linear
gives them to `linear`, which multiplies the weights first: a tenth of the multiplications. One that
reads `Stream.tokens` or `Stream.vector` gets tensors.

Masks are true from the first frame to the last, and every video has a frame. Members of an ensemble
are trained at once with `torch.func.vmap`, which is fast. A part that vmap refuses, because it
branches on the values of its tensors or uses an operator such as `nn.GRU`, is trained member by
member, which takes longer.

Dimensions: B videos, T frames of the stream (the two streams may differ), D channels of a token, F
of the fused vector, N rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

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


class Product(NamedTuple):
    """``inputs @ weights.T``, which is computed where it is needed."""

    inputs: Float[Tensor, "... C"]
    weights: Float[Tensor, "W C"]


Part = Float[Tensor, "... _"] | Product


def value(part: Part) -> Float[Tensor, "... _"]:
    """A part as a tensor."""
    return part.inputs @ part.weights.T if isinstance(part, Product) else part


def joined(tensors: Sequence[Float[Tensor, "... _"]]) -> Float[Tensor, "... _"]:
    """``torch.cat(tensors, dim=-1)``, without a copy where they are neighbouring columns of one
    tensor.
    """
    first, at = tensors[0], tensors[0].storage_offset()
    for tensor in tensors:
        if type(tensor) is not Tensor:  # one that is traced has no memory
            return torch.cat(list(tensors), dim=-1)
        shape, other = (tensor.shape[:-1], tensor.stride()), (first.shape[:-1], first.stride())
        neighbour = tensor._base is not None and tensor._base is first._base and shape == other
        if not neighbour or tensor.storage_offset() != at or tensor.requires_grad:
            return torch.cat(list(tensors), dim=-1)
        at += tensor.shape[-1]
    width = at - first.storage_offset()
    return first.as_strided((*first.shape[:-1], width), first.stride(), first.storage_offset())


def linear(layer: nn.Linear, parts: Sequence[Part]) -> Float[Tensor, "... F"]:
    """``layer(torch.cat(parts, dim=-1))``, where weights are multiplied with weights first."""
    return product(layer.weight, parts) + layer.bias


def product(weight: Float[Tensor, "F D"], parts: Sequence[Part]) -> Float[Tensor, "... F"]:
    """`linear` without a bias: ``torch.cat(parts, dim=-1) @ weight.T``."""
    widths = [len(part.weights) if isinstance(part, Product) else part.shape[-1] for part in parts]
    inputs, weights = [], []
    for part, columns in zip(parts, weight.split(widths, dim=1), strict=True):
        inputs.append(part.inputs if isinstance(part, Product) else part)
        weights.append(columns @ part.weights if isinstance(part, Product) else columns)
    rows, joint = joined(inputs), torch.cat(weights, dim=1)
    # the transpose of joint @ rows.T, because the products of its gradients are the faster ones
    return (joint @ rows.flatten(0, -2).T).T.contiguous().unflatten(0, rows.shape[:-1])


@dataclass(frozen=True, eq=False)
class Stream:
    """One track on its way, of which a fusion reads what it needs."""

    level_parts: Sequence[Part]
    """Pooled levels, before the temporal encoder: [B, T, W] each."""
    encoded: Float[Tensor, "B T D"] | None
    """Tokens as the temporal encoder gives them; None where they are the levels side by side."""
    weights: Float[Tensor, "B T"]
    """Of the frames, by the temporal encoder; they sum to one over the frames of a video."""
    mask: Bool[Tensor, "B T"]
    pooled: Sequence[Float[Tensor, "B T _"]] | None = None
    """Levels as the pooling gives them, of which ``level_parts`` are products; None where they are
    not projected."""

    @cached_property
    def levels(self) -> list[Float[Tensor, "B T _"]]:
        """Pooled levels, before the temporal encoder."""
        return [value(part) for part in self.level_parts]

    @cached_property
    def tokens(self) -> Float[Tensor, "B T D"]:
        """Encoded tokens."""
        return torch.cat(self.levels, dim=-1) if self.encoded is None else self.encoded

    @property
    def vector(self) -> Float[Tensor, "B D"]:
        """The encoded tokens, averaged with the encoder's weights."""
        return torch.cat([value(part) for part in self.vector_parts], dim=-1)

    @property
    def level_vectors(self) -> list[Float[Tensor, "B _"]]:
        """Each pooled level, averaged with the encoder's weights."""
        return [value(part) for part in self.level_vector_parts]

    @property
    def token_parts(self) -> list[Part]:
        """`tokens` in parts, for `linear`."""
        return list(self.level_parts) if self.encoded is None else [self.encoded]

    @cached_property
    def vector_parts(self) -> list[Part]:
        """`vector` in parts, for `linear`."""
        return self.level_vector_parts if self.encoded is None else [self._mean(self.encoded)]

    @cached_property
    def level_vector_parts(self) -> list[Part]:
        """`level_vectors` as parts, for `linear`."""
        return [
            part._replace(inputs=mean) if isinstance(part, Product) else mean
            for part, mean in zip(self.level_parts, self._means_of_inputs, strict=True)
        ]

    @cached_property
    def _means_of_inputs(self) -> Sequence[Float[Tensor, "B _"]]:
        """Of what the levels are products of."""
        inputs = [part.inputs if isinstance(part, Product) else part for part in self.level_parts]
        # side by side: the mean of a few columns takes as long as that of many
        return self._mean(joined(inputs)).split([part.shape[2] for part in inputs], dim=1)

    def _mean(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        if tokens.shape[1] == 1:  # whose weight is 1
            return tokens.squeeze(1)
        return torch.einsum("btc,bt->bc", tokens, self.weights)

    @property
    def variances(self) -> Float[Tensor, "B L"]:
        """Of each level over the frames, by the encoder's weights, averaged over its columns before
        they are projected: so no frame needs a product of matrices.
        """
        levels = self.levels if self.pooled is None else self.pooled
        means = self.level_vectors if self.pooled is None else self._means_of_inputs
        # mean square less square of the mean takes half as long as deviations, and is exact enough:
        # the mean of prepared columns is near 0
        squares = [torch.linalg.vector_norm(level, dim=2).square() for level in levels]
        variances = [
            ((square * self.weights).sum(dim=1) - mean.square().sum(dim=1)) / mean.shape[1]
            for square, mean in zip(squares, means, strict=True)
        ]
        return torch.stack(variances, dim=1).clamp(min=0)


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
