"""Decodes files as an extraction does, and writes what became of each: a program of its own, so
that it can be watched.

``python decode_files.py PATHS.json RESULT.json``. Frames are told by their MD5, since the ffmpeg
program does so too.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from vqa_twostage.extract.decoding import workers
from vqa_twostage.extract.decoding.workers import DecodedStream, DecodeRequest, decode_videos
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.limits import Limits

# of a file of at most 1 MB: what takes longer is stopped, and told so
SECONDS = 10.0
# of a video of no more frames that are all; and a sampler that looks at all of them itself
ALL_FRAMES, SCANNED = "uniform:frames=400", "content:frames=4"


def main(paths: Path, result: Path) -> None:
    workers.TIMEOUT_S = SECONDS
    videos = [(Path(path).name, Path(path)) for path in json.loads(paths.read_text())]
    outcomes = _outcomes(videos, ALL_FRAMES)
    for name, scanned in _outcomes(videos, SCANNED).items():
        outcomes[name]["scanned"] = scanned.get("reason", "")
        outcomes[name]["seconds"] = max(outcomes[name]["seconds"], scanned["seconds"])
    result.write_text(json.dumps(outcomes))


def _outcomes(videos: list[tuple[str, Path]], sampler: str) -> dict[str, dict[str, Any]]:
    request = DecodeRequest(sampler, "pyav", limits=Limits(time=SECONDS))
    outcomes = {}
    before = time.monotonic()
    for stream in decode_videos(videos, request, workers=1):
        try:
            outcome = _decoded(stream)
        except VideoError as error:
            outcome = {"reason": str(error), "frames": [], "size": [0, 0]}
        now = time.monotonic()
        outcomes[stream.id] = outcome | {"seconds": round(now - before, 3)}
        before = now
    return outcomes


def _decoded(stream: DecodedStream) -> dict[str, Any]:
    header, some = stream.open()
    frames = {}
    for numbers, pixels in some:
        for number, image in zip(numbers, pixels, strict=True):
            frames[int(number)] = hashlib.md5(image.tobytes()).hexdigest()
    summary = stream.summary()
    return {
        "frames": [frames[number] for number in sorted(frames)],
        "length": header.length,
        "size": [header.width, header.height],
        "damage": summary.damage,
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
