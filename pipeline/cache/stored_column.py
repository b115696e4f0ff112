"""`StoredColumn`: an array of chosen videos that stays in its track and is read where it is used.

Dimensions: N videos, T frames (padded to the longest), F frames of some videos.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from vqa_twostage.pipeline.cache.track import Track, open_track


class StoredTrack:
    """A track that is opened when the first of its columns is read; in another process again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._track: Track | None = None

    @property
    def track(self) -> Track:
        if self._track is None:
            self._track = self._stack.enter_context(open_track(self.path))
        return self._track

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class StoredColumn:
    """Of one column of a track, the rows of the videos ``ids``: as an array [N, T, ...] whose
    padding is 0.

    It takes what a training needs of an array: a slice of videos, or videos and a frame of each.
    UsageError where a video is damaged.
    """

    def __init__(self, stored: StoredTrack, name: str, ids: list[str]) -> None:
        self._stored, self._name, self._ids = stored, name, ids
        row = stored.track.empty(name, 1)
        self.dtype = row.dtype
        self.shape = (len(ids), int(stored.track.row_counts(ids).max()), *row.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(
        self, key: slice | tuple[Int64[np.ndarray, " F"], Int64[np.ndarray, " F"]]
    ) -> np.ndarray:
        """``column[first:last]`` is [videos, T, ...]; ``column[videos, frames]``, both of length F,
        is [F, ...].
        """
        if isinstance(key, slice):
            return self._padded(self._ids[key])
        videos, frames = key
        distinct, place = np.unique(videos, return_inverse=True)
        return self._padded([self._ids[video] for video in distinct])[place, frames]

    def _padded(self, ids: list[str]) -> np.ndarray:
        return self._stored.track.read_padded(self._name, ids, self.shape[1])
