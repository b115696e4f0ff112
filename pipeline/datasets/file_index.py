"""Index of the files below a folder, which finds files whose names differ from those in a label
file by letter case, extension or spelling.

A pattern is a path relative to the root, in which ``*`` matches anything within one part of the
path; `literal` protects a ``*`` that belongs to a name. Letter case is ignored, a space matches
``_``, and a video may have any known extension. If a file has exactly the name of the pattern, it
is the only match.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.remote_files import RemoteRoot, Root

LITERAL_STAR = "\1"  # stands for a * that belongs to a name; names in manifests cannot contain it
# fmt: off
VIDEO_EXTENSIONS = (
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".h264",
    ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg", ".ogm", ".ogv", ".raw", ".ts", ".vob",
    ".webm", ".wmv", ".y4m", ".yuv",
)
# fmt: on


def not_a_folder(path: Path) -> str:
    """That ``path`` is none, for messages."""
    return f"{path} is not a folder" if path.exists() else f"{path} does not exist"


def without_extension(name: str) -> str:
    """``name`` without the known extension of a video; any other dot is a part of the name."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and stem and f".{extension}".lower() in VIDEO_EXTENSIONS else name


def fold(name: str) -> str:
    """A key that is equal for names which differ in letter case, in spaces for ``_``, in spaces at
    either end, or in how accents are composed in Unicode.
    """
    return unicodedata.normalize("NFC", name).strip(" ").casefold().replace(" ", "_")


def literal(text: str) -> str:
    """``text`` as a part of a pattern in which no ``*`` is a wildcard."""
    return text.replace("*", LITERAL_STAR)


class IndexedPath(NamedTuple):
    """A path relative to the root, and whether it goes through a symbolic link."""

    path: str
    linked: bool


class NameIndex:
    """Files or folders by their folded names."""

    def __init__(self) -> None:
        self.paths_by_name: dict[str, list[IndexedPath]] = defaultdict(list)

    @cached_property
    def _sorted_names(self) -> list[str]:
        return sorted(self.paths_by_name)

    def matching(self, pattern: str) -> list[IndexedPath]:
        """All entries that match a folded pattern without ``/``."""
        if "*" not in pattern:
            return self.paths_by_name.get(pattern.replace(LITERAL_STAR, "*"), [])
        parts = [part.replace(LITERAL_STAR, "*") for part in pattern.split("*")]
        expression = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
        prefix = parts[0]
        matches = []
        for place in range(bisect_left(self._sorted_names, prefix), len(self._sorted_names)):
            name = self._sorted_names[place]
            if not name.startswith(prefix):
                break
            if expression.fullmatch(name):
                matches += self.paths_by_name[name]
        return matches


class FolderIndex(NamedTuple):
    """The entries of one folder, or of all folders that match a pattern."""

    folders: NameIndex
    files: NameIndex
    videos: NameIndex  # by their names without extension


@runtime_checkable
class Entry(Protocol):
    """What is told of a file or a folder in a folder, as by `os.DirEntry`."""

    @property
    def name(self) -> str: ...
    def is_dir(self) -> bool: ...
    def is_file(self) -> bool: ...
    def is_symlink(self) -> bool: ...


class RemoteEntry(NamedTuple):
    """A file or a folder at an address, where there are no links."""

    name: str
    folder: bool

    def is_dir(self) -> bool:
        return self.folder

    def is_file(self) -> bool:
        return not self.folder

    def is_symlink(self) -> bool:
        return False


