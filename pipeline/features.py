"""Features of a video as they pass from stage one to stage two, and how their arrays are named.

Dimensions: T frames, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

# what the maps of a network are pooled to; a head reads some of them, the others stay in the file
STATISTICS = frozenset({"cls", "grid", "max", "mean", "std"})
# the statistics that the pooled arrays of every network have, and most heads read
AVERAGES = ("cls", "mean", "std")


class ArrayName(str):
    """The name of a stored array, ``level/statistic``: ``c2/mean``, ``last/cls``.

    A level may hold slashes, a statistic holds none. It is a string, and is compared, sorted and
    stored as one.
    """

    __slots__ = ()

    @property
    def level(self) -> str:
        return self.rpartition("/")[0]

    @property
    def statistic(self) -> str:
        return self.rpartition("/")[2]

    @classmethod
    def of(cls, level: str, statistic: str) -> ArrayName:
        return cls(f"{level}/{statistic}")


@dataclass(frozen=True)
class VideoAttributes:
    """What is recorded of a video beside its features; what does not apply is 0 or empty.

    ``source_*``: of its file, whose SHA-256 is ``source_digest``. ``width`` and ``height`` in
    pixels, upright; ``fps`` and ``frames`` of the whole video; ``repeated``: sampled frames that
    are there twice; ``damage``: what is wrong with the file; ``seconds``: that decoding took;
    ``runtime``: what ran the network.
    """

    source_digest: str
    source_size: int = 0
    source_mtime_ns: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frames: int = 0
    repeated: int = 0
    decoder: str = ""
    damage: str = ""
    seconds: float = 0.0
    runtime: str = ""

    def to_plain(self) -> dict[str, str | int | float]:
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> VideoAttributes:
        """What `to_plain` gave, perhaps as NumPy scalars; KeyError or ValueError otherwise."""
        kinds = {"str": str, "int": int, "float": float}
        return cls(
            **{field.name: kinds[str(field.type)](values[field.name]) for field in fields(cls)}
        )


@dataclass(frozen=True, eq=False)
class VideoFeatures:
    """What one track holds of one video.

    ``arrays``: name -> [T, C], of maps [T, C, height, width]; ``frame_index``: numbers of the
    sampled frames; ``timestamp``: when they are shown, in seconds.
    """

    arrays: dict[ArrayName, Float[np.ndarray, "T ..."]]
    frame_index: Int[np.ndarray, " T"]
    timestamp: Float[np.ndarray, " T"]
    attributes: VideoAttributes
