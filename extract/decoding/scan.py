"""What samplers look at: every frame of a video at low resolution, in one pass and bounded memory,
and how alike two frames are.

Dimensions: N frames in the video, h x w pixels of a small frame, D numbers that describe one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from vqa_twostage.extract.decoding.containers import decoded, open_container
from vqa_twostage.extract.decoding.pixels import RGB
from vqa_twostage.extract.decoding.video import Video

CELLS = 4  # to a side of a small frame: where something is counts too
# bins of L, a, b: an odd number, so that grey lies in the middle of one and noise does not move it
COLOURS = 9
CHROMA = 72  # of a and b, at either end of their bins; stronger colours are in the last
ORIENTATIONS = 8  # bins, level and upright edges in the middle of theirs
FLAT = 16.0  # energy of edges, in grey levels a pixel, that counts as much as having none


def scan(
    video: Video, side: int, every: int = 1
) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
    """Yield (frame number, small upright RGB uint8 [h, w, 3]) of the frames 0, `every`, 2 `every`,
    … that decode.

    The shorter side of a small frame has `side` pixels, or as many as the video if those are fewer.
    All frames are decoded once, from front to back, always by PyAV, so that what is chosen does not
    depend on the decoder; FFmpeg makes them small, and no full-size RGB exists. Nothing is kept
    between frames. Numbers ascend, except where a damaged file's clock runs backwards. Raises
    VideoError when the file cannot be read any more.
    """
    scale = min(1.0, side / min(video.height, video.width))
    height, width = (max(1, round(length * scale)) for length in (video.height, video.width))
    small = RGB(height, width, video.matrix, "area", hdr=video.hdr, limits=video.limits)
    pts = video.index.pts
    with open_container(video.path, video.kind) as (container, stream):
        for place, frame in enumerate(decoded(container, stream)):
            video.heartbeat()
            number = place if pts is None else _number(pts, frame.pts)
            if 0 <= number < len(video) and number % every == 0:
                yield number, small(frame)


def describe(small: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, " D"]:
    """What a small frame looks like, so that the product of two descriptions is their similarity,
    from 0 to 1.

    Histograms of L, a and b, and the energy of edges by their orientation, in each of 4 x 4 cells.
    The product is the mean Bhattacharyya coefficient of the histograms.
    """
    import cv2

    cv2.setNumThreads(1)  # workers are processes, and threads would make them wait for each other
    lab = cv2.cvtColor(np.ascontiguousarray(small), cv2.COLOR_RGB2LAB)
    height, width = lab.shape[:2]
    cell = (np.arange(height) * CELLS // height * CELLS)[:, None] + np.arange(
        width
    ) * CELLS // width
    across, down = (
        cv2.Sobel(lab[..., 0], cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1))
    )
    turn = (
        np.arctan2(down, across) / np.pi + 0.5 / ORIENTATIONS
    )  # half turns: either side of an edge may be bright
    pixels = np.bincount(cell.ravel(), minlength=CELLS**2)[:, None]

    def histogram(place: np.ndarray, bins: int, weight: np.ndarray | None = None) -> np.ndarray:
        """[cells, bins], of places 0 to 1."""
        number = cell * bins + (place * bins).astype(np.int64).clip(0, bins - 1)
        return np.bincount(number.ravel(), weight, CELLS**2 * bins).reshape(-1, bins)

    chroma = (lab[..., 1:] - 128.0) / (2 * CHROMA) + 0.5
    parts = [
        histogram(place, COLOURS) for place in (lab[..., 0] / 255, chroma[..., 0], chroma[..., 1])
    ]
    parts.append(
        np.hstack(
            [histogram(turn % 1, ORIENTATIONS, np.hypot(across, down).ravel()), FLAT * pixels]
        )
    )
    description = np.hstack(
        [part / np.maximum(part.sum(axis=1, keepdims=True), 1) for part in parts]
    )
    return np.sqrt(description.ravel() / (CELLS**2 * len(parts)))


def _number(pts: Int64[np.ndarray, " N"], wanted: int | None) -> int:
    """The place of a frame's time in the index, or -1 for a frame that is not in it."""
    if wanted is None:
        return -1
    place = int(np.searchsorted(pts, wanted))
    return place if place < len(pts) and pts[place] == wanted else -1
