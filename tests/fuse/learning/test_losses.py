"""Losses equal values computed by hand and by formula, and their gradients are correct."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vqa_twostage.fuse.learning import losses
from vqa_twostage.fuse.learning.loss_spec import available_losses, parse_loss
from vqa_twostage.pipeline.errors import UsageError

LOSSES = {name: getattr(losses, name) for name in available_losses()}


def scores(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def groups(*values: int) -> Tensor:
    return torch.tensor(values)


def value(name: str, predicted: Tensor, mos: Tensor, group: Tensor | None = None) -> float:
    group = torch.arange(len(mos)) if group is None else group
    return float(parse_loss(name)(predicted, mos, group))


# --- by hand ---


def test_l1_is_the_mean_distance() -> None:
    assert value("l1", scores(0, 0, 0), scores(0.5, 1, -3)) == pytest.approx(1.5)


def test_smooth_l1_is_quadratic_for_small_errors_and_linear_for_large_ones() -> None:
    # errors of 0.5, 1 and 3: 0.5 * 0.5^2, then 1 - 0.5 and 3 - 0.5
    assert value("smooth_l1", scores(0, 0, 0), scores(0.5, 1, -3)) == pytest.approx(
        (0.125 + 0.5 + 2.5) / 3
    )


def test_plcc_loss_is_0_for_perfect_1_for_inverted_and_one_half_for_no_correlation() -> None:
    mos = scores(-1, 0, 2, 5)
    assert value("plcc", 3 * mos - 4, mos) == pytest.approx(0, abs=1e-6)
    assert value("plcc", 4 - 3 * mos, mos) == pytest.approx(1, abs=1e-6)
    assert value("plcc", scores(1, -1, -1, 1), scores(1, 1, -1, -1)) == pytest.approx(0.5, abs=1e-6)


def test_plcc_loss_equals_a_value_computed_by_hand() -> None:
    # deviations (-1.5, -.5, .5, 1.5) and (-1.5, .5, -.5, 1.5): r = 4 / 5
    assert value("plcc", scores(1, 2, 3, 4), scores(1, 3, 2, 4)) == pytest.approx(
        (1 - 0.8) / 2, abs=1e-6
    )


def test_group_loss_equals_values_computed_by_hand() -> None:
    # errors 1 and -1 in the first content cancel, those of the second average to 2; contents of any
    # size count alike
    assert value("group", scores(1, -1, 2), scores(0, 0, 0), groups(0, 0, 1)) == pytest.approx(
        (0 + 4) / 2
    )
    assert value(
        "group", scores(1, 2, 6, 2), scores(0, 0, 0, 3), groups(0, 0, 0, 1)
    ) == pytest.approx((9 + 1) / 2)


def test_group_loss_does_not_depend_on_the_numbering_of_the_contents() -> None:
    predicted, mos = scores(1, 2, 3, 4, 5), scores(2, 2, 1, 0, 7)
    first = value("group", predicted, mos, groups(0, 1, 0, 2, 1))
    assert value("group", predicted, mos, groups(2, 0, 2, 1, 0)) == pytest.approx(first)


def test_group_loss_measures_the_mean_error_of_a_content_and_not_errors_within_it() -> None:
    mos, content = scores(1, 2, 3, 4), groups(0, 0, 1, 1)
    within = scores(2, 1, 4, 3)
    assert value("group", within, mos, content) == pytest.approx(0)
    assert value("group", mos + scores(1, 1, 0, 0), mos, content) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(-80, 80), st.integers(-80, 80)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=100)
def test_group_loss_is_the_mean_squared_error_when_every_video_is_its_own_content(
    rows: list[tuple[int, int]],
) -> None:
    predicted, mos = (scores(*column) / 8 for column in zip(*rows, strict=True))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(len(rows)))
    assert value("group", predicted, mos, order) == pytest.approx(
        float(((predicted - mos) ** 2).mean()), rel=1e-5
    )


def test_rank_loss_equals_values_computed_by_hand() -> None:
    # the labels require margins of 1, 3 and 2; the predictions have 2 (enough), 1 (2 short) and
    # -1 (3 short)
    assert value("rank", scores(0, 2, 1), scores(0, 1, 3)) == pytest.approx((0 + 2 + 3) / 3)
    # pairs with equal labels do not count
    assert value("rank", scores(5, -5, 0), scores(1, 1, 2)) == pytest.approx((6 + 0) / 2)
    assert value("rank", scores(4), scores(1)) == 0


def test_rank_loss_depends_on_order_and_margins_and_not_on_an_offset() -> None:
    mos = scores(3, 1, 2, 5, 4)
    assert value("rank", mos + 7, mos) == pytest.approx(0, abs=1e-6)
    assert value("rank", 3 * mos, mos) == pytest.approx(0, abs=1e-6)
    assert value("rank", mos / 2, mos) > 0
    assert (
        value("rank", -mos, mos)
        > value("rank", scores(0, 0, 0, 0, 0), mos)
        > value("rank", mos / 2, mos)
    )


# --- against their formulas ---


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def correlation(x: list[float], y: list[float]) -> float:
    a, b = [value - mean(x) for value in x], [value - mean(y) for value in y]
    lengths = math.sqrt(sum(value * value for value in a) * sum(value * value for value in b))
    return sum(one * other for one, other in zip(a, b, strict=True)) / lengths


def ranking(x: list[float], y: list[float]) -> float:
    hinges = [
        max(0.0, abs(y[i] - y[j]) - math.copysign(1, y[i] - y[j]) * (x[i] - x[j]))
        for i, j in combinations(range(len(x)), 2)
        if y[i] != y[j]
    ]
    return mean(hinges) if hinges else 0.0


def group_loss(x: list[float], y: list[float], content: list[int]) -> float:
    errors = [
        mean([one - other for one, other, its in zip(x, y, content, strict=True) if its == group])
        for group in sorted(set(content))
    ]
    return mean([error * error for error in errors])


FORMULAS: dict[str, Callable[[list[float], list[float], list[int]], float]] = {
    "l1": lambda x, y, content: mean([abs(one - other) for one, other in zip(x, y, strict=True)]),
    "smooth_l1": lambda x, y, content: mean(
        [
            error * error / 2 if error < 1 else error - 0.5
            for error in (abs(a - b) for a, b in zip(x, y, strict=True))
        ]
    ),
    "plcc": lambda x, y, content: (1 - correlation(x, y)) / 2,
    "rank": lambda x, y, content: ranking(x, y),
    "group": group_loss,
}


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[float], list[float], list[int]]:
    """Predictions, labels and contents: of few values, so with many ties, or of many."""
    n = draw(st.integers(2, 40))
    numbers = draw(st.sampled_from([st.integers(-2, 2), st.integers(-(2**12), 2**12)]))
    x, y = (
        [number / 8 for number in draw(st.lists(numbers, min_size=n, max_size=n))] for _ in range(2)
    )
    if len(set(x)) < 2 or len(set(y)) < 2:
        x[0], y[0] = 1000.0, 1000.0
    content = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    return x, y, [sorted(set(content)).index(group) for group in content]


@pytest.mark.parametrize("name", LOSSES)
@given(batches())
@settings(deadline=None, max_examples=30)
def test_loss_equals_its_formula(
    name: str, batch: tuple[list[float], list[float], list[int]]
) -> None:
    x, y, content = batch
    tensors = (torch.tensor(column, dtype=torch.float64) for column in (x, y))
    loss = float(LOSSES[name](*tensors, torch.tensor(content)))
    assert loss == pytest.approx(FORMULAS[name](x, y, content), rel=1e-9, abs=1e-9)


# --- gradients ---


@pytest.mark.parametrize("name", [*LOSSES, "smooth_l1+plcc", "l1+rank", "+".join(LOSSES)])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_equal_finite_differences(name: str, seed: int) -> None:
    # continuous scores: none of the kinks of l1 and rank is within reach of the differences
    predicted, mos = torch.randn(
        2, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    predicted.requires_grad_()
    loss = parse_loss(name)
    assert torch.autograd.gradcheck(lambda x: loss(x, mos, torch.arange(20) // 3), predicted)


@pytest.mark.parametrize("seed", range(5))
def test_rank_loss_gradient_separates_videos_in_the_wrong_order(seed: int) -> None:
    predicted, mos = torch.randn(
        2, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    best, worst = int(mos.argmax()), int(mos.argmin())
    predicted[best], predicted[worst] = -9, 9
    predicted.requires_grad_()
    before = LOSSES["rank"](predicted, mos, torch.arange(30))
    (gradient,) = torch.autograd.grad(before, predicted)
    # the best video has the lowest prediction and the worst the highest: all 29 pairs of each
    # contribute to its gradient
    pairs = 30 * 29 / 2
    assert float(gradient[best]) == pytest.approx(-29 / pairs)
    assert float(gradient[worst]) == pytest.approx(29 / pairs)
    assert float(gradient.sum()) == pytest.approx(0, abs=1e-12)
    # the loss falls by as much as the gradient predicts
    step = 1e-6
    after = LOSSES["rank"]((predicted - step * gradient).detach(), mos, torch.arange(30))
    assert float(before.detach() - after) == pytest.approx(
        step * float(gradient @ gradient), rel=1e-4
    )


def test_gradient_descent_on_the_rank_loss_alone_recovers_the_order() -> None:
    predicted, mos = torch.randn(2, 40, generator=torch.Generator().manual_seed(1))
    predicted.requires_grad_()
    optimizer = torch.optim.Adam([predicted], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        LOSSES["rank"](predicted, mos, torch.arange(40)).backward()
        optimizer.step()
    assert float(torch.corrcoef(torch.stack([predicted.detach(), mos]))[0, 1]) > 0.97


def test_rank_loss_of_thirty_thousand_videos_counts_every_pair() -> None:
    n = 30_000
    mos = torch.arange(n, dtype=torch.float64)[
        torch.randperm(n, generator=torch.Generator().manual_seed(0))
    ]
    predicted = (-mos).requires_grad_()
    loss = LOSSES["rank"](predicted, mos, torch.arange(n))
    (gradient,) = torch.autograd.grad(loss, predicted)
    # every pair is inverted and misses its margin by twice the margin, whose mean is (n + 1) / 3
    assert float(loss.detach()) == pytest.approx(2 * (n + 1) / 3, rel=1e-9)
    assert torch.allclose(gradient * (n * (n - 1) / 2), n - 1 - 2 * mos, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_finite_and_rarely_zero(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randn(24, generator=generator, requires_grad=True)
    mos = torch.randn(24, generator=generator)
    LOSSES[name](predicted, mos, torch.arange(24) // 3).backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    # the rank loss has gradient zero where a video is too high as often as it is too low
    assert (predicted.grad != 0).sum() >= (24 if name != "rank" else 18)


@pytest.mark.parametrize("name", LOSSES)
def test_step_against_the_gradient_lowers_the_loss(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    predicted, mos = (
        torch.randn(24, generator=generator, requires_grad=True),
        torch.randn(24, generator=generator),
    )
    content = torch.arange(24) // 3
    before = LOSSES[name](predicted, mos, content)
    before.backward()
    assert predicted.grad is not None
    after = LOSSES[name]((predicted - 0.1 * predicted.grad).detach(), mos, content)
    assert float(after) < float(before.detach())


@pytest.mark.parametrize("name", LOSSES)
def test_constant_predictions_and_constant_labels_have_finite_losses_and_gradients(
    name: str,
) -> None:
    varied, constant = torch.linspace(-1, 1, 8), torch.zeros(8)
    for start, mos in ((constant, varied), (varied, constant), (constant, constant)):
        predicted = start.clone().requires_grad_()
        loss = LOSSES[name](predicted, mos, torch.arange(8) // 2)
        loss.backward()
        assert torch.isfinite(loss)
        assert predicted.grad is not None and torch.isfinite(predicted.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_perfect_predictions_is_zero(name: str) -> None:
    mos = torch.linspace(-2, 2, 12)
    assert value(name, mos.clone(), mos, torch.arange(12) // 4) == pytest.approx(0, abs=1e-6)


def test_sum_of_losses_is_the_sum_of_their_values() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, mos = torch.randn(15, generator=generator), torch.randn(15, generator=generator)
    content = torch.arange(15) // 5
    parts = {name: value(name, predicted, mos, content) for name in LOSSES}
    assert value("+".join(LOSSES), predicted, mos, content) == pytest.approx(sum(parts.values()))
    assert value("smooth_l1+plcc", predicted, mos, content) == pytest.approx(
        parts["smooth_l1"] + parts["plcc"]
    )
    assert len(set(parts.values())) == len(LOSSES)


@pytest.mark.parametrize(
    ("text", "named"),
    [("huber", "huber"), ("plcc+huber", "huber"), ("", ""), ("plcc+", ""), ("PLCC", "PLCC")],
)
def test_unknown_loss_is_refused_with_the_valid_choices(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=f"unknown loss '{named}'") as error:
        parse_loss(text)
    assert all(name in str(error.value) for name in LOSSES)


def test_available_losses_are_listed_with_the_first_line_of_their_docstrings() -> None:
    assert list(available_losses()) == ["l1", "smooth_l1", "plcc", "rank", "group"]
    assert available_losses()["l1"] == "Mean absolute error."
    assert all(len(line) > 10 for line in available_losses().values())
