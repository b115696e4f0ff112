"""What an extraction did, as values; `to_json` gives the documents of ``vqa-extract --json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import FailureKind, VideoError

Progress = Callable[[int, int], None]
"""Called with the number of videos that are done, and of all."""


def no_progress(done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Failure:
    """A video without features, and why."""

    id: str
    reason: str
    kind: FailureKind
    """The reason for programs; the JSON document does not hold it."""

    @staticmethod
    def of(video_id: str, error: VideoError) -> Failure:
        return Failure(video_id, str(error), error.kind)

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "reason": self.reason}


@dataclass(frozen=True)
class Damage:
    """A video whose file is damaged, and which was used as far as it can be read."""

    id: str
    damage: str

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "damage": self.damage}


@dataclass(frozen=True)
class Note:
    """What should be known of how a video was read, where nothing is wrong with it."""

    id: str
    note: str

    def to_json(self) -> dict[str, str]:
        return {"id": self.id, "note": self.note}


@dataclass(frozen=True)
class VideoResults:
    """What became of videos; each was done, skipped or failed."""

    done: int
    skipped: int
    """The cache held them."""
    failed: tuple[Failure, ...]
    damaged: tuple[Damage, ...]
    """Of those that were done."""
    notes: tuple[Note, ...]
    """Likewise."""
    frames: int
    """Of the videos that were done, those that networks looked at."""


@dataclass(frozen=True)
class Extraction:
    """What `extract_dataset` did."""

    dataset: str
    done: int
    skipped: int
    """Videos that the cache held."""
    failed: tuple[Failure, ...]
    damaged: tuple[Damage, ...]
    """Videos that were done as far as their files can be read."""
    notes: tuple[Note, ...]
    """How some of the videos were read that were done."""
    tracks: tuple[Path, ...]
    """The files with the features."""
    frames: int
    """Of the videos that were done, those that networks looked at."""
    seconds: float
    phases: dict[str, float]
    """Seconds of each part of the work."""
    record: Path
    """The file that keeps this document with options, versions and identities."""

    @property
    def videos(self) -> int:
        """How many were asked for."""
        return self.done + self.skipped + len(self.failed)

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "videos": self.videos,
            "done": self.done,
            "skipped": self.skipped,
            "failed": [failure.to_json() for failure in self.failed],
            "damaged": [damage.to_json() for damage in self.damaged],
            "notes": [note.to_json() for note in self.notes],
            "tracks": [str(path) for path in self.tracks],
            "frames": self.frames,
            "seconds": self.seconds,
            "record": str(self.record),
            "phases": self.phases,
        }
