"""A stream gives the same whether its levels are tensors or products that are not computed yet."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vqa_twostage.fuse.streams import Part, Product, Stream, joined, linear, value

VIDEOS = 3


def level(frames: int, product: bool, width: int) -> Part:
    inputs = torch.randn(VIDEOS, frames, 4)
    return Product(inputs, torch.randn(width, 4)) if product else inputs[..., :width]


def a_stream(frames: int, products: list[bool], encoded: bool) -> Stream:
    parts = [level(frames, product, 1 + number % 3) for number, product in enumerate(products)]
    mask = torch.arange(frames) < torch.tensor([frames, 1, max(1, frames - 1)])[:, None]
    weights = torch.where(mask, torch.rand(mask.shape) + 0.1, 0.0)
    tokens = torch.randn(VIDEOS, frames, 5) if encoded else None
    return Stream(parts, tokens, weights / weights.sum(dim=1, keepdim=True), mask)


@given(
    frames=st.integers(1, 4),
    products=st.lists(st.booleans(), min_size=1, max_size=4),
    encoded=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_a_linear_layer_of_parts_is_that_of_their_tensors(
    frames: int, products: list[bool], encoded: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    stream = a_stream(frames, products, encoded)
    for parts, tensor in (
        (stream.token_parts, stream.tokens),
        (stream.vector_parts, stream.vector),
        (stream.level_vector_parts, torch.cat(stream.level_vectors, dim=1)),
    ):
        layer = nn.Linear(tensor.shape[-1], 2)
        torch.testing.assert_close(linear(layer, parts), layer(tensor), rtol=1e-4, atol=1e-4)


@given(frames=st.integers(1, 4), products=st.lists(st.booleans(), min_size=1, max_size=4))
@settings(deadline=None)
def test_means_are_of_the_frames_by_their_weights(frames: int, products: list[bool]) -> None:
    stream = a_stream(frames, products, encoded=False)
    tokens = torch.cat([value(part) for part in stream.level_parts], dim=-1)
    expected = (tokens * stream.weights[..., None]).sum(dim=1)
    torch.testing.assert_close(stream.tokens, tokens)
    torch.testing.assert_close(stream.vector, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.cat(stream.level_vectors, dim=1), expected, rtol=1e-4, atol=1e-4
    )


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    picked=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    frames=st.sampled_from([None, 1, 3]),
)
@settings(deadline=None)
def test_neighbouring_columns_are_joined_without_a_copy_and_others_with_one(
    sizes: list[int], picked: list[int], frames: int | None
) -> None:
    whole = torch.randn(VIDEOS, *([] if frames is None else [frames]), sum(sizes))
    columns = whole.split(sizes, dim=-1)
    chosen = [columns[number % len(sizes)] for number in picked]
    found = joined(chosen)
    assert torch.equal(found, torch.cat(chosen, dim=-1))
    numbers = [number % len(sizes) for number in picked]
    neighbours = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    shared = found.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
    assert shared == neighbours


def test_columns_of_different_tensors_are_joined_with_a_copy() -> None:
    one, other = torch.randn(2, 6).split(3, dim=1)[0], torch.randn(2, 6).split(3, dim=1)[1]
    assert torch.equal(joined([one, other]), torch.cat([one, other], dim=1))
