"""Files on disk by names that differ from theirs in letter case, extension and spelling, as those in label files do.

A pattern is a path relative to the root, in which ``*`` in a part stands for anything. A file matches whatever its
letter case, with a space for ``_``, and, for videos, with any known extension; one that is spelt exactly as the pattern
is the only match.
"""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UsageError, require

MAGIC = re.compile(r"[*?[]")
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
    *(".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg", ".ogm", ".ogv", ".raw", ".ts", ".vob", ".webm"),
    *(".wmv", ".y4m", ".yuv"),
)


def without_extension(name: str) -> str:
    """``name`` without the known extension of a video; any other dot is a part of the name."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and stem and f".{extension}".lower() in VIDEO_EXTENSIONS else name


def fold(name: str) -> str:
    """Equal for names that differ in letter case, spaces and ``_``, or in how an accent is composed."""
    return unicodedata.normalize("NFC", name).casefold().replace(" ", "_")


def escape(value: str) -> str:
    """``value`` as a part of a pattern that stands for itself."""
    return MAGIC.sub(r"[\g<0>]", value)


@dataclass
class Folder:
    """Names by what they fold to: of folders, files and, without extension, videos. ``linked``: reached by a link."""

    linked: bool
    links: set[str] = field(default_factory=set)
    folders: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    videos: dict[str, list[str]] = field(default_factory=dict)
    ordered: dict[int, list[str]] = field(default_factory=dict)

    def matching(self, names: dict[str, list[str]], pattern: str) -> list[str]:
        """Of ``names``, one of the three above, those that match a pattern without ``/``."""
        magic = MAGIC.search(pattern)
        if magic is None:
            return names.get(pattern, [])
        if id(names) not in self.ordered:
            self.ordered[id(names)] = sorted(names)
        ordered, prefix = self.ordered[id(names)], pattern[: magic.start()]
        found = []
        for place in range(bisect_left(ordered, prefix), len(ordered)):
            if not ordered[place].startswith(prefix):
                break
            if fnmatch.fnmatchcase(ordered[place], pattern):
                found += names[ordered[place]]
        return found


class Tree:
    """The files below ``root``, each folder listed once, when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)
        self._folders: dict[str, Folder] = {}

    def videos(self, pattern: str) -> list[str]:
        """Paths of the videos that match, relative to the root; an extension in ``pattern`` may be another on disk.

        A file of exactly that name counts whatever its extension. UsageError where one is reached by a link that leaves
        the root.
        """
        named = self._find(pattern, any_extension=False)
        found = [item for item in named if escape(item[0]) == pattern] or self._find(pattern, any_extension=True)
        for path, linked in found:
            if linked:
                self._stay_inside(path)
        return [path for path, _ in found]

    def files(self, pattern: str) -> list[str]:
        """Paths of the files that match, with their extension; links may lead anywhere."""
        return [path for path, _ in self._find(pattern, any_extension=False)]

    def _find(self, pattern: str, any_extension: bool) -> list[tuple[str, bool]]:
        """Paths, and whether a link leads there."""
        *parts, last = pattern.split("/")
        paths = [""]
        for part in parts:
            paths = [
                f"{path}{name}/"
                for path in paths
                for folder in [self._folder(path)]
                for name in folder.matching(folder.folders, fold(part))
            ]
        found = []
        for path in paths:
            folder = self._folder(path)
            names = folder.videos if any_extension else folder.files
            wanted = fold(without_extension(last) if any_extension else last)
            found += [(path + name, folder.linked or name in folder.links) for name in folder.matching(names, wanted)]
        return found

    def _folder(self, path: str) -> Folder:
        if path not in self._folders:
            parent, _, name = path.rstrip("/").rpartition("/")
            above = self._folders.get(f"{parent}/" if parent else "")
            folder = Folder(linked=bool(path and above and (above.linked or name in above.links)))
            for entry in self._entries(path):
                if entry.is_symlink():
                    folder.links.add(entry.name)
                if entry.is_dir():
                    folder.folders.setdefault(fold(entry.name), []).append(entry.name)
                elif entry.is_file() and not entry.name.startswith("."):  # "._x.mp4" is what macOS keeps beside x.mp4
                    folder.files.setdefault(fold(entry.name), []).append(entry.name)
                    stem = without_extension(entry.name)
                    if stem != entry.name:
                        folder.videos.setdefault(fold(stem), []).append(entry.name)
            self._folders[path] = folder
        return self._folders[path]

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise UsageError(f"{self.root / path} is no folder; give the folder of the dataset with --root") from None
        except OSError as error:
            raise UsageError(f"{self.root / path} cannot be read: {error.strerror}") from None

    def _stay_inside(self, path: str) -> None:
        target = os.path.realpath(self.root / path)
        require(
            target.startswith(self._real.rstrip("/") + "/"),
            f"{self.root / path} is reached by a link to {target}, which lies outside {self.root}; links that leave "
            "the folder of a dataset are refused: copy or mount what they lead to there, or give its own folder as "
            "--root",
        )
