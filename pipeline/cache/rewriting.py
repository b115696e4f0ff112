"""Tracks are written anew: without the space of replaced videos, what is damaged, or is removed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqa_twostage.pipeline.cache import video_table
from vqa_twostage.pipeline.cache.hdf5_structure import (
    DamagedStructureError,
    is_track,
    read_structure,
)
from vqa_twostage.pipeline.cache.journal import (
    DamagedJournalError,
    JournaledFile,
    journal_of,
    written_whole,
)
from vqa_twostage.pipeline.cache.track import Track, load_index, open_track, read_table
from vqa_twostage.pipeline.cache.track_index import DamagedIndexError, TrackIndex
from vqa_twostage.pipeline.cache.track_writer import create_track, write_track
from vqa_twostage.pipeline.cache.verifying import structure_faults
from vqa_twostage.pipeline.errors import UsageError


@dataclass(frozen=True)
class Compaction:
    """A track that was written anew: how large it was, and is."""

    path: Path
    bytes_before: int
    bytes_after: int

    def __str__(self) -> str:
        return f"{self.path}: {self.bytes_before / 1e6:.1f} MB, now {self.bytes_after / 1e6:.1f} MB"


@dataclass(frozen=True)
class Repair:
    """What became of a track: ``kept`` videos were sound, ``dropped`` were not.

    ``structure`` says what else was damaged and is whole again; empty where nothing was.
    """

    path: Path
    kept: int
    dropped: tuple[str, ...]
    structure: str

    def __str__(self) -> str:
        if not self.dropped and not self.structure:
            return f"{self.path}: sound, {self.kept} videos; nothing was changed"
        what = f"; written anew: {self.structure}" if self.structure else ""
        return f"{self.path}: {self.kept} videos kept, {len(self.dropped)} dropped{what}"


def compact(path: Path) -> Compaction:
    """Writes a track anew without the rows of videos that were replaced.

    UsageError where it is damaged (then nothing is changed), in use, or the disk is full.
    """
    with open_track(path) as track:  # refuses what is damaged
        before = path.stat().st_size
    with closing(_locked(path)), open_track(path) as track:
        _rewrite(track, track.ids)
    return Compaction(path, before, path.stat().st_size)


def remove_videos(paths: Sequence[Path], ids: Collection[str]) -> None:
    """Writes tracks anew without the videos ``ids``, each in one step.

    UsageError where one is damaged or in use; then none is changed.
    """
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(closing(_locked(path)))
        opened = [stack.enter_context(open_track(path)) for path in paths]
        for track in opened:
            _rewrite(track, [name for name in track.ids if name not in ids])


def repair(path: Path) -> Repair:
    """Writes a damaged track anew with the videos that are sound; a sound one stays as it is.

    The next extraction makes the others again. UsageError where no index can be had of it, neither
    its own nor that of HDF5's structure: such a file is left alone.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist; vqa-extract makes it")
    faults: list[str] = []
    try:
        file = _locked(path)
    except DamagedJournalError:
        faults.append("its journal")
        # what the journal says is lost, the state before it may be there
        journal_of(path).replace(journal_of(path).with_suffix(".damaged"))
        file = _locked(path)
    with closing(file):
        try:
            index = load_index(file)
            faults += ["its HDF5 structure"] if structure_faults(path, index) else []
        except (DamagedIndexError, EOFError) as error:
            index = _index_of_structure(path, error)
            faults.append("its index")
        track, lost = _sound_part(path, file, index)
        sound = [name for name in track.ids if _is_sound(track, name)]
        dropped = (*lost, *sorted(set(track.ids) - set(sound)))
        if dropped or faults:
            _rewrite(track, sound)
    return Repair(path, len(sound), dropped, ", ".join(faults))


def _locked(path: Path) -> JournaledFile:
    """The file, which no other process writes to while it is open."""
    try:
        return JournaledFile(path, writable=True)
    except BlockingIOError:
        raise UsageError(f"{path} is in use by another process; a track has one writer") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be opened to write: {error.strerror}") from None


def _index_of_structure(path: Path, reason: Exception) -> TrackIndex:
    try:
        if is_track(path):
            index = read_structure(path)
            index.check(path.stat().st_size)
            return index
    except (DamagedStructureError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be repaired: its index is damaged ({reason}), and its HDF5 structure "
            f"too ({error}). Move the file elsewhere and extract again"
        ) from None
    raise UsageError(f"{path} is not a feature cache, and was left alone")


class _Partial(Track):
    """A track whose table of videos may have damaged entries, which it does not show."""

    def _read_table(self) -> video_table.Table:
        table, sound = read_table(self._file, self.index)
        self.lost = tuple(video_table.ids_of(table[~sound]))
        return table[sound]


def _sound_part(
    path: Path, file: JournaledFile, index: TrackIndex
) -> tuple[Track, tuple[str, ...]]:
    try:
        track = _Partial(path, file, index)
    except (DamagedIndexError, EOFError) as error:
        raise UsageError(
            f"{path} cannot be repaired: {error}. Move the file elsewhere and extract again"
        ) from None
    return track, track.lost


def _is_sound(track: Track, video_id: str) -> bool:
    try:
        arrays = track.read(video_id).arrays.values()
    except (UsageError, EOFError):
        return False
    return track.identity.imported or all(np.isfinite(array).all() for array in arrays)


def _rewrite(track: Track, ids: Collection[str]) -> None:
    """Puts a new file with the videos ``ids`` in the track's place, in one step."""
    index = track.index
    with written_whole(track.path, replacing=True) as aside:
        create_track(aside, index.identity, index.provenance, index.created)
        with write_track(aside, index.identity, index.provenance, videos=len(ids)) as target:
            for name in ids:
                target.write(name, track.read(name))
