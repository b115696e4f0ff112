"""What a person means by a list of files, folders and patterns: videos, in order, and nothing left
out unsaid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqa_twostage.pipeline.datasets.file_index import VIDEO_EXTENSIONS
from vqa_twostage.pipeline.errors import UsageError, require


def find_videos(given: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Videos: each file that is named or matches a pattern, and by their extension those in a
    folder, however deep.

    Also the other files in those folders, for whoever wonders where they are. A file that is named
    counts whatever its extension, and also where it does not exist. UsageError where there is no
    video at all, or a run is taken for a folder of videos.
    """
    videos: list[Path] = []
    others: list[Path] = []
    for text in given:
        require(
            bool(text),
            "a video is called '': is a variable of your shell empty? give videos, folders, "
            "patterns",
        )
        path = Path(text)
        if path.is_dir():
            require(
                not (path / "model.safetensors").is_file(),
                f"{text} is a run or a model, no folder of videos; a pattern after --run must "
                "match one run alone",
            )
            inside = sorted(
                item for item in path.rglob("*") if item.is_file() and not item.name.startswith(".")
            )
            videos += [item for item in inside if item.suffix.lower() in VIDEO_EXTENSIONS]
            others += [item for item in inside if item.suffix.lower() not in VIDEO_EXTENSIONS]
        elif not path.exists() and any(letter in text for letter in "*?["):
            try:
                matched = sorted(Path(path.anchor or ".").glob(text.removeprefix(path.anchor)))
            except ValueError as error:
                raise UsageError(f"{text} is no pattern: {error}") from None
            require(
                bool(matched), f"{text} matches no file; give a video, a folder, or another pattern"
            )
            videos += [item for item in matched if item.is_file()]
        else:
            videos.append(path)
    if not videos:
        raise UsageError(
            f"no video in {', '.join(given)}; known extensions: {' '.join(VIDEO_EXTENSIONS)}"
        )
    return list(dict.fromkeys(videos)), others
