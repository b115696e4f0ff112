"""A published score is kept as it is; its re-fit keeps the order and finds the labels' scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.fuse.baselines.published import AsPublished, Refitted, build
from vqa_twostage.pipeline.errors import UsageError

LABELS = st.integers(0, 2**32 - 1).map(lambda seed: 3 + np.random.default_rng(seed).normal(size=40))


@settings(deadline=None)
@given(LABELS, st.floats(0.01, 1e4), st.floats(-1e3, 1e3))
def test_score_is_predicted_as_it_is(labels: np.ndarray, scale: float, shift: float) -> None:
    rows = (scale * labels + shift)[:, None]
    assert np.array_equal(AsPublished().fit(rows, labels[::-1]).predict(rows), rows[:, 0])


@pytest.mark.long
@settings(deadline=None, max_examples=30)
@given(LABELS, st.floats(0.01, 1e4), st.floats(-1e3, 1e3), st.floats(0, 1))
def test_refit_keeps_the_order_and_comes_near_the_labels(
    labels: np.ndarray, scale: float, shift: float, noise: float
) -> None:
    others = noise * np.random.default_rng(0).normal(size=len(labels))
    rows = (scale * np.exp((labels + others) / 2) + shift)[:, None]
    predicted = Refitted().fit(rows[:30], labels[:30]).predict(rows)
    assert (np.diff(predicted[np.argsort(rows[:, 0])]) >= 0).all()
    error = np.sqrt(np.mean((predicted[:30] - labels[:30]) ** 2))
    assert error <= labels[:30].std() + 1e-9


def test_score_that_falls_as_labels_rise_is_refitted_to_a_constant() -> None:
    labels = np.linspace(1, 5, 30)
    predicted = Refitted().fit(-labels[:, None], labels).predict(-labels[:, None])
    np.testing.assert_allclose(predicted, labels.mean())


def test_unknown_refit_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="refit must be none or logistic, not 'linear'"):
        build(score="dover", refit="linear")
