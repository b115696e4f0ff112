"""Large sets are trained for fewer epochs, since each of them has more steps."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.cli import command
from vqa_twostage.fuse.learning.recipe import RECIPE


@pytest.mark.parametrize(
    ("videos", "epochs"),
    [(1, 120), (1200, 120), (8192, 120), (8193, 96), (27_155, 35), (100_000, 12), (10**7, 12)],
)
def test_epochs_of_the_recipe(videos: int, epochs: int) -> None:
    assert RECIPE.epochs_for(videos) == epochs


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_videos_have_no_more_epochs(some: int, more: int) -> None:
    assert RECIPE.epochs_for(max(some, more)) <= RECIPE.epochs_for(min(some, more))


def test_help_names_the_default() -> None:
    text = " ".join(CliRunner().invoke(command, ["train", "--help"]).output.split())
    assert f"[default: {RECIPE.epochs}, fewer for more than {4 * RECIPE.batch} training" in text
    assert (
        RECIPE.epochs_for(4 * RECIPE.batch + 1)
        < RECIPE.epochs
        == RECIPE.epochs_for(4 * RECIPE.batch)
    )
