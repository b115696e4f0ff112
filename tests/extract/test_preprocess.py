"""What networks see of a frame at its native size, for videos of every size. Resizing is tested in
test_run.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqa_twostage.extract.fragments import drawn_places, patch_edges
from vqa_twostage.extract.options import FITS, SHOWN
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError

MEAN, STD = (0.5, 0.4, 0.2), (0.25, 0.25, 0.25)
BORDER = (128, 102, 51)  # the mean in 8 bits
DIGEST = "ab" * 32


def preprocessing(fit: str, size: int = 64, **changes: object) -> Preprocessing:
    return Preprocessing(size, "bilinear", MEAN, STD, fit, **changes)  # type: ignore[arg-type]


def noise(height: int, width: int, frames: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    shape = (frames, height, width, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@settings(deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from(SHOWN))
def test_native_is_the_centre_to_the_bit_and_the_mean_around_a_smaller_frame(
    height: int, width: int, of: str
) -> None:
    pixels = noise(height, width)
    square = preprocessing("native", of=of).resize(pixels).permute(0, 2, 3, 1)
    tall, wide = min(height, 64), min(width, 64)
    y, x = (height - tall) // 2, (width - wide) // 2
    top, left = (64 - tall) // 2, (64 - wide) // 2
    centre = pixels[:, y : y + tall, x : x + wide]
    assert torch.equal(square[:, top : top + tall, left : left + wide], centre)
    around = torch.ones(64, 64, dtype=torch.bool)
    around[top : top + tall, left : left + wide] = False
    border = BORDER if of == "frames" else (0, 0, 0)  # of residuals 0 is no difference
    assert (square[:, around] == torch.tensor(border, dtype=torch.uint8)).all()


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([32, 50, 64, 97]),
    st.sampled_from(SHOWN),
)
def test_fragments_of_a_video_of_any_size_fill_the_input(
    height: int, width: int, size: int, of: str
) -> None:
    pixels = torch.full((2, height, width, 3), 77, dtype=torch.uint8)
    square = preprocessing("fragments", size, of=of).resize(pixels, DIGEST)
    assert square.shape == (2, 3, size, size) and (square == 77).all()


def test_fragments_of_a_frame_are_its_own_pixels_wherever_it_is_large_enough() -> None:
    pixels = noise(480, 360)
    square = preprocessing("fragments", seed=3).resize(pixels, DIGEST)
    places, edges = drawn_places(DIGEST, 3, 0, 64, (480, 360)), patch_edges(64)
    for row, column in np.ndindex(2, 2):
        (y, x), top, left = places[row, column], edges[row], edges[column]
        patch = square[..., top : top + 32, left : left + 32].permute(0, 2, 3, 1)
        assert torch.equal(patch, pixels[:, y : y + 32, x : x + 32])


def test_fragments_of_a_smaller_frame_are_of_the_frame_resized_to_hold_them() -> None:
    """40 x 20 pixels become 128 x 64, which has one place for each patch across, and 33 down."""
    pixels = noise(40, 20)
    large = torch.nn.functional.interpolate(
        pixels.permute(0, 3, 1, 2), [128, 64], mode="bilinear", antialias=True
    )
    square = preprocessing("fragments").resize(pixels, DIGEST)
    places = drawn_places(DIGEST, 0, 0, 64, (128, 64))
    assert places[..., 1].tolist() == [[0, 32], [0, 32]]
    y = int(places[1, 0, 0])
    assert torch.equal(square[..., 32:, :32], large[..., y : y + 32, :32])


def test_fragments_of_residuals_are_the_patches_that_change_most_in_each_frame() -> None:
    pixels = torch.zeros(2, 96, 160, 3, dtype=torch.uint8)
    cells = [(0, 1), (0, 4), (1, 2), (2, 0)]  # of 3 x 5
    for value, (row, column) in enumerate(cells, start=1):
        pixels[0, row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = 10 * value
        pixels[1, row * 32, column * 32] = 255
    square = preprocessing("fragments", of="residual").resize(pixels)
    patches = square[0, 0].reshape(2, 32, 2, 32).permute(0, 2, 1, 3).flatten(0, 1)
    assert [patch.unique().tolist() for patch in patches] == [[10], [20], [30], [40]]
    assert square[1].sum() == 4 * 3 * 255


def test_fragments_depend_on_the_video_and_the_seed() -> None:
    pixels = noise(480, 640)
    first, again, video, seed, draw = (
        preprocessing("fragments", seed=seed, draw=draw).resize(pixels, digest)
        for digest, seed, draw in [
            (DIGEST, 0, 0),
            (DIGEST, 0, 0),
            ("cd" * 32, 0, 0),
            (DIGEST, 1, 0),
            (DIGEST, 0, 1),
        ]
    )
    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in (video, seed, draw))
    with pytest.raises(AssertionError, match="the patches of all videos"):
        preprocessing("fragments").resize(pixels)


def test_whatever_changes_the_pixels_is_told_by_the_text_or_the_geometry() -> None:
    views = [preprocessing(fit, of=of) for fit in FITS for of in SHOWN]
    assert len({str(view) for view in views}) == len({view.geometry for view in views}) == 10
    # places are chosen by options, which the spec holds
    seeds = [preprocessing("fragments", seed=seed, draw=draw) for seed in (0, 1) for draw in (0, 1)]
    assert len({view.geometry for view in seeds}) == 4


@pytest.mark.parametrize(
    ("fit", "of", "text"),
    [
        ("crop", "frames", "crop to 64, bilinear antialiased 8 bit, mean 0.5,0.4,0.2, std "),
        ("native", "frames", "native centre of 64, mean 0.5,0.4,0.2, std "),
        (
            "fragments",
            "frames",
            "2x2 native fragments to 64, if small bilinear antialiased 8 bit, mean ",
        ),
        ("native", "residual", "residual, native centre of 64, mean "),
    ],
)
def test_text_of_a_preprocessing_is_as_in_identities(fit: str, of: str, text: str) -> None:
    assert str(preprocessing(fit, of=of)).startswith(text)


def test_what_is_no_view_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown fit 'whole'; choose from crop, .*, fragments"):
        preprocessing("whole")
    with pytest.raises(UsageError, match="unknown of 'flow'; choose from frames, residual"):
        preprocessing("crop", of="flow")
