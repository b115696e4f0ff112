"""Regressors that are averaged with networks agree with scikit-learn's, and keep nothing but their
buffers.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from vqa_twostage.fuse.averaging import TrainingRows
from vqa_twostage.fuse.closed_form import kernel_ridge, ridge
from vqa_twostage.fuse.rbf import usual_distance
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

NAMES = pytest.mark.parametrize("name", spec.available("fuse.closed_form"))


def table(videos: int, columns: int, seed: int = 0, contents: int = 0) -> TrainingRows:
    """Columns of two levels, and labels that depend on them; every video a content of its own
    unless there are so many ``contents``.
    """
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(videos, columns))
    labels = 3 + np.sin(rows[:, 0]) + 0.2 * generator.normal(size=videos)
    group = np.arange(videos) % (contents or videos)
    return TrainingRows(rows, np.repeat([0, 1], [1, columns - 1]), labels, group)


def predicted(module: torch.nn.Module, rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = module(torch.from_numpy(rows).float()).numpy()
    return found


def scaled(training: TrainingRows) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels as ridge regression takes them: centred, every level of equal weight."""
    rows = training.rows / np.sqrt(np.bincount(training.level)[training.level])
    return rows - rows.mean(axis=0), training.labels - training.labels.mean()


@pytest.mark.parametrize("shape", [(50, 4), (30, 90), (20, 20)])
def test_ridge_without_dropout_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    """Where every video is a content of its own, the group loss is the squared error again."""
    training = table(*shape)
    module = ridge.build(level_dropout=0.0).fits[-1](training, ridge.PENALTIES)
    found = predicted(module, training.rows)
    rows, labels = scaled(training)
    unit = np.square(rows).sum() / len(rows)
    for penalty, scores in zip(ridge.PENALTIES, found, strict=True):
        model = Ridge(alpha=penalty * unit / 2, solver="svd", fit_intercept=False)
        expected = model.fit(rows, labels).predict(rows) + training.labels.mean()
        np.testing.assert_allclose(scores, expected, atol=2e-4)


@NAMES
@settings(deadline=None, max_examples=10)
@given(columns=st.integers(2, 800), seed=st.integers(0, 99), alike=st.sampled_from([1.0, 1e-3]))
def test_scores_are_exact_to_single_precision_whatever_the_penalty(
    name: str, columns: int, seed: int, alike: float
) -> None:
    """Large weights of opposite signs cancel: another order of adding, as in a graph, is to give
    the same score. Columns, or videos, that are nearly alike have the largest.
    """
    training = table(300, columns, seed)
    rows = alike * training.rows + (1 - alike) * training.rows[:, :1]
    training = training._replace(rows=rows, labels=3 + rows.mean(axis=1))
    method = spec.resolve("fuse.closed_form", name).build()
    for fit in method.fits:
        module = fit(training, method.penalties)
        exact = copy.deepcopy(module).double()(torch.from_numpy(rows.astype(np.float32)).double())
        np.testing.assert_allclose(predicted(module, rows), exact.numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("contents", [2, 5, 40])
def test_ridge_minimises_the_error_of_videos_and_of_contents_with_levels_dropped(
    contents: int,
) -> None:
    """Its gradient is 0, by the definition of the loss: the expectation over dropped levels is that
    without dropout and the variance that dropping a level causes.
    """
    training, dropout, penalty = table(40, 6, contents=contents), 0.4, 0.1
    module = ridge.build(level_dropout=dropout).fits[-1](training, np.array([penalty]))
    scale = np.bincount(training.level)[training.level] ** -0.5
    rows, labels = map(torch.from_numpy, scaled(training))
    weights = (module.weights[:, 0].double() / torch.from_numpy(scale)).requires_grad_()
    group, level = torch.from_numpy(training.group), torch.from_numpy(training.level)
    unit = rows.square().sum() / len(rows)

    def both(values: torch.Tensor) -> torch.Tensor:
        of_contents = torch.stack([values[group == each].mean() for each in range(contents)])
        return values.square().mean() + of_contents.square().mean()

    spread = both(rows[:, level == 0] @ weights[level == 0])
    spread = spread + both(rows[:, level == 1] @ weights[level == 1])
    loss = both(rows @ weights - labels) + dropout / (1 - dropout) * spread
    loss = loss + penalty * unit * weights.square().sum() / len(rows)
    (gradient,) = torch.autograd.grad(loss, weights)
    assert gradient.abs().max() < 1e-5


def test_no_level_is_dropped_where_there_is_only_one() -> None:
    training = table(30, 5)._replace(level=np.zeros(5, np.int64))
    one, other = (
        predicted(ridge.build(level_dropout=p).fits[-1](training, ridge.PENALTIES), training.rows)
        for p in (0.0, 0.7)
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(50, 4), (30, 90), (20, 20)])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_kernel_ridge_is_that_of_scikit_learn(shape: tuple[int, int], scale: float) -> None:
    training, penalties = table(*shape), kernel_ridge.PENALTIES
    rows, mean = training.rows, training.labels.mean()
    module = kernel_ridge.build(scale=scale).fits[0](training, penalties)
    gamma = 1 / (2 * scale * usual_distance(rows))
    for penalty, scores in zip(penalties, predicted(module, rows), strict=True):
        expected = KernelRidge(alpha=penalty, kernel="rbf", gamma=gamma)
        expected.fit(rows, training.labels - mean)
        np.testing.assert_allclose(scores, expected.predict(rows) + mean, atol=5e-3)


def test_fewer_landmarks_come_near_and_use_every_video() -> None:
    training = table(400, 3)
    penalty = np.array([0.1])
    exact, near, few = (
        predicted(kernel_ridge.build(landmarks=most).fits[0](training, penalty), training.rows)[0]
        for most in (400, 100, 10)
    )
    assert np.abs(near - exact).max() < 0.05 < np.abs(few - exact).max()


@NAMES
@settings(deadline=None, max_examples=25)
@given(
    videos=st.integers(1, 30),
    columns=st.integers(2, 40),
    contents=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_every_regressor_gives_a_finite_score_for_each_penalty_and_video(
    name: str, videos: int, columns: int, contents: int, seed: int
) -> None:
    method = spec.resolve("fuse.closed_form", name).build()
    training = table(videos, columns, seed, contents)
    for fit in method.fits:
        scores = predicted(fit(training, method.penalties), training.rows)
        assert scores.shape == (len(method.penalties), videos) and np.isfinite(scores).all()


@NAMES
def test_columns_that_are_all_equal_give_the_mean_label(name: str) -> None:
    method = spec.resolve("fuse.closed_form", name).build()
    training = table(20, 3)._replace(rows=np.zeros((20, 3)), labels=np.linspace(1, 5, 20))
    scores = predicted(method.fits[-1](training, method.penalties), training.rows)
    np.testing.assert_allclose(scores, 3.0, atol=1e-2)


@NAMES
def test_a_regressor_is_made_again_from_its_buffers(name: str) -> None:
    method = spec.resolve("fuse.closed_form", name).build()
    training = table(30, 5)
    module = method.fits[-1](training, method.penalties[:1])
    again = method.module(**module.state_dict())
    np.testing.assert_array_equal(predicted(again, training.rows), predicted(module, training.rows))


@pytest.mark.parametrize(
    "text",
    [
        "kernel_ridge:scale=0",
        "kernel_ridge:scale=inf",
        "kernel_ridge:landmarks=0",
        "ridge:level_dropout=1",
        "ridge:level_dropout=-0.1",
    ],
)
def test_options_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=text.partition(":")[2].partition("=")[0]):
        spec.resolve("fuse.closed_form", text).build()
