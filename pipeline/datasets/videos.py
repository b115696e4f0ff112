"""The video files that a list of files, folders and patterns stands for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vqa_twostage.pipeline.datasets.file_index import VIDEO_EXTENSIONS
from vqa_twostage.pipeline.errors import UsageError

# a folder that holds this file is a run or an exported model
MODEL_FILE = "model.safetensors"


def find_videos(sources: str | Path | Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """The video files that ``sources`` stand for, each once and in order, and the other files in
    its folders.

    Args:
        sources: One or many files, folders or patterns. A file is taken as a video whatever its
            extension, and also where it does not exist; of a folder, all files with the extension
            of a video are taken, however deep. Text that names nothing and holds ``*``, ``?`` or
            ``[`` is a pattern; a `Path` never is.

    Returns:
        The videos, and the files in the folders whose extension is none of a video.

    Raises:
        UsageError: There is no video at all, a pattern matches nothing, one of ``sources`` is a run
            or no path.
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    if not isinstance(sources, Iterable) or isinstance(sources, bytes):
        raise UsageError(_not_a_path(sources))
    given = list(sources)
    videos: list[Path] = []
    others: list[Path] = []
    for source in given:
        if not isinstance(source, str | os.PathLike):
            raise UsageError(_not_a_path(source))
        if source == "":
            raise UsageError(
                "the path of a video is empty (''); check the variables of your shell, and give "
                "videos, folders or patterns"
            )
        path = Path(source)
        if path.is_dir():
            if (path / MODEL_FILE).is_file():
                raise UsageError(
                    f"{source} is a run or a model, not a folder of videos; a pattern after --run "
                    "must match one run alone"
                )
            for file in _files_below(path):
                (videos if file.suffix.lower() in VIDEO_EXTENSIONS else others).append(file)
        elif isinstance(source, str) and not path.exists() and any(c in source for c in "*?["):
            videos += _matches(source)
        else:
            videos.append(path)
    if given and not videos:
        raise UsageError(
            f"no video in {', '.join(map(str, given))}; known extensions: "
            f"{' '.join(VIDEO_EXTENSIONS)}"
        )
    return list(dict.fromkeys(videos)), others


def _files_below(folder: Path) -> list[Path]:
    """All files in ``folder``, however deep, but for hidden ones."""
    return sorted(
        item for item in folder.rglob("*") if item.is_file() and not item.name.startswith(".")
    )


def _matches(pattern: str) -> list[Path]:
    """The files that a pattern matches; UsageError where it matches nothing."""
    anchor = Path(pattern).anchor
    try:
        matches = sorted(Path(anchor or ".").glob(pattern.removeprefix(anchor)))
    except ValueError as error:
        raise UsageError(f"{pattern} is no pattern: {error}") from None
    if not matches:
        raise UsageError(f"{pattern} matches no file; give a video, a folder, or another pattern")
    return [item for item in matches if item.is_file()]


def _not_a_path(value: object) -> str:
    return (
        f"a video is given as {value!r}, of type {type(value).__name__}; give a path, a folder, a "
        "pattern, or a list of them"
    )
