"""Dropout drops as often as it says, keeps the mean, and does nothing in evaluation."""

from __future__ import annotations

import pytest
import torch

from vqa_twostage.fuse.dropout import Dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.999])
@pytest.mark.parametrize("shape", [(1001,), (30, 7, 11), (1, 1)])
def test_dropped_values_are_as_many_as_the_probability_says(
    probability: float, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    dropout = Dropout(probability)
    found = torch.cat([dropout(torch.ones(shape)).flatten() for _ in range(200)])
    kept = found > 0
    spread = (probability * (1 - probability) / len(found)) ** 0.5
    assert abs(kept.float().mean() - (1 - probability)) < 5 * spread + 2**-16
    torch.testing.assert_close(
        found[kept], torch.full_like(found[kept], 1 / (1 - probability)), rtol=2e-2, atol=0
    )


def test_neighbours_are_dropped_independently() -> None:
    """Four values share what is drawn at a time."""
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(100_000, 8)) > 0).float()
    assert (torch.corrcoef(kept.T) - torch.eye(8)).abs().max() < 0.02


@pytest.mark.parametrize("dropout", [Dropout(0.5).eval(), Dropout(0.0)])
def test_nothing_is_dropped_in_evaluation_or_at_probability_0(dropout: Dropout) -> None:
    values = torch.randn(5, 3)
    assert torch.equal(dropout(values), values)


def test_a_gradient_passes_only_through_what_is_kept() -> None:
    values = torch.randn(50, 3, requires_grad=True)
    found = Dropout(0.4)(values)
    found.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad == 0, found == 0)


def test_members_of_an_ensemble_drop_different_values() -> None:
    values = torch.ones(3, 40, 5)
    found = torch.func.vmap(Dropout(0.5), randomness="different")(values)
    assert not torch.equal(found[0], found[1])
    shared = torch.func.vmap(lambda _, ones: Dropout(0.5)(ones), (0, None), randomness="different")
    found = shared(values, values[0])
    assert not torch.equal(found[0], found[1])
