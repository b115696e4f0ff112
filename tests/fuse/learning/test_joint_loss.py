"""The loss of another dataset compares its videos among themselves, and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.learning.joint_loss import weight_of_other, within
from vqa_twostage.fuse.learning.loss_spec import available_losses, parse_loss

EACH_LOSS = pytest.mark.parametrize("name", available_losses())


def drawn(seed: int, videos: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores, mos = torch.randn(2, videos, generator=generator)
    return scores, mos, torch.arange(videos) // 2


@EACH_LOSS
@settings(deadline=None)
@given(
    st.integers(0, 99), st.integers(3, 40), st.floats(-5, 5), st.floats(0.1, 5), st.floats(-5, 5)
)
def test_level_and_spread_of_the_scores_and_of_the_labels_do_not_matter(
    name: str, seed: int, videos: int, level: float, spread: float, other_level: float
) -> None:
    scores, mos, group = drawn(seed, videos)
    loss = within(parse_loss(name))
    expected = loss(scores, mos, group)
    torch.testing.assert_close(
        loss(level + spread * scores, mos, group), expected, rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        loss(scores, other_level + spread * mos, group), expected, rtol=1e-3, atol=1e-4
    )


@EACH_LOSS
def test_scores_in_the_order_of_the_labels_cost_less_than_in_the_opposite_one(name: str) -> None:
    _, mos, _ = drawn(0, 12)
    group, loss = torch.arange(12), within(parse_loss(name))
    assert loss(3 * mos + 1, mos, group) < 1e-5 < loss(-mos, mos, group)


@EACH_LOSS
@pytest.mark.parametrize("videos", [1, 2, 5])
def test_constant_scores_have_a_finite_gradient(name: str, videos: int) -> None:
    scores = torch.full((videos,), 0.3, requires_grad=True)
    _, mos, group = drawn(1, videos)
    within(parse_loss(name))(scores, mos, group).backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_larger_dataset_counts_more_and_less_than_its_number_of_videos(
    own: int, other: int
) -> None:
    weight = weight_of_other(own, other)
    assert weight * weight_of_other(other, own) == pytest.approx(1)
    assert min(1, other / own) <= weight <= max(1, other / own)
