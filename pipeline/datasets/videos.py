"""The video files that a list of files, folders and patterns stands for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vqa_twostage.pipeline.addresses import checked, is_address, local_path
from vqa_twostage.pipeline.datasets.file_index import VIDEO_EXTENSIONS
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.remote_files import RemoteFile, VideoFile, files_named

# a folder that contains this file is a run or an exported model
MODEL_FILE = "model.safetensors"


def find_videos(
    sources: str | Path | RemoteFile | Iterable[str | Path | RemoteFile],
) -> tuple[list[VideoFile], list[VideoFile]]:
    """The video files that ``sources`` stand for, each once and in order, and the other files in
    its folders.

    Args:
        sources: One or many files, folders or patterns. A file counts as a video whatever its
            extension is, even if it does not exist. A folder stands for all files in it and in its
            subfolders that have the extension of a video. A text that is no existing path and
            contains ``*``, ``?`` or ``[`` is a pattern; a `Path` never is. An address, such as
            ``s3://bucket/folder``, is a file, a folder, or a pattern with ``*``.

    Returns:
        The videos, and the files in the folders that do not have the extension of a video.

    Raises:
        UsageError: There is no video at all, a pattern matches nothing, or one of ``sources`` is a
            run or is not a path.
    """
    sources = _as_list(sources)
    videos: list[VideoFile] = []
    others: list[VideoFile] = []
    for source in map(_local, sources):
        if isinstance(source, RemoteFile):
            videos.append(source)
            continue
        if isinstance(source, str) and is_address(source):
            for remote in files_named(checked(source, "the video"), "the video"):
                alone = remote.address == source or remote.suffix.lower() in VIDEO_EXTENSIONS
                (videos if alone else others).append(remote)
            continue
        path = Path(source)
        if path.is_dir():
            for file in _files_below(path):
                (videos if file.suffix.lower() in VIDEO_EXTENSIONS else others).append(file)
        elif isinstance(source, str) and not path.exists() and any(c in source for c in "*?["):
            videos += _matches(source)
        else:
            videos.append(path)
    if sources and not videos:
        raise UsageError(
            f"no video in {', '.join(map(str, sources))}; known extensions: "
            f"{' '.join(VIDEO_EXTENSIONS)}"
        )
    return list(dict.fromkeys(videos)), others


def _local(source: str | Path | RemoteFile) -> str | Path | RemoteFile:
    """``source``, or the path that an address of this machine (``file://``) stands for."""
    path = local_path(source) if isinstance(source, str) and is_address(source) else None
    return source if path is None else path


def _as_list(
    sources: str | Path | RemoteFile | Iterable[str | Path | RemoteFile],
) -> list[str | Path | RemoteFile]:
    """One or many paths as a list; UsageError if one of them is not a path or is empty."""
    if isinstance(sources, str | os.PathLike | RemoteFile):
        sources = [sources]
    if not isinstance(sources, Iterable) or isinstance(sources, bytes):
        raise UsageError(_not_a_path(sources))
    paths = list(sources)
    for path in paths:
        if not isinstance(path, str | os.PathLike | RemoteFile):
            raise UsageError(_not_a_path(path))
        if path == "":
            raise UsageError(
                "the path of a video is empty (''); check the variables of your shell, and give "
                "videos, folders or patterns"
            )
    return paths


def videos_below(folder: Path) -> list[Path]:
    """The files in ``folder`` and its subfolders that have the extension of a video, hidden ones
    left out; UsageError if it is a run.
    """
    return [file for file in _files_below(folder) if file.suffix.lower() in VIDEO_EXTENSIONS]


def _files_below(folder: Path) -> list[Path]:
    """All files in ``folder`` and its subfolders, except hidden ones; UsageError if it is a run."""
    if (folder / MODEL_FILE).is_file():
        raise UsageError(
            f"{folder} is a run or a model, not a folder of videos; a pattern after --run must "
            "match only one run"
        )
    return sorted(
        item for item in folder.rglob("*") if item.is_file() and not item.name.startswith(".")
    )


def _matches(pattern: str) -> list[Path]:
    """The files that a pattern matches; UsageError if there are none."""
    anchor = Path(pattern).anchor
    try:
        matches = sorted(Path(anchor or ".").glob(pattern.removeprefix(anchor)))
    except ValueError as error:
        raise UsageError(f"{pattern} is not a valid pattern: {error}") from None
    if not matches:
        raise UsageError(f"{pattern} matches no file; give a video, a folder, or another pattern")
    return [item for item in matches if item.is_file()]


def _not_a_path(value: object) -> str:
    return (
        f"a video is given as {value!r}, of type {type(value).__name__}; give a path, a folder, a "
        "pattern, or a list of them"
    )
