"""What passes between the learnable parts: pooling -> temporal encoder -> fusion. Their one
contract.

A *pooling* has ``READS`` (the statistics it reads, such as ``("mean", "std")``), ``build(shapes, *,
options)`` with ``shapes``: array name -> its shape per frame, ``(C,)`` or ``(C, H, W)``, a property
``level_channels`` and ``forward(arrays) -> list of [B, T, C_level]``, a tensor a level, shallow
levels first.

A *temporal encoder* has ``build(channels, *, options)``, a property ``out_channels`` and
``forward(tokens [B, T, C], mask [B, T]) -> (tokens [B, T, D], weights [B, T])``. Weights add up to
one over the frames of a video and are 0 where there is none; tokens of no frame may hold anything
finite and never influence another.

A *fusion* has ``build(spatial: Channels, temporal: Channels, *, options)``, a property
``out_channels`` and ``forward(spatial: Stream, temporal: Stream) -> Fused``.

Masks are true from the first frame to the last, and every video has a frame. Members of an ensemble
are trained at once (`torch.func.vmap`), so no part may branch on the values of its tensors, or use
operators that vmap refuses (`nn.GRU`).

Letters: B videos, T frames of the stream (the two streams may differ), D channels of a token, F of
the fused vector.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqa_twostage.pipeline.errors import require
from vqa_twostage.pipeline.features import AVERAGES as AVERAGES


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
        return torch.einsum("btd,bt->bd", self.tokens, self.weights)

    @property
    def level_vectors(self) -> list[Float[Tensor, "B _"]]:
        """Each pooled level, averaged with the encoder's weights."""
        return [torch.einsum("btc,bt->bc", level, self.weights) for level in self.levels]


class Fused(NamedTuple):
    """``gates``: name -> [B, G], what the fusion weighed by, saved with a run; ``penalty`` is added
    to the loss.
    """

    vector: Float[Tensor, "B F"]
    gates: dict[str, Float[Tensor, "B _"]]
    penalty: Float[Tensor, ""]


def fused(
    vector: Float[Tensor, "B F"],
    gates: dict[str, Float[Tensor, "B _"]] | None = None,
    penalty: Float[Tensor, ""] | None = None,
) -> Fused:
    """A `Fused` without gates or penalty where there is none."""
    return Fused(vector, gates or {}, vector.new_zeros(()) if penalty is None else penalty)


def by_level(
    shapes: dict[str, tuple[int, ...]], statistics: tuple[str, ...]
) -> dict[str, list[str]]:
    """Array names with one of the ``statistics``, by level, shallow first: ``{"c1": ["c1/mean",
    "c1/std"], …}``.
    """
    grouped: dict[str, list[str]] = {}
    for name in sorted(shapes):
        level, _, statistic = name.rpartition("/")
        if statistic in statistics:
            grouped.setdefault(level, []).append(name)
    return grouped


def grid_or_averages(shapes: dict[str, tuple[int, ...]], pooling: str) -> dict[str, list[str]]:
    """What a pooling over space reads, by level: its grid alone where it has one, else its averages
    as in avg.

    UsageError, said in the name of ``pooling``, where no level has a grid.
    """
    levels, grids = by_level(shapes, AVERAGES), by_level(shapes, ("grid",))
    require(
        bool(grids),
        f"{pooling} needs stored maps, and the track has {', '.join(shapes)}; extract with "
        "`grid=2`, as in "
        "vqa-extract --spatial resnet:grid=2, or choose avg or adaptive (where the temporal track "
        "alone has no maps: "
        "--temporal-pooling avg)",
    )
    return dict(sorted({**levels, **grids}.items()))
