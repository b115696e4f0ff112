"""Further labels of a dataset beside the main one, such as technical and aesthetic quality: each is
an axis, with a name, a scale and a direction. Its labels are in the column ``mos_<name>``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vqa_twostage.pipeline.errors import UsageError

PREFIX = "mos_"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
LONGEST = 50
RESERVED = ("std",)  # mos_std is the deviation of the main label
BETTER = ("higher", "lower")  # which end of a scale is the better quality
RULE = (
    f"the name of an axis has at most {LONGEST} small letters, digits, _ and -, begins with a "
    f"letter or a digit, and is not {' or '.join(RESERVED)}"
)


@dataclass(frozen=True)
class Axis:
    """A further label: ``scale`` is its range, and ``better`` says which end of it is the better
    quality, "higher" or "lower".
    """

    name: str
    scale: tuple[float, float]
    better: str = "higher"

    @property
    def column(self) -> str:
        return f"{PREFIX}{self.name}"

    def to_text(self) -> str:
        """``technical 1.0 5.0 higher``, as exported manifests have it; `parse_axes` reads it."""
        low, high = self.scale
        return f"{self.name} {low!r} {high!r} {self.better}"


def is_name(name: str) -> bool:
    """Whether ``name`` can be that of an axis (`RULE`)."""
    return NAME.fullmatch(name) is not None and len(name) <= LONGEST and name not in RESERVED


def axis_in(header: str) -> str | None:
    """The name of the axis whose labels a column with this header holds, whatever its letter case;
    None of any other column.
    """
    folded = header.casefold()
    name = folded.removeprefix(PREFIX)
    return name if folded.startswith(PREFIX) and is_name(name) else None


def parse_axes(text: str) -> tuple[Axis, ...] | None:
    """Axes as `Axis.to_text` writes them, joined by ``;``; None where ``text`` is anything else."""
    axes = []
    for part in filter(None, text.split(";")):
        match part.split(" "):
            case [name, low, high, better] if is_name(name) and better in BETTER:
                scale = _finite(low), _finite(high)
            case _:
                return None
        if scale[0] is None or scale[1] is None:
            return None
        axes.append(Axis(name, (scale[0], scale[1]), better))
    return tuple(axes) if len({axis.name for axis in axes}) == len(axes) else None


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def check_axes(axes: Sequence[Axis], where: str) -> None:
    """UsageError, beginning with ``where``, for a name that none can have, one that is used twice,
    or a scale that is none.
    """
    for number, axis in enumerate(axes):
        if not is_name(axis.name):
            raise UsageError(f"{where}: {axis.name!r} is no name of an axis: {RULE}")
        if axis.name in {other.name for other in axes[:number]}:
            raise UsageError(f"{where}: the axis {axis.name!r} is there twice; remove one of them")
        low, high = axis.scale
        if not -math.inf < low < high < math.inf:
            raise UsageError(
                f"{where}: the scale of the axis {axis.name!r} is {[low, high]}; give its lowest "
                "and its highest possible label"
            )
        if axis.better not in BETTER:
            raise UsageError(
                f"{where}: better of the axis {axis.name!r} is {axis.better!r}; it must be "
                f"{' or '.join(BETTER)}"
            )
