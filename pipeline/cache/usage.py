"""`usage_of`: how much of the disk the tracks of a cache take, and how much of that is dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.cache.info import track_files
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.track import Track, open_track
from vqa_twostage.pipeline.errors import UsageError


@dataclass(frozen=True)
class TrackUsage:
    """A track: ``bytes`` is the size of its file, ``dead`` how many of them `compact` gives back.

    ``fault`` says why it cannot be opened, else it is empty; then nothing of it counts as dead.
    """

    path: str
    videos: int
    bytes: int
    dead: int
    fault: str = ""


@dataclass(frozen=True)
class DatasetUsage:
    """A dataset: ``other`` is the size of its files that are no tracks, such as the manifest, and
    what a killed process left behind.
    """

    dataset: str
    tracks: tuple[TrackUsage, ...]
    other: int

    @property
    def bytes(self) -> int:
        return sum(track.bytes for track in self.tracks) + self.other

    @property
    def dead(self) -> int:
        return sum(track.dead for track in self.tracks)


@dataclass(frozen=True)
class Usage:
    """What `usage_of` found in ``cache``, which may be a single track."""

    cache: str
    datasets: tuple[DatasetUsage, ...]

    @property
    def bytes(self) -> int:
        return sum(dataset.bytes for dataset in self.datasets)

    @property
    def dead(self) -> int:
        return sum(dataset.dead for dataset in self.datasets)

    @property
    def faults(self) -> list[str]:
        """A message for each track that cannot be opened."""
        return [track.fault for dataset in self.datasets for track in dataset.tracks if track.fault]

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-cache du --json``."""
        return {
            "cache": self.cache,
            "bytes": self.bytes,
            "dead": self.dead,
            "datasets": [
                {**asdict(dataset), "bytes": dataset.bytes, "dead": dataset.dead}
                for dataset in self.datasets
            ],
        }


def usage_of(cache: Path) -> Usage:
    """Sizes by dataset and track; a track that cannot be opened counts with its size.

    Args:
        cache: A cache, or one track of it.

    Raises:
        UsageError: There is no track.
    """
    by_dataset: dict[str, list[Path]] = {}
    for path in track_files(cache):
        by_dataset.setdefault(TrackPath.parse(path).dataset, []).append(path)
    return Usage(
        str(cache),
        tuple(
            DatasetUsage(
                name,
                tuple(map(_usage_of_track, paths)),
                0 if cache.is_file() else _bytes_beside(cache / name, paths),
            )
            for name, paths in by_dataset.items()
        ),
    )


def _usage_of_track(path: Path) -> TrackUsage:
    try:
        with open_track(path) as track:
            return TrackUsage(str(path), len(track), path.stat().st_size, dead_bytes(track))
    except UsageError as error:
        return TrackUsage(str(path), 0, path.stat().st_size, 0, str(error))


def dead_bytes(track: Track) -> int:
    """The chunks that a track would not need if it had no rows of replaced videos.

    A chunk that is partly dead stays, so this is less than the rows themselves take.
    """
    live = track.index.rows - track.dead_rows
    return sum(
        (len(column.chunks) - -(-live // column.chunk_rows)) * column.chunk_rows * column.row_bytes
        for column in track.index.columns
    )


def bytes_a_video(track: Track) -> float:
    """What a video of a track that is not empty takes on average: its rows, and its entry in the
    table.
    """
    row = sum(column.row_bytes for column in track.index.columns)
    return track.index.rows * row / len(track) + track.bytes_an_entry


def _bytes_beside(folder: Path, paths: Sequence[Path]) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and path not in paths)
    return sum(path.stat().st_size for path in files)


def summary(usage: Usage) -> list[str]:
    """Sizes in lines for people: the whole, each dataset, each of its tracks."""
    lines = [_line(usage.cache, usage.bytes, usage.dead)]
    for dataset in usage.datasets:
        lines.append(
            f"  {_line(dataset.dataset, dataset.bytes, dataset.dead)}, "
            f"{_megabytes(dataset.other)} of it beside the tracks"
        )
        for track in dataset.tracks:
            what = "cannot be opened" if track.fault else f"{track.videos} videos"
            lines.append(f"    {_line(track.path, track.bytes, track.dead)}, {what}")
    if usage.dead:
        lines.append(f"next: vqa-cache compact {usage.cache}")
    return lines


def _line(name: str, size: int, dead: int) -> str:
    return f"{name}: {_megabytes(size)}, {_megabytes(dead)} dead"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
