"""The format of raw videos. A .yuv file contains only pixels: its dataset must give their size and
format.
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
    """The format of all raw videos of a dataset: ``width`` and ``height`` in pixels, the pixel
    format by FFmpeg's name, and ``fps``, frames per second.
    """

    width: int
    height: int
    pixel_format: str
    fps: float

    def __str__(self) -> str:
        """As in ``1920x1080 yuv420p 30``, which `parse_raw_format` reads."""
        return f"{self.width}x{self.height} {self.pixel_format} {repr(self.fps).removesuffix('.0')}"


def parse_raw_format(text: str, where: str) -> RawFormat:
    """The raw format that ``text`` describes; UsageError if it is not one. ``where`` is the file
    that it is in, for messages.
    """
    match = TEXT.fullmatch(text.strip())
    if match and match["pixel_format"] in PIXEL_FORMATS:
        width, height, fps = int(match["width"]), int(match["height"]), float(match["fps"])
        if width and height and fps:
            return RawFormat(width, height, match["pixel_format"], fps)
    raise UsageError(
        f"{where}: raw = {text!r} is not understood; give size, pixel format and frames per "
        "second, as in '1920x1080 yuv420p 30', with one of the formats "
        f"{', '.join(PIXEL_FORMATS)}"
    )