class FileIndex:
    """The files below ``root``. Each folder is listed once, when it is first needed; below an
    address all were listed at once.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._remote = remote_entries(root.names()) if isinstance(root, RemoteRoot) else None
        if isinstance(root, RemoteRoot):
            self.absolute = self._real = str(root)
        else:
            self.absolute, self._real = os.path.abspath(root), os.path.realpath(root)
        self._folders: dict[str, FolderIndex] = {}

    def videos(self, pattern: str) -> list[str]:
        """Paths of the videos that match, relative to the root; the extension may differ from that
        in ``pattern``.

        A file of exactly that name matches whatever its extension is. UsageError if one is reached
        by a link that leaves the root.
        """
        folder, name = self._folder(os.path.dirname(pattern)), fold(os.path.basename(pattern))
        exact = [item for item in folder.files.matching(name) if literal(item.path) == pattern]
        matches = exact
        if not exact or without_extension(pattern) == pattern:
            # "x.avi" may be x.avi.mp4 as well as x.mp4
            stems = dict.fromkeys((name, without_extension(name)))
            by_stem = [item for stem in stems for item in folder.videos.matching(stem)]
            matches = list(dict.fromkeys([*exact, *by_stem]))
        for item in matches:
            if item.linked:
                self._check_inside_root(item.path)
        return [item.path for item in matches]

    def files(self, pattern: str) -> list[str]:
        """Paths of the files that match, including their extension; links may lead anywhere."""
        pattern = os.path.normpath(pattern)
        folder = self._folder(os.path.dirname(pattern))
        matches = folder.files.matching(fold(os.path.basename(pattern)))
        exact = [item.path for item in matches if literal(item.path) == pattern]
        return exact or [item.path for item in matches]

    def _folder(self, pattern: str) -> FolderIndex:
        """One index of all folders that match, so that rows whose folder is ``*`` do not search
        folder by folder.
        """
        if pattern not in self._folders:
            parent, name = os.path.split(pattern)
            if pattern:
                paths = self._folder(parent).folders.matching(fold(name))
            else:
                paths = [IndexedPath("", False)]
            index = FolderIndex(NameIndex(), NameIndex(), NameIndex())
            for path in paths:
                self._add_entries(path, index, required="*" not in pattern)
            self._folders[pattern] = index
        return self._folders[pattern]

    def _add_entries(self, folder: IndexedPath, index: FolderIndex, required: bool) -> None:
        for entry in self._entries(folder.path, required):
            join = os.path.join if self._remote is None else posixpath.join
            path = join(folder.path, entry.name)
            item = IndexedPath(path, folder.linked or entry.is_symlink())
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads to itself
                continue
            if is_folder:
                index.folders.paths_by_name[fold(entry.name)].append(item)
            elif is_file:
                index.files.paths_by_name[fold(entry.name)].append(item)
                stem = without_extension(entry.name)
                # hidden files are no videos: macOS puts "._x.mp4" beside x.mp4
                if stem != entry.name and not entry.name.startswith("."):
                    index.videos.paths_by_name[fold(stem)].append(item)

    def _entries(self, path: str, required: bool) -> Sequence[Entry]:
        if self._remote is not None:
            return self._remote.get(path, [])
        try:
            with os.scandir(str(self.root / path)) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            if not required:
                return []
            raise UsageError(
                f"{self.root / path} cannot be read: {error.strerror}; give another --root"
            ) from None

    def _check_inside_root(self, path: str) -> None:
        target = os.path.realpath(str(self.root / path))
        if not target.startswith(self._real.rstrip("/") + "/"):
            raise UsageError(
                f"{self.root / path} leads through a link to {target}, which lies outside "
                f"{self.root}; links that leave the folder of a dataset are refused: copy or mount "
                "the files below it, or give the folder that contains them as --root"
            )


def remote_entries(names: Iterable[str]) -> dict[str, list[RemoteEntry]]:
    """The entries of each folder, sorted by name, of files whose paths are ``names``; "" is the
    folder that all are below.
    """
    folders: dict[str, set[RemoteEntry]] = defaultdict(set)
    for name in names:
        parent, _, last = name.rpartition("/")
        folders[parent].add(RemoteEntry(last, folder=False))
        while parent:
            parent, _, last = parent.rpartition("/")
            entry = RemoteEntry(last, folder=True)
            if entry in folders[parent]:
                break
            folders[parent].add(entry)
    return {folder: sorted(entries) for folder, entries in folders.items()}
