"""Files on disk by names that differ from theirs in letter case, extension and spelling, as those
in label files do.

A pattern is a path relative to the root, in which ``*`` in a part stands for anything (`literal`
for a ``*`` that does not). A file matches whatever its letter case, with a space for ``_``, and,
for videos, with any known extension; one that is spelt exactly as the pattern is the only match.
"""

from __future__ import annotations

import os
import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from vqa_twostage.pipeline.errors import UsageError, require

STAR = "\1"  # a star that stands for itself; no file is called so
VIDEO_EXTENSIONS = (
    *(
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".f4v",
        ".flv",
        ".h264",
        ".ivf",
        ".m1v",
        ".m2t",
        ".m2ts",
        ".m2v",
        ".m4v",
    ),
    *(
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogg",
        ".ogm",
        ".ogv",
        ".raw",
        ".ts",
        ".vob",
        ".webm",
    ),
    *(".wmv", ".y4m", ".yuv"),
)


def without_extension(name: str) -> str:
    """``name`` without the known extension of a video; any other dot is a part of the name."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and stem and f".{extension}".lower() in VIDEO_EXTENSIONS else name


def fold(name: str) -> str:
    """Equal for names that differ in letter case, spaces and ``_``, or in how an accent is
    composed.
    """
    return unicodedata.normalize("NFC", name).casefold().replace(" ", "_")


def literal(value: str) -> str:
    """``value`` as a part of a pattern that stands for itself."""
    return value.replace("*", STAR)


class Found(NamedTuple):
    """A path relative to the root, and whether a link leads there."""

    path: str
    linked: bool


class Index:
    """Found files or folders by what their names fold to."""

    def __init__(self) -> None:
        self.named: dict[str, list[Found]] = defaultdict(list)

    @cached_property
    def _ordered(self) -> list[str]:
        return sorted(self.named)

    def matching(self, pattern: str) -> list[Found]:
        """``pattern`` is folded, and has no ``/``."""
        if "*" not in pattern:
            return self.named.get(pattern.replace(STAR, "*"), [])
        parts = [re.escape(part.replace(STAR, "*")) for part in pattern.split("*")]
        whole, prefix = (
            re.compile(".*".join(parts), re.DOTALL),
            pattern.partition("*")[0].replace(STAR, "*"),
        )
        found = []
        for place in range(bisect_left(self._ordered, prefix), len(self._ordered)):
            name = self._ordered[place]
            if not name.startswith(prefix):
                break
            if whole.fullmatch(name):
                found += self.named[name]
        return found


class Folder(NamedTuple):
    folders: Index
    files: Index
    videos: Index  # by their names without extension


class Tree:
    """The files below ``root``; each folder is listed once, when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.absolute, self._real = os.path.abspath(root), os.path.realpath(root)
        self._folders: dict[str, Folder] = {}

    def videos(self, pattern: str) -> list[str]:
        """Paths of the videos that match, relative to the root; an extension in ``pattern`` may be
        another on disk.

        A file of exactly that name counts whatever its extension. UsageError where one is reached
        by a link that leaves the root.
        """
        folder, last = self._folder(os.path.dirname(pattern)), fold(os.path.basename(pattern))
        exact = [item for item in folder.files.matching(last) if literal(item.path) == pattern]
        found = exact
        if not exact or without_extension(pattern) == pattern:
            # "x.avi" may be x.avi.mp4 as well as x.mp4
            stems = dict.fromkeys((last, without_extension(last)))
            found = list(
                dict.fromkeys(
                    [*exact, *(item for stem in stems for item in folder.videos.matching(stem))]
                )
            )
        for item in found:
            if item.linked:
                self._stay_inside(item.path)
        return [item.path for item in found]

    def files(self, pattern: str) -> list[str]:
        """Paths of the files that match, with their extension; links may lead anywhere."""
        pattern = os.path.normpath(pattern)
        found = self._folder(os.path.dirname(pattern)).files.matching(
            fold(os.path.basename(pattern))
        )
        exact = [item.path for item in found if literal(item.path) == pattern]
        return exact or [item.path for item in found]

    def _folder(self, pattern: str) -> Folder:
        """All folders that match, as one: rows whose folder is ``*`` do not look through them one
        by one.
        """
        if pattern not in self._folders:
            above, name = os.path.split(pattern)
            inside = (
                [Found("", False)]
                if not pattern
                else self._folder(above).folders.matching(fold(name))
            )
            merged = Folder(Index(), Index(), Index())
            for item in inside:
                self._list(item, merged, needed="*" not in pattern)
            self._folders[pattern] = merged
        return self._folders[pattern]

    def _list(self, folder: Found, merged: Folder, needed: bool) -> None:
        for entry in self._entries(folder.path, needed):
            item = Found(os.path.join(folder.path, entry.name), folder.linked or entry.is_symlink())
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads to itself
                continue
            if is_folder:
                merged.folders.named[fold(entry.name)].append(item)
            elif is_file:
                merged.files.named[fold(entry.name)].append(item)
                stem = without_extension(entry.name)
                if stem != entry.name and not entry.name.startswith(
                    "."
                ):  # "._x.mp4": macOS keeps it beside x.mp4
                    merged.videos.named[fold(stem)].append(item)

    def _entries(self, path: str, needed: bool) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            if not needed:
                return []
            raise UsageError(
                f"{self.root / path} cannot be read: {error.strerror}; give another --root"
            ) from None

    def _stay_inside(self, path: str) -> None:
        target = os.path.realpath(self.root / path)
        require(
            target.startswith(self._real.rstrip("/") + "/"),
            f"{self.root / path} is reached by a link to {target}, which lies outside {self.root}; "
            "links that leave "
            "the folder of a dataset are refused: copy or mount what they lead to there, or give "
            "its own folder as "
            "--root",
        )
