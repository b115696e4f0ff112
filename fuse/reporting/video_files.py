"""Where the videos of a run lie, seen from a page that plays them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest, manifest_path


def below(root: Path, path: str) -> Path | None:
    """The file, unless it lies elsewhere, also by a link: a manifest may come from a stranger, and
    pictures in a report are passed on.
    """
    try:
        whole = (root / path).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return whole if whole.is_relative_to(root.resolve()) else None


def addresses(track: TrackPath, ids: Iterable[str], root: Path, page: Path) -> dict[str, str]:
    """Where a page that lies at ``page`` finds the videos ``ids``, as a part of an address; only of
    those whose files are there below ``root``.

    None where the cache of ``track``, whose manifest knows the files, is not here. UsageError where
    that manifest is damaged.
    """
    cache, dataset = track.cache, track.dataset
    if not manifest_path(cache, dataset).is_file():
        return {}
    rows = load_cached_manifest(cache, dataset).rows
    path_of = dict(zip(rows["id"].astype(str), rows["path"].astype(str), strict=True))
    found = {}
    for name in ids:
        file = below(root, path_of[name]) if name in path_of else None
        if file is not None and file.is_file():
            found[name] = _address(file, page.resolve().parent)
    return found


def _address(file: Path, folder: Path) -> str:
    try:
        relative = Path(os.path.relpath(file, folder))
    except ValueError:  # another drive of Windows
        return file.as_uri()
    # as bytes, since names may be no UTF-8; a colon, which would begin an address, is quoted too
    return quote(os.fsencode(relative.as_posix()))
