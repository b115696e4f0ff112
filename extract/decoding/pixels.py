"""From a decoded frame to upright RGB.

Dimensions: H x W pixels, upright. A display matrix is FFmpeg's: (x, y) on the coded frame is shown
at (x, y) @ matrix.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from vqa_twostage.extract.decoding.hdr import is_hdr, to_sdr
from vqa_twostage.pipeline.limits import DEFAULTS, Limits


class RGB:
    """Turns decoded frames into upright RGB of H x W pixels, as the ffmpeg program does by default.

    Through FFmpeg's scale filter, as ffmpeg and decord do: PyAV's own conversion treats interlaced
    frames and the place of the colour samples otherwise, and not the same in all its versions.
    `kernel` is how that filter resizes, where H x W is another size than the frame's: "area" is the
    mean over the pixels that become one. HDR becomes SDR unless `hdr` is "clip", which takes its
    values as they are. VideoError for a frame that is too large.
    """

    def __init__(
        self,
        height: int,
        width: int,
        matrix: Int64[np.ndarray, "3 3"] | None,
        kernel: str = "bicubic",
        hdr: str = "tonemap",
        limits: Limits = DEFAULTS,
    ) -> None:
        self._matrix, self._tonemap, self._limits = matrix, hdr != "clip", limits
        # a quarter turn back swaps them again
        coded_height, coded_width = upright_size(height, width, matrix)
        self._scale = f"{coded_width}:{coded_height}:flags={kernel}:interl=0"
        # a stream may change its size midway
        self._graphs: dict[tuple[int, int, str, str], Any] = {}

    def __call__(self, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        from av.filter import Graph

        tonemap = self._tonemap and is_hdr(frame)
        wanted = "rgb48le" if tonemap else "rgb24"
        key = (frame.width, frame.height, frame.format.name, wanted)
        graph = self._graphs.get(key)
        if graph is None:
            self._limits.check_frame(frame.width, frame.height)
            graph = self._graphs[key] = Graph()
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=Fraction(1, 1000),
            )
            steps = (
                graph.add("scale", self._scale),
                graph.add("format", wanted),
                graph.add("buffersink"),
            )
            graph.link_nodes(source, *steps).configure()
        graph.push(frame)
        image = graph.pull().to_ndarray()
        return upright(to_sdr(image, int(frame.color_trc)) if tonemap else image, self._matrix)


def display_matrix(frame: Any) -> Int64[np.ndarray, "3 3"] | None:
    """How the file wants a frame to be turned, or None for not at all."""
    data = frame.side_data.get("DISPLAYMATRIX")
    matrix = None if data is None else np.frombuffer(data, np.int32).astype(np.int64).reshape(3, 3)
    return None if matrix is None or (matrix[0, 0] > 0 and matrix[1, 1] > 0) else matrix


def upright_size(
    height: int, width: int, matrix: Int64[np.ndarray, "3 3"] | None
) -> tuple[int, int]:
    """(height, width) of an image of that size once `upright`."""
    return (
        (width, height)
        if matrix is not None and abs(matrix[0, 1]) > abs(matrix[0, 0])
        else (height, width)
    )


def upright(
    image: UInt8[np.ndarray, "height width 3"], matrix: Int64[np.ndarray, "3 3"] | None
) -> UInt8[np.ndarray, "newheight newwidth 3"]:
    """`image` turned by quarter turns and mirrored as a display matrix says: (x, y) goes to (x, y)
    @ matrix.
    """
    if matrix is None:
        return image
    across, down = matrix[0, 0], matrix[1, 1]
    if abs(matrix[0, 1]) > abs(across):
        image = image.transpose(1, 0, 2)
        across, down = matrix[1, 0], matrix[0, 1]
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
