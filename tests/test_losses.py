"""Losses by hand, their gradients, and sums of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuse.losses import LOSSES, parse_loss
from pipeline.errors import UsageError


def scores(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def groups(*values: int) -> Tensor:
    return torch.tensor(values)


def value(name: str, predicted: Tensor, mos: Tensor, group: Tensor | None = None) -> float:
    group = torch.arange(len(mos)) if group is None else group
    return float(parse_loss(name)(predicted, mos, group))


def test_smooth_l1_is_half_the_square_near_and_the_distance_far() -> None:
    # errors of 0.5, 1 and 3: 0.5 * 0.5^2, then 1 - 0.5 and 3 - 0.5
    assert value("smooth_l1", scores(0, 0, 0), scores(0.5, 1, -3)) == pytest.approx((0.125 + 0.5 + 2.5) / 3)


def test_plcc_is_nought_for_a_perfect_line_one_for_an_inverted_and_a_half_for_none() -> None:
    mos = scores(-1, 0, 2, 5)
    assert value("plcc", 3 * mos - 4, mos) == pytest.approx(0, abs=1e-6)
    assert value("plcc", 4 - 3 * mos, mos) == pytest.approx(1, abs=1e-6)
    assert value("plcc", scores(1, -1, -1, 1), scores(1, 1, -1, -1)) == pytest.approx(0.5, abs=1e-6)


def test_plcc_by_hand() -> None:
    # deviations (-1.5, -.5, .5, 1.5) and (-1.5, .5, -.5, 1.5): r = 4 / 5
    assert value("plcc", scores(1, 2, 3, 4), scores(1, 3, 2, 4)) == pytest.approx((1 - 0.8) / 2, abs=1e-6)


def test_the_group_loss_by_hand() -> None:
    # errors 1 and -1 in the first content cancel, those of the second average to 2; contents of any size count alike
    assert value("group", scores(1, -1, 2), scores(0, 0, 0), groups(0, 0, 1)) == pytest.approx((0 + 4) / 2)
    assert value("group", scores(1, 2, 6, 2), scores(0, 0, 0, 3), groups(0, 0, 0, 1)) == pytest.approx((9 + 1) / 2)


def test_the_group_loss_does_not_care_in_which_order_contents_are_numbered() -> None:
    predicted, mos = scores(1, 2, 3, 4, 5), scores(2, 2, 1, 0, 7)
    first = value("group", predicted, mos, groups(0, 1, 0, 2, 1))
    assert value("group", predicted, mos, groups(2, 0, 2, 1, 0)) == pytest.approx(first)


def test_the_group_loss_sees_what_a_content_is_owed_and_not_what_differs_within_it() -> None:
    mos, content = scores(1, 2, 3, 4), groups(0, 0, 1, 1)
    within = scores(2, 1, 4, 3)
    assert value("group", within, mos, content) == pytest.approx(0)
    assert value("group", mos + scores(1, 1, 0, 0), mos, content) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(-80, 80), st.integers(-80, 80)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=100)
def test_the_group_loss_is_the_mean_squared_error_where_every_video_stands_alone(
    rows: list[tuple[int, int]],
) -> None:
    predicted, mos = (scores(*column) / 8 for column in zip(*rows, strict=True))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(len(rows)))
    assert value("group", predicted, mos, order) == pytest.approx(float(((predicted - mos) ** 2).mean()), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_finite_and_say_something(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randn(24, generator=generator, requires_grad=True)
    mos = torch.randn(24, generator=generator)
    LOSSES[name](predicted, mos, torch.arange(24) // 3).backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad != 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_against_the_gradient_lowers_the_loss(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    predicted, mos = torch.randn(24, generator=generator, requires_grad=True), torch.randn(24, generator=generator)
    content = torch.arange(24) // 3
    before = LOSSES[name](predicted, mos, content)
    before.backward()
    assert predicted.grad is not None
    after = LOSSES[name]((predicted - 0.1 * predicted.grad).detach(), mos, content)
    assert float(after) < float(before.detach())


@pytest.mark.parametrize("name", LOSSES)
def test_constant_predictions_and_constant_labels_have_finite_losses_and_gradients(name: str) -> None:
    varied, constant = torch.linspace(-1, 1, 8), torch.zeros(8)
    for start, mos in ((constant, varied), (varied, constant), (constant, constant)):
        predicted = start.clone().requires_grad_()
        loss = LOSSES[name](predicted, mos, torch.arange(8) // 2)
        loss.backward()
        assert torch.isfinite(loss)
        assert predicted.grad is not None and torch.isfinite(predicted.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_predictions_cost_nothing(name: str) -> None:
    mos = torch.linspace(-2, 2, 12)
    assert value(name, mos.clone(), mos, torch.arange(12) // 4) == pytest.approx(0, abs=1e-6)


def test_a_sum_is_the_sum_of_its_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, mos = torch.randn(15, generator=generator), torch.randn(15, generator=generator)
    content = torch.arange(15) // 5
    parts = {name: value(name, predicted, mos, content) for name in LOSSES}
    assert value("+".join(LOSSES), predicted, mos, content) == pytest.approx(sum(parts.values()))
    assert value("smooth_l1+plcc", predicted, mos, content) == pytest.approx(parts["smooth_l1"] + parts["plcc"])
    assert len(set(parts.values())) == len(LOSSES)


@pytest.mark.parametrize(
    ("text", "named"), [("huber", "huber"), ("plcc+huber", "huber"), ("", ""), ("plcc+", ""), ("PLCC", "PLCC")]
)
def test_an_unknown_loss_is_named_and_the_choices_listed(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=f"unknown loss '{named}'") as caught:
        parse_loss(text)
    assert all(name in str(caught.value) for name in LOSSES)
