"""Small pictures of the frames that features were extracted from, for the report and the contact
sheet.

Videos are opened as `extract/decoding/probe.py` does, in processes of their own: one that hangs or
crashes costs itself alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from vqa_twostage.extract.decoding.decoding_errors import as_video_error
from vqa_twostage.fuse.reporting.video_files import below
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest, manifest_path
from vqa_twostage.pipeline.confinement import confine, folders_of
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import ANY_SIZE, GB
from vqa_twostage.pipeline.processes import start_processes
from vqa_twostage.pipeline.raw_format import RawFormat, parse_raw_format

MAX_WIDTH, MAX_HEIGHT = 160, 240  # pixels
JPEG_QUALITY = 68
MAX_FRAMES = 12  # shown of one video; of more frames, so many evenly spaced ones
TIMEOUT_S = 60.0
WORKERS = 2


@dataclass(frozen=True)
class FrameRequest:
    """Which frames of a video file to show; any order and repeats are allowed."""

    name: str
    path: Path
    frame_index: list[int]


@dataclass(frozen=True)
class FrameStrip:
    """Pictures of frames of one video, each as JPEG: ``rows`` of its ``of`` sampled frames, and
    when each is shown, in seconds.
    """

    rows: list[int]
    of: int
    timestamp: list[float]
    images: list[bytes]


def frame_strips(
    track: TrackPath, ids: Sequence[str], root: Path
) -> tuple[dict[str, FrameStrip], dict[str, str]]:
    """The sampled frames of the videos ``ids`` below ``root``, and the reasons why some have none.

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
    requests: list[FrameRequest] = []
    strips: dict[str, FrameStrip] = {}
    with cached.open_track(track) as features:
        if features.identity.imported:
            raise UsageError("features were imported, and their frames are unknown")
        text = features.identity.raw
        raw = parse_raw_format(text, str(track)) if text else None
        for name in ids:
            if name not in features or name not in path_of:
                reasons[name] = f"not in {track}"
                continue
            video = below(root, path_of[name])
            if video is None:
                reasons[name] = f"its path {path_of[name]!r} leaves {root}, and was not opened"
                continue
            stored = features.read(name, without=("grid",))
            shown = evenly_spaced(len(stored.frame_index))
            timestamp = stored.timestamp[shown].tolist()
            strips[name] = FrameStrip(shown, len(stored.frame_index), timestamp, images=[])
            frame_index = stored.frame_index[shown].tolist()
            requests.append(FrameRequest(name, video, frame_index))
    images, failed = read_thumbnails(requests, raw)
    shown_strips = {name: replace(strips[name], images=jpegs) for name, jpegs in images.items()}
    return shown_strips, {**reasons, **failed}


def evenly_spaced(count: int) -> list[int]:
    """Which of ``count`` frames are shown: all, or `MAX_FRAMES` evenly spaced ones."""
    rows = np.linspace(0, count - 1, min(count, MAX_FRAMES)).round().astype(int)
    return [int(row) for row in rows]


def read_thumbnails(
    requests: Sequence[FrameRequest], raw: RawFormat | None = None
) -> tuple[dict[str, list[bytes]], dict[str, str]]:
    """`thumbnails_of` for several videos, by name, and the reasons why some have none."""
    images: dict[str, list[bytes]] = {}
    reasons: dict[str, str] = {}
    confined = (folders_of(item.path for item in requests), ANY_SIZE.memory * GB)
    with start_processes(WORKERS, confine, confined) as pool:
        futures = [
            pool.schedule(thumbnails_of, (item.path, item.frame_index, raw), timeout=TIMEOUT_S)
            for item in requests
        ]
        for future, request in zip(futures, requests, strict=True):
            error = future.exception()
            if error is None:
                images[request.name] = future.result()
            else:
                reasons[request.name] = str(as_video_error(error, TIMEOUT_S))
    return images, reasons


def thumbnails_of(path: Path, frame_index: list[int], raw: RawFormat | None) -> list[bytes]:
    """Frames of a video file, each as a small JPEG; VideoError where the file cannot be used."""
    from vqa_twostage.extract.decoding.video import open_video

    distinct = np.unique(np.asarray(frame_index, np.int64))
    jpeg_of: dict[int, bytes] = {}
    with open_video(path, raw=raw, limits=ANY_SIZE) as video:
        if len(distinct) and distinct[-1] >= len(video):
            raise VideoError(
                "is not the video that features were extracted from: frame "
                f"{distinct[-1]} was sampled, and it has {len(video)} frames"
            )
        scale = min(MAX_WIDTH / video.width, MAX_HEIGHT / video.height, 1.0)
        size = max(round(video.width * scale), 1), max(round(video.height * scale), 1)
        for row, image in video.stream(distinct):
            small = Image.fromarray(np.ascontiguousarray(image)).resize(size, Resampling.BOX)
            jpeg = BytesIO()
            small.save(jpeg, "JPEG", quality=JPEG_QUALITY)
            jpeg_of[int(distinct[row])] = jpeg.getvalue()
    return [jpeg_of[number] for number in frame_index]
