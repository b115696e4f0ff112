"""How files of features spell the names of videos, and which video of a dataset each name is.

A name is compared with the videos in steps, and the first step that finds one decides:

1. the id itself, then the path in the manifest;
2. the path without a video's extension, or its last folders and the name, as where a folder of
   features has the folders of the dataset;
3. the id or the last part of the path, both without folder and without a video's extension;
4. the id as in 3, also without letter case, with ``_`` for every run of other characters than
   letters and digits, and without a mark ``new`` at the end, after a digit or such a character:
   VIDEVAL's ``A012NEW`` is LIVE-VQC's ``A012.mp4``.

Nothing is guessed: a name that could be several videos is none of them, and so are several names
that a step finds to be the same video. A video that an earlier step found is no longer there for
another name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vqa_twostage.pipeline.datasets.file_index import fold, without_extension

OTHER_CHARACTERS = re.compile(r"[\W_]+")
NEW = re.compile(r"(?<=[0-9_])new$")


@dataclass(frozen=True)
class MatchedNames:
    """Which video each name is.

    ``ids``: name -> id; ``otherwise`` are those of them that are not the id as it stands.
    ``ambiguous``: name -> the ids that it could be, sorted. ``unknown``: names of no video. A name
    is in one of ``ids``, ``ambiguous`` and ``unknown``, and an id belongs to one name.
    """

    ids: dict[str, str] = field(default_factory=dict)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @property
    def otherwise(self) -> dict[str, str]:
        return {name: video_id for name, video_id in self.ids.items() if name != video_id}


def match_names(names: Sequence[str], videos: Mapping[str, str]) -> MatchedNames:
    """Distinct ``names`` matched with ``videos`` (id -> path), by the steps above."""
    found: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    for key_of_name, keys_of_video in STEPS:
        candidates: dict[str, set[str]] = defaultdict(set)
        for video_id, path in videos.items():
            for key in keys_of_video(video_id, path):
                candidates[key].add(video_id)
        candidates.pop("", None)  # which says nothing
        taken = set(found.values())
        claims: dict[str, list[str]] = defaultdict(list)
        for name in names:
            if name in found or name in ambiguous:
                continue
            matching = candidates.get(key_of_name(name), set())
            if len(matching) > 1:
                ambiguous[name] = sorted(matching)
            elif matching and not matching & taken:
                claims[min(matching)].append(name)
        for video_id, claiming in claims.items():
            if len(claiming) == 1:
                found[claiming[0]] = video_id
            else:
                ambiguous |= {name: [video_id] for name in claiming}
    return MatchedNames(
        {name: found[name] for name in names if name in found},
        {name: ambiguous[name] for name in names if name in ambiguous},
        [name for name in names if name not in found and name not in ambiguous],
    )


def whole(name: str) -> str:
    """``videos\\b\\A012.mp4`` -> ``videos/b/A012``."""
    return without_extension(name.replace("\\", "/"))


def _endings(path: str) -> tuple[str, ...]:
    """``videos/b/A012.mp4`` -> ``videos/b/A012``, ``b/A012``: no ending without a folder."""
    parts = whole(path).split("/")
    return tuple("/".join(parts[first:]) for first in range(len(parts) - 1))


def bare(name: str) -> str:
    """``Video\\A012.mp4`` -> ``A012``: without folder, and without a video's extension."""
    return without_extension(name.replace("\\", "/").rpartition("/")[2])


def normal(name: str) -> str:
    """``Clip-01 NEW.mp4`` -> ``clip_01``; "" where nothing is left to compare."""
    text = OTHER_CHARACTERS.sub("_", fold(bare(name))).strip("_")
    return NEW.sub("", text).rstrip("_")


# the key of a name in a file, and the keys of a video's id and path
STEPS: tuple[tuple[Callable[[str], str], Callable[[str, str], tuple[str, ...]]], ...] = (
    (str, lambda video_id, path: (video_id,)),
    (str, lambda video_id, path: (path,)),
    (whole, lambda video_id, path: _endings(path)),
    (bare, lambda video_id, path: (bare(video_id), bare(path))),
    (normal, lambda video_id, path: (normal(video_id),)),
)
