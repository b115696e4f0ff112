"""The contract of the extractors: a frozen network, what it gives for frames, and how that is
pooled per frame.

A plug-in in ``extract/spatial`` or ``extract/temporal`` is an `ExtractorPlugin`: a docstring,
``VERSION``, and ``build(**options)`` that returns an `Extractor`. Statistics of every stage, not
only of the last map: on KoNViD-1k they are worth .09 SRCC with a ResNet-50 (ReLaX-VQA, 2024).

Dimensions: F frames, B units of N frames, M rows of features a unit, S side of the input in pixels,
C channels, h and w of a map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqa_twostage.extract.options import FITS, SHOWN, check_choice
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.spec import ADDED

Frames = Float[Tensor, "F 3 S S"]
Units = Float[Tensor, "B N 3 S S"]
# "c2" … "c5", "last": maps [B, M, C, h, w]; with the name of a statistic, as "last/cls": vectors
# [B, M, C]
Maps = dict[str, Float[Tensor, "B M ..."]]
Arrays = dict[str, Float[Tensor, "B M ..."]]

MOST_CROPS = 64
GRID_LEVELS = ("c2", "c3", "c4", "c5")


@dataclass(frozen=True)
class Extractor:
    """A frozen network as a function from units of frames to named maps.

    A unit is what must go through the network together: one frame (``unit_frames`` 1), N successive
    sampled frames (temporal models inside 2D networks), or, where ``of_clips``, the N frames of one
    clip of the sampler ``clips``. ``maps`` takes preprocessed units [B, N, 3, S, S] and gives M
    rows for each, where M divides N; units of one batch must not influence each other. ``network``
    is in eval mode and needs no gradients.
    """

    network: nn.Module
    maps: Callable[[Units], Maps]
    preprocessing: Preprocessing
    weights_digest: str
    unit_frames: int = 1
    of_clips: bool = False


@runtime_checkable
class ExtractorPlugin(Protocol):
    """A module in ``extract/spatial`` or ``extract/temporal``.

    ``build`` has keyword-only options alone; UsageError for a value that cannot be used, or weights
    that cannot be had.
    """

    VERSION: int

    @property
    def build(self) -> Callable[..., Extractor]: ...


@dataclass(frozen=True)
class View:
    """How an extractor looks at frames and what it keeps: the options that all of them share, in
    their specs.

    ``resolutions``: sides of the input in pixels joined by ``+``, whose features are put side by
    side in that order; ``auto`` is the one that came with the weights. ``fit``: one of `FITS`.
    ``grid``: side of the stored maps of c5 (c4, c3 and c2 are twice, four and eight times as
    large), 0 for none. ``of``: one of `SHOWN`, the frames themselves, or their residuals: the
    absolute differences to the next frame of the video (of the last frame, to the one before).
    ``seed`` decides, with the video's file, where ``fit=fragments`` of frames takes its patches,
    and ``crops`` how often they are drawn: each draw of a frame is a row of features of its own.
    """

    fit: str
    grid: int
    resolutions: tuple[int, ...]
    of: str = "frames"
    seed: int = 0
    crops: int = 1

    def applied_to(self, own: Preprocessing) -> Preprocessing:
        """A network's ``own`` preprocessing as this view has it, at its own size."""
        return replace(own, fit=self.fit, of=self.of, seed=self.seed)


def view(
    *,
    fit: str = "crop",
    grid: int = 0,
    resolutions: str = "auto",
    of: Annotated[str, ADDED] = "frames",
    seed: Annotated[int, ADDED] = 0,
    crops: Annotated[int, ADDED] = 1,
) -> View:
    """UsageError for a value that cannot be, or that nothing would read."""
    check_choice("fit", fit, FITS)
    check_choice("of", of, SHOWN)
    if not 0 <= grid <= 64:
        raise UsageError(
            f"grid must be 0 (none) or the side of the stored maps of c5, as in grid=4, not {grid}"
        )
    sides = [] if resolutions == "auto" else resolutions.split("+")
    known = all(side.isdecimal() and 32 <= int(side) <= 4096 for side in sides)
    if not known or len(set(sides)) < len(sides):
        raise UsageError(
            f"resolutions={resolutions} is not understood; give sides of 32 to 4096 pixels, as in "
            "resolutions=224+336+448"
        )
    require(seed >= 0, f"seed must be a whole number of 0 or more, not {seed}")
    require(1 <= crops <= MOST_CROPS, f"crops must be from 1 to {MOST_CROPS}, not {crops}")
    drawn = fit == "fragments" and of == "frames"
    require(
        drawn or (seed, crops) == (0, 1),
        f"seed={seed} and crops={crops} say where patches are drawn, and fit={fit} of={of} draws "
        "none; leave both out, or give fit=fragments of=frames",
    )
    return View(fit, grid, tuple(map(int, sides)), of, seed, crops)


class Pooled(nn.Module):
    """An extractor's maps pooled over space, which is what the cache stores.

    Every level gives ``mean`` and ``std``, ``last`` also ``max``; with ``grid`` > 0 the levels c5,
    c4, c3, c2 also give average-pooled maps of ``grid``, 2, 4 and 8 times ``grid`` to a side.
    """

    def __init__(self, extractor: Extractor, grid: int = 0) -> None:
        super().__init__()
        # registered, so that it moves between devices with this module
        self.network = extractor.network
        self._maps = extractor.maps
        self._grid = grid

    def forward(self, units: Units) -> Arrays:
        arrays: Arrays = {}
        for name, values in self._maps(units).items():
            # statistics in float32 also where the network runs in half precision
            values = values.float()
            if "/" in name:
                arrays[name] = values
                continue
            mean = values.mean(dim=(-2, -1))
            # written out: not every runtime knows std_mean
            variance = (values - mean[..., None, None]).square().mean(dim=(-2, -1))
            arrays[f"{name}/mean"], arrays[f"{name}/std"] = mean, variance.sqrt()
            if name == "last":
                arrays["last/max"] = values.amax(dim=(-2, -1))
            if self._grid and name in GRID_LEVELS:
                if name == "c5" and self._grid > min(values.shape[-2:]):
                    raise UsageError(
                        f"grid={self._grid} is more than the network's c5 has, "
                        f"{values.shape[-2]} to a side"
                    )
                side = self._grid * 2 ** (5 - int(name[1]))
                grid = F.adaptive_avg_pool2d(values.flatten(0, 1), side)
                arrays[f"{name}/grid"] = grid.unflatten(0, values.shape[:2])
        if self._grid and not any(name.endswith("/grid") for name in arrays):
            raise UsageError(
                f"grid={self._grid}, but the network gives no maps, only vectors; leave grid out"
            )
        return arrays


def each_frame(maps: Callable[[Frames], dict[str, Tensor]]) -> Callable[[Units], Maps]:
    """``maps`` of frames [F, 3, S, S] as maps of units: all frames of all units are one batch, M is
    N.
    """

    def of_units(units: Units) -> Maps:
        return {
            name: values.unflatten(0, units.shape[:2])
            for name, values in maps(units.flatten(0, 1)).items()
        }

    return of_units
