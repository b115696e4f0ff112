"""From a decoded frame to upright RGB.

Dimensions: H x W pixels, upright. A display matrix is FFmpeg's: (x, y) on the coded frame is shown
at (x, y) @ matrix.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8


class RGB:
    """Turns decoded frames into upright RGB of H x W pixels, as the ffmpeg program does by default.

    Through FFmpeg's scale filter, as ffmpeg and decord do: PyAV's own conversion treats interlaced
    frames and the place of the colour samples otherwise, and not the same in all its versions.
    `kernel` is how that filter resizes, where H x W is another size than the frame's: "area" is the
    mean over the pixels that become one.
    """

    def __init__(
        self,
        height: int,
        width: int,
        matrix: Int64[np.ndarray, "3 3"] | None,
        kernel: str = "bicubic",
    ) -> None:
        self._matrix = matrix
        # a quarter turn back swaps them again
        coded_height, coded_width = upright_size(height, width, matrix)
        self._scale = f"{coded_width}:{coded_height}:flags={kernel}:interl=0"
        self._graphs: dict[tuple[int, int, str], Any] = {}  # a stream may change its size midway

    def __call__(self, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        from av.filter import Graph

        key = (frame.width, frame.height, frame.format.name)
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = Graph()
            source = graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=Fraction(1, 1000),
            )
            steps = (
                graph.add("scale", self._scale),
                graph.add("format", "rgb24"),
                graph.add("buffersink"),
            )
            graph.link_nodes(source, *steps).configure()
        graph.push(frame)
        return upright(graph.pull().to_ndarray(), self._matrix)


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
