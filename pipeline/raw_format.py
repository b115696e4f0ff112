"""What a raw video file does not say of itself: a .yuv is pixels alone, its dataset tells their
size and format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vqa_twostage.pipeline.errors import UsageError

PIXEL_FORMATS = (
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "nv12",
    "yuyv422",
    "uyvy422",
    "yuv420p10le",
)
TEXT = re.compile(
    r"(?P<width>\d{1,5})x(?P<height>\d{1,5}) (?P<pixel_format>\w+) (?P<fps>\d+(\.\d+)?)"
)


@dataclass(frozen=True)
class RawFormat:
    """Of all raw files of a dataset: ``width`` and ``height`` in pixels, FFmpeg's name of the pixel
    format, ``fps``.
    """

    width: int
    height: int
    pixel_format: str
    fps: float

    def __str__(self) -> str:
        """As in ``1920x1080 yuv420p 30``, which `parse_raw_format` reads."""
        return f"{self.width}x{self.height} {self.pixel_format} {repr(self.fps).removesuffix('.0')}"


def parse_raw_format(text: str, where: str) -> RawFormat:
    """UsageError where ``text``, of the file ``where``, is none."""
    match = TEXT.fullmatch(text.strip())
    known = match is not None and match["pixel_format"] in PIXEL_FORMATS
    if (
        match is None
        or not known
        or not (int(match["width"]) and int(match["height"]) and float(match["fps"]))
    ):
        raise UsageError(
            f"{where}: raw = {text!r} is not understood; give size, pixel format and frames a "
            "second, as in "
            f"'1920x1080 yuv420p 30', with a format of {', '.join(PIXEL_FORMATS)}"
        )
    return RawFormat(
        int(match["width"]), int(match["height"]), match["pixel_format"], float(match["fps"])
    )
