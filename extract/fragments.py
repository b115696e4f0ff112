"""Fragments: patches of a frame at its native size, stitched to the square input of a network,
which then sees the detail that resizing removes (Wu et al., FAST-VQA, ECCV 2022).

A frame is divided into n x n equal cells, and each gives one patch. Patches keep the order of their
cells, so the stitched square still shows the scene, with gaps.

Dimensions: H and W of a frame, S side of the network's input, all in pixels; T frames, n patches to
a side. A place is the top and the left pixel of a patch in its frame.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

PATCH = 32  # pixels to a side, as in the paper: 7 x 7 of them make 224


def patches_to_a_side(side: int) -> int:
    """n for an input of ``side`` pixels: the number that brings patches closest to `PATCH` pixels,
    at least 1; halves are rounded up.
    """
    return max(1, (side + PATCH // 2) // PATCH)


def patch_edges(side: int) -> Int64[np.ndarray, " edges"]:
    """Where in the stitched square each patch begins, and the last ends: n + 1 numbers from 0 to
    ``side``.

    Patches have `PATCH` pixels where ``side`` is a multiple of it, else sizes that differ by one.
    """
    return _equal_parts(side, patches_to_a_side(side))


def _equal_parts(pixels: int, count: int) -> Int64[np.ndarray, " edges"]:
    return np.arange(count + 1) * pixels // count


def grid_pitch(side: int) -> int:
    """Pixels to a side of the largest patch, which every cell must hold."""
    return -(-side // patches_to_a_side(side))


def least_frame(side: int) -> int:
    """The shortest side of a frame whose every cell holds a patch."""
    return patches_to_a_side(side) * grid_pitch(side)


def drawn_places(
    digest: str, seed: int, draw: int, side: int, size: tuple[int, int]
) -> Int64[np.ndarray, "n n 2"]:
    """A place in each cell of a frame, drawn evenly from all that the cell has.

    Drawn from SHAKE-256 of the arguments and not by a generator of a library, whose numbers may
    change with a release: the places are the same on every machine, in every year.

    Args:
        digest: SHA-256 of the video's file, in hexadecimal digits.
        seed: Another seed gives other places in every video.
        draw: The number of the draw, from 0, where a video has several.
        side: S.
        size: H and W, both at least `least_frame`.
    """
    count, text = patches_to_a_side(side), f"fragments {digest} {seed} {draw} {side}"
    stream = hashlib.shake_256(text.encode()).digest(8 * count**2)
    # integers below 2^32, which are scaled to the number of places in each cell
    numbers = np.frombuffer(stream, "<u4").astype(np.int64).reshape(2, count, count)
    rows, columns = (_equal_parts(pixels, count) for pixels in size)
    patches = np.diff(patch_edges(side))
    down, across = (np.diff(cells) - patches + 1 for cells in (rows, columns))
    top = rows[:-1, None] + (numbers[0] * down[:, None] >> 32)
    left = columns[:-1] + (numbers[1] * across >> 32)
    return np.stack([top, left], axis=-1)


def busiest_places(frame: UInt8[Tensor, "3 H W"], side: int) -> Int64[np.ndarray, "n n 2"]:
    """The n x n cells of a regular grid whose pixels have the largest sums, in their raster order;
    of cells with equal sums the earlier ones.

    Of differences between frames, these are the cells that change most (as in ReLaX-VQA, Wang et
    al. 2024). The grid has `grid_pitch` and lies in the middle of the frame, whose sides are at
    least `least_frame`.
    """
    count, pitch = patches_to_a_side(side), grid_pitch(side)
    rows, columns = (pixels // pitch for pixels in frame.shape[1:])
    top, left = (pixels % pitch // 2 for pixels in frame.shape[1:])
    grid = frame[:, top : top + rows * pitch, left : left + columns * pitch]
    # integers: sums that are equal are so on every machine
    sums = grid.sum(dim=0, dtype=torch.int32).reshape(rows, pitch, columns, pitch).sum(dim=(1, 3))
    order = np.argsort(-sums.flatten().numpy(), kind="stable")
    row, column = np.divmod(np.sort(order[: count**2]), columns)
    return np.stack([top + row * pitch, left + column * pitch], axis=-1).reshape(count, count, 2)


def stitched(
    frames: UInt8[Tensor, "T 3 H W"], places: Int64[np.ndarray, "n n 2"], side: int
) -> UInt8[Tensor, "T 3 S S"]:
    """The patches at the same ``places`` of all frames, side by side; channels last in memory, as
    frames are.
    """
    square = frames.new_empty(len(frames), side, side, 3).permute(0, 3, 1, 2)
    parts = list(pairwise(patch_edges(side).tolist()))
    for (top, bottom), row in zip(parts, places.tolist(), strict=True):
        for (left, right), (y, x) in zip(parts, row, strict=True):
            square[..., top:bottom, left:right] = frames[
                ..., y : y + bottom - top, x : x + right - left
            ]
    return square
