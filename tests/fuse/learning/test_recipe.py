"""Small sets are trained for more epochs, since each of them says less, and large ones for fewer,
since each of them has more steps."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.cli import command
from vqa_twostage.fuse.learning.recipe import RECIPE


@pytest.mark.parametrize(
    ("videos", "epochs"),
    [
        *((1, 120), (240, 120), (480, 60), (720, 40), (24_576, 40)),
        *((24_577, 37), (40_000, 24), (100_000, 12), (10**7, 12)),
    ],
)
def test_epochs_of_the_recipe(videos: int, epochs: int) -> None:
    assert RECIPE.epochs_for(videos) == epochs


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_videos_have_no_more_epochs(some: int, more: int) -> None:
    assert RECIPE.epochs_for(max(some, more)) <= RECIPE.epochs_for(min(some, more))


@settings(deadline=None)
@given(st.integers(RECIPE.full_rate_steps, 10**6))
def test_learning_rate_and_steps_have_one_product_however_many_steps(steps: int) -> None:
    least = RECIPE.full_rate_steps
    assert RECIPE.peak(steps) * steps == pytest.approx(RECIPE.peak(least) * least)
    assert RECIPE.peak(1) == RECIPE.peak(least) == RECIPE.learning_rate


def test_help_names_the_default() -> None:
    text = " ".join(CliRunner().invoke(command, ["train", "--help"]).output.split())
    small, usual, large = RECIPE.shown // RECIPE.most_epochs, RECIPE.shown // RECIPE.epochs, 24576
    assert (
        f"[default: {RECIPE.most_epochs} up to {small} training videos, {RECIPE.epochs} from "
        f"{usual} to {large}, fewer beyond]" in text
    )
    assert RECIPE.epochs_for(small) == RECIPE.most_epochs > RECIPE.epochs_for(small + 8)
    assert RECIPE.epochs_for(usual) == RECIPE.epochs == RECIPE.epochs_for(large)
    assert RECIPE.epochs_for(large + 1) < RECIPE.epochs
