"""Fragments are patches of the frame to the bit, at places that the video's file and a seed say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqa_twostage.extract.fragments import (
    busiest_places,
    drawn_places,
    grid_pitch,
    least_frame,
    patch_edges,
    patches_to_a_side,
    stitched,
)

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SIDES = st.integers(32, 200)
DIGEST = "0" * 64


@st.composite
def sides_and_sizes(draw: st.DrawFn) -> tuple[int, tuple[int, int]]:
    """The side of an input, and height and width of a frame whose cells hold its patches."""
    side = draw(SIDES)
    least = least_frame(side)
    return side, (draw(st.integers(least, least + 150)), draw(st.integers(least, least + 150)))


def noise(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (frames, 3, height, width)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def test_224_pixels_are_7_by_7_patches_of_32() -> None:
    assert patches_to_a_side(224) == 7
    assert patch_edges(224).tolist() == list(range(0, 225, 32))
    assert least_frame(224) == 224


@settings(deadline=None)
@given(st.integers(32, 4096))
def test_patches_fill_an_input_of_any_side_and_have_almost_one_size(side: int) -> None:
    patches = np.diff(patch_edges(side))
    assert patches.sum() == side and set(patches) <= {grid_pitch(side) - 1, grid_pitch(side)}
    assert 22 <= patches.min() <= patches.max() <= 47
    if side % 32 == 0:
        assert set(patches) == {32}
    assert side <= least_frame(side) < side + len(patches)


@settings(deadline=None)
@given(sides_and_sizes(), DIGESTS, st.integers(0, 9))
def test_each_patch_lies_inside_of_its_own_cell(
    side_and_size: tuple[int, tuple[int, int]], digest: str, seed: int
) -> None:
    side, size = side_and_size
    places, count = drawn_places(digest, seed, 0, side, size), patches_to_a_side(side)
    patches = np.diff(patch_edges(side))
    for axis, pixels in enumerate(size):
        cells = np.arange(count + 1) * pixels // count
        first = np.moveaxis(places[..., axis], axis, 0)
        assert (first >= cells[:-1, None]).all()
        assert (first + patches[:, None] <= cells[1:, None]).all()


def test_places_are_drawn_evenly_from_all_that_a_cell_has() -> None:
    """Of 64 x 64 pixels a patch of 32 has 33 places in each direction."""
    found = [drawn_places(f"{video:064x}", 0, 0, 32, (64, 64))[0, 0] for video in range(3300)]
    for counts in (np.bincount(places, minlength=33) for places in np.transpose(found)):
        assert len(counts) == 33 and counts.min() > 50 and counts.max() < 160


def test_places_are_the_same_on_every_machine_and_in_every_release() -> None:
    """Written down when the rule was made: caches and models rely on these numbers."""
    then = [[[125, 226], [137, 571]], [[320, 140], [319, 321]]]
    assert drawn_places(DIGEST, 0, 0, 64, (480, 640)).tolist() == then


def test_places_differ_between_videos_seeds_draws_and_sides() -> None:
    size = (480, 640)
    first = drawn_places(DIGEST, 0, 0, 96, size)
    assert (drawn_places(DIGEST, 0, 0, 96, size) == first).all()
    others = [
        drawn_places("1" + DIGEST[1:], 0, 0, 96, size),
        drawn_places(DIGEST, 1, 0, 96, size),
        drawn_places(DIGEST, 0, 1, 96, size),
    ]
    for other in others:
        assert (other != first).any(axis=-1).mean() > 0.8


@settings(deadline=None)
@given(sides_and_sizes(), st.integers(0, 9))
def test_stitched_patches_are_the_pixels_of_all_frames_at_the_same_places(
    side_and_size: tuple[int, tuple[int, int]], seed: int
) -> None:
    side, (height, width) = side_and_size
    frames = noise(2, height, width, seed)
    places, edges = drawn_places(DIGEST, seed, 0, side, (height, width)), patch_edges(side)
    square = stitched(frames, places, side)
    assert square.shape == (2, 3, side, side) and square.is_contiguous(
        memory_format=torch.channels_last
    )
    for row, column in np.ndindex(places.shape[:2]):
        (y, x), rows, columns = (
            places[row, column],
            edges[row : row + 2],
            edges[column : column + 2],
        )
        (tall, wide) = np.diff(rows)[0], np.diff(columns)[0]
        patch = square[..., rows[0] : rows[1], columns[0] : columns[1]]
        assert torch.equal(patch, frames[..., y : y + tall, x : x + wide])


@settings(deadline=None)
@given(sides_and_sizes(), st.data())
def test_busiest_places_are_the_cells_with_the_largest_sums_in_raster_order(
    side_and_size: tuple[int, tuple[int, int]], data: st.DataObject
) -> None:
    side, (height, width) = side_and_size
    count, pitch = patches_to_a_side(side), grid_pitch(side)
    rows, columns = height // pitch, width // pitch
    top, left = (height - rows * pitch) // 2, (width - columns * pitch) // 2
    levels = data.draw(
        st.lists(st.integers(0, 3), min_size=rows * columns, max_size=rows * columns)
    )
    frame = torch.zeros(3, height, width, dtype=torch.uint8)
    for cell, level in enumerate(levels):
        y, x = top + cell // columns * pitch, left + cell % columns * pitch
        frame[:, y : y + pitch, x : x + pitch] = level
    best = sorted(range(len(levels)), key=lambda cell: (-levels[cell], cell))[: count**2]
    wanted = [
        [top + cell // columns * pitch, left + cell % columns * pitch] for cell in sorted(best)
    ]
    assert busiest_places(frame, side).reshape(-1, 2).tolist() == wanted


@pytest.mark.parametrize("size", [(64, 64), (1000, 70)])
def test_frames_without_any_change_have_places_too(size: tuple[int, int]) -> None:
    places = busiest_places(torch.zeros(3, *size, dtype=torch.uint8), 64)
    assert places.shape == (2, 2, 2) and (places >= 0).all()
    assert (places + 32 <= np.array(size)).all()
