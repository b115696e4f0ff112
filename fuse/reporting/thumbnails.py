"""Small pictures of the frames that features were taken from: where a run's report and its videos
come together.

Videos are opened as `extract/decoding/probe.py` does, in processes of their own: one that hangs or
crashes costs itself alone.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqa_twostage.extract.decoding.processes import as_video_error, decoding_processes
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest, manifest_path
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.raw_format import RawFormat, parse_raw_format

WIDTH = 160  # pixels
TALLEST = 240
QUALITY = 68  # of JPEG
FRAMES = 12  # of one video: of more, so many evenly spaced ones
TIMEOUT_S = 60.0
WORKERS = 2


@dataclass(frozen=True)
class Strip:
    """Frames of one video: ``rows`` of ``of`` sampled ones, when each is shown in seconds, each as
    base64 of a JPEG.
    """

    rows: list[int]
    of: int
    timestamp: list[float]
    images: list[str]

    @property
    def size(self) -> int:
        """Characters in a page."""
        return sum(map(len, self.images))


def strips(
    track: TrackPath, ids: Sequence[str], root: Path
) -> tuple[dict[str, Strip], dict[str, str]]:
    """The sampled frames of the videos ``ids`` below ``root``, and why others have none.

    ``track`` lies in a cache, whose manifest says which file is which video. UsageError where the
    frames of the whole track are unknown.
    """
    cache, dataset = track.cache, track.dataset
    if not manifest_path(cache, dataset).is_file():
        raise UsageError(
            f"the cache {cache} is not here; make the report where it is, or where it is at this "
            "path"
        )
    rows = load_cached_manifest(cache, dataset).rows
    path_of = dict(zip(rows["id"].astype(str), rows["path"].astype(str), strict=True))
    reasons: dict[str, str] = {}
    asked: list[tuple[str, Path, list[int]]] = []
    shown: list[tuple[list[int], int, list[float]]] = []
    with cached.open_track(track) as features:
        if features.identity.imported:
            raise UsageError("features were imported: which frames they are of is not known")
        text = features.identity.raw
        raw = parse_raw_format(text, str(track)) if text else None
        for name in ids:
            if name not in features or name not in path_of:
                reasons[name] = f"not in {track}"
                continue
            stored = features.read(name, without=("grid",))
            of = len(stored.frame_index)
            chosen = evenly_spaced(of)
            asked.append((name, root / path_of[name], stored.frame_index[chosen].tolist()))
            shown.append((chosen, of, stored.timestamp[chosen].tolist()))
    images, refused = pictured(asked, raw)
    about = {name: more for (name, *_), more in zip(asked, shown, strict=True)}
    return {name: Strip(*about[name], found) for name, found in images.items()}, {
        **reasons,
        **refused,
    }


def evenly_spaced(of: int) -> list[int]:
    """Which of so many frames are shown: all, or `FRAMES` of them."""
    rows: list[int] = np.linspace(0, of - 1, min(of, FRAMES)).round().astype(int).tolist()
    return rows


def pictured(
    asked: Sequence[tuple[str, Path, list[int]]], raw: RawFormat | None = None
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """`pictures` of several videos (name, file, frames), by name; and why others have none."""
    found: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    with decoding_processes(WORKERS) as pool:
        futures = [
            pool.schedule(pictures, (path, index, raw), timeout=TIMEOUT_S)
            for _, path, index in asked
        ]
        for future, (name, *_) in zip(futures, asked, strict=True):
            error = future.exception()
            if error is None:
                found[name] = future.result()
            else:
                reasons[name] = str(as_video_error(error, TIMEOUT_S))
    return found, reasons


def pictures(path: Path, index: list[int], raw: RawFormat | None) -> list[str]:
    """Frames ``index`` of a video file, any order and repeats allowed, each as base64 of a small
    JPEG.

    VideoError where the file cannot be used.
    """
    import cv2

    from vqa_twostage.extract.decoding.video import open_video
    from vqa_twostage.pipeline.errors import VideoError

    distinct = np.unique(np.asarray(index, np.int64))
    made: dict[int, str] = {}
    with open_video(path, raw=raw) as video:
        if len(distinct) and distinct[-1] >= len(video):
            raise VideoError(
                f"is not the video that was extracted: frame {distinct[-1]} of {len(video)} was "
                "sampled"
            )
        scale = min(WIDTH / video.width, TALLEST / video.height, 1.0)
        size = max(round(video.width * scale), 1), max(round(video.height * scale), 1)
        for row, image in video.stream(distinct):
            small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
            _, jpeg = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            made[int(distinct[row])] = base64.b64encode(jpeg.tobytes()).decode("ascii")
    return [made[number] for number in index]
