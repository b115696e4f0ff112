"""Regressors that are averaged with networks agree with scikit-learn's, and keep nothing but their
buffers.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from vqa_twostage.fuse.averaging import Columns
from vqa_twostage.fuse.closed_form import kernel_ridge, ridge
from vqa_twostage.fuse.rbf import usual_distance
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

NAMES = pytest.mark.parametrize("name", spec.available("fuse.closed_form"))


def table(videos: int, columns: int, seed: int = 0) -> tuple[Columns, np.ndarray]:
    """Columns of two levels, and labels that depend on them."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(videos, columns))
    labels = 3 + np.sin(rows[:, 0]) + 0.2 * generator.normal(size=videos)
    return Columns(rows, np.repeat([0, 1], [1, columns - 1])), labels


def predicted(module: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = module(torch.from_numpy(rows).float()).numpy()
    return found


@pytest.mark.parametrize("shape", [(50, 4), (30, 90), (20, 20)])
def test_ridge_is_that_of_scikit_learn_on_levels_of_equal_weight(shape: tuple[int, int]) -> None:
    columns, labels = table(*shape)
    found = predicted(ridge.build().fit(columns, labels, ridge.PENALTIES), columns.values)
    rows = columns.values / np.sqrt(np.where(columns.level == 0, 1, shape[1] - 1))
    unit = np.square(rows - rows.mean(axis=0)).sum() / len(rows)
    for penalty, scores in zip(ridge.PENALTIES, found, strict=True):
        expected = Ridge(alpha=penalty * unit, solver="svd").fit(rows, labels).predict(rows)
        np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(50, 4), (30, 90), (20, 20)])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_kernel_ridge_is_that_of_scikit_learn(shape: tuple[int, int], scale: float) -> None:
    columns, labels = table(*shape)
    penalties = kernel_ridge.PENALTIES
    module = kernel_ridge.build(scale=scale).fit(columns, labels, penalties)
    gamma = 1 / (2 * scale * usual_distance(columns.values))
    for penalty, scores in zip(penalties, predicted(module, columns.values), strict=True):
        expected = KernelRidge(alpha=penalty, kernel="rbf", gamma=gamma)
        expected.fit(columns.values, labels - labels.mean())
        np.testing.assert_allclose(
            scores, expected.predict(columns.values) + labels.mean(), atol=5e-3
        )


def test_fewer_landmarks_come_near_and_use_every_video() -> None:
    columns, labels = table(400, 3)
    penalty = np.array([0.1])
    exact, near, few = (
        predicted(kernel_ridge.build(landmarks=most).fit(columns, labels, penalty), columns.values)[
            0
        ]
        for most in (400, 100, 10)
    )
    assert np.abs(near - exact).max() < 0.05 < np.abs(few - exact).max()


@NAMES
@settings(deadline=None, max_examples=25)
@given(videos=st.integers(1, 30), columns=st.integers(2, 40), seed=st.integers(0, 9))
def test_every_regressor_gives_a_finite_score_for_each_penalty_and_video(
    name: str, videos: int, columns: int, seed: int
) -> None:
    method = spec.resolve("fuse.closed_form", name).build()
    rows, labels = table(videos, columns, seed)
    scores = predicted(method.fit(rows, labels, method.penalties), rows.values)
    assert scores.shape == (len(method.penalties), videos) and np.isfinite(scores).all()


@NAMES
def test_columns_that_are_all_equal_give_the_mean_label(name: str) -> None:
    method = spec.resolve("fuse.closed_form", name).build()
    rows = Columns(np.zeros((20, 3)), np.zeros(3, np.int64))
    labels = np.linspace(1, 5, 20)
    scores = predicted(method.fit(rows, labels, method.penalties), rows.values)
    np.testing.assert_allclose(scores, 3.0, atol=1e-2)


@NAMES
def test_a_regressor_is_made_again_from_its_buffers(name: str) -> None:
    method = spec.resolve("fuse.closed_form", name).build()
    rows, labels = table(30, 5)
    module = method.fit(rows, labels, method.penalties[:1])
    again = method.module(**module.state_dict())
    np.testing.assert_array_equal(predicted(again, rows.values), predicted(module, rows.values))


@pytest.mark.parametrize(
    "text", ["kernel_ridge:scale=0", "kernel_ridge:scale=inf", "kernel_ridge:landmarks=0"]
)
def test_options_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=text.partition(":")[2].partition("=")[0]):
        spec.resolve("fuse.closed_form", text).build()
