"""The validation part decides whether a head is to learn from other datasets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from vqa_twostage.fuse.learning.joint_choice import error_of_difference, others_help


def noisy(seed: int, videos: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mos = generator.normal(size=videos)
    return mos + noise * generator.normal(size=videos), mos


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(20, 400))
def test_a_head_that_another_dataset_spoilt_is_not_kept(seed: int, videos: int) -> None:
    alone, mos = noisy(seed, videos, 0.3)
    assert not others_help(-alone, alone, mos)
    assert others_help(alone, -alone, mos)


@settings(deadline=None)
@given(st.integers(0, 99), st.integers(20, 400))
def test_equal_scores_are_kept(seed: int, videos: int) -> None:
    alone, mos = noisy(seed, videos, 1.0)
    assert others_help(2 * alone + 1, alone, mos)


@pytest.mark.parametrize(("videos", "kept"), [(20, True), (20_000, False)])
def test_many_videos_show_a_loss_that_few_do_not(videos: int, kept: bool) -> None:
    """A hundredth of the SRCC: within a standard error of few videos, and far beyond of many."""
    losses = []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        mos = generator.normal(size=videos)
        alone = mos + 0.6 * generator.normal(size=videos)
        joint = alone + 0.2 * generator.normal(size=videos)
        losses.append(others_help(joint, alone, mos))
    assert (np.mean(losses) > 0.3) == kept


@pytest.mark.parametrize(
    ("joint", "alone", "kept"),
    [("told", "constant", True), ("constant", "told", False), ("constant", "constant", True)],
)
def test_scores_without_a_correlation_are_not_preferred(joint: str, alone: str, kept: bool) -> None:
    told, mos = noisy(0, 30, 0.5)
    scores = {"told": told, "constant": np.ones(30)}
    assert others_help(scores[joint], scores[alone], mos) == kept


def test_error_of_the_difference_is_that_of_drawing_other_videos() -> None:
    generator = np.random.default_rng(0)
    videos, differences, errors = 150, [], []
    for _ in range(400):
        mos = generator.normal(size=videos)
        shared = mos + 0.7 * generator.normal(size=videos)
        first, second = (shared + 0.5 * generator.normal(size=videos) for _ in range(2))
        differences.append(spearmanr(first, mos)[0] - spearmanr(second, mos)[0])
        errors.append(error_of_difference(first, second, mos))
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.25)
