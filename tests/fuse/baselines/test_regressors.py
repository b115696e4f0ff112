"""Regressors of baselines agree with scikit-learn's, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.svm import SVR

from vqa_twostage.fuse.baselines import gp, kernel_ridge, ridge, svr
from vqa_twostage.fuse.baselines.kernel_ridge import KernelRidgePath
from vqa_twostage.fuse.rbf import usual_distance

SHAPES = pytest.mark.parametrize("shape", [(50, 4), (30, 90), (20, 20)])


def table(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows, their labels, and other rows."""
    generator = np.random.default_rng(sum(shape))
    rows = generator.normal(size=shape) + 5
    labels = 3 + np.sin(rows[:, 0]) + 0.2 * generator.normal(size=len(rows))
    return rows, labels, generator.normal(size=(7, shape[1])) + 5


def gamma(rows: np.ndarray, scale: float) -> float:
    distances = [np.sum((one - other) ** 2) for one in rows for other in rows if one is not other]
    return 1 / (2 * scale * float(np.median([d for d in distances if d > 0])))


@SHAPES
def test_ridge_is_that_of_scikit_learn_for_each_penalty(shape: tuple[int, int]) -> None:
    rows, labels, others = table(shape)
    (path,) = ridge.candidates(shape[1])
    predicted = path.fit(rows, labels).predict(others)
    unit = np.square(rows - rows.mean(axis=0)).sum() / len(rows)
    for penalty, found in zip(ridge.PENALTIES, predicted, strict=True):
        expected = Ridge(alpha=penalty * unit, solver="svd").fit(rows, labels).predict(others)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@SHAPES
def test_kernel_ridge_is_that_of_scikit_learn_for_each_penalty(shape: tuple[int, int]) -> None:
    rows, labels, others = table(shape)
    for scale, path in zip(kernel_ridge.SCALES, kernel_ridge.candidates(shape[1]), strict=True):
        predicted = path.fit(rows, labels).predict(others)
        for penalty, found in zip(kernel_ridge.PENALTIES, predicted, strict=True):
            model = KernelRidge(alpha=penalty, kernel="rbf", gamma=gamma(rows, scale))
            expected = model.fit(rows, labels - labels.mean()).predict(others) + labels.mean()
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_nystroem_approximation_comes_near_and_uses_every_video() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, 3))
    labels = np.sin(rows[:, 0]) + rows[:, 1] + 0.3 * generator.normal(size=400)
    others = generator.normal(size=(50, 3))
    exact, near, few = (
        KernelRidgePath(1.0, most).fit(chosen, labels[: len(chosen)]).predict(others)
        for most, chosen in ((400, rows), (150, rows), (150, rows[:150]))
    )
    place = int(np.searchsorted(kernel_ridge.PENALTIES, 0.3))
    error = np.abs(near[place] - exact[place]).max()
    assert 0 < error < 0.02
    assert np.abs(few[place] - exact[place]).max() > 5 * error


@SHAPES
def test_gaussian_process_predicts_as_that_of_scikit_learn_with_its_kernel(
    shape: tuple[int, int],
) -> None:
    rows, labels, others = table(shape)
    (process,) = gp.candidates(shape[1])
    found = process.fit(rows, labels).predict(others)
    best, expected = -np.inf, None
    for scale in gp.SCALES:
        length = np.sqrt(1 / (2 * gamma(rows, scale)))
        for noise in gp.NOISES:
            unit = RBF(length)(rows) + noise * np.eye(len(rows))
            centred = labels - labels.mean()
            signal = centred @ np.linalg.solve(unit, centred) / len(rows)
            kernel = ConstantKernel(signal) * RBF(length) + WhiteKernel(signal * noise)
            model = GaussianProcessRegressor(kernel, optimizer=None).fit(rows, centred)
            if model.log_marginal_likelihood_value_ > best + 1e-9:
                best = model.log_marginal_likelihood_value_
                expected = model.predict(others) + labels.mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@SHAPES
def test_svr_is_that_of_scikit_learn_for_each_cost(shape: tuple[int, int]) -> None:
    rows, labels, others = table(shape)
    standard = (labels - labels.mean()) / labels.std()
    for scale, path in zip(svr.SCALES, svr.relative(shape[1]), strict=True):
        predicted = path.fit(rows, labels).predict(others)
        for cost, found in zip(svr.COSTS, predicted, strict=True):
            machine = SVR(C=cost, gamma=gamma(rows, scale)).fit(rows, standard)
            expected = machine.predict(others) * labels.std() + labels.mean()
            np.testing.assert_allclose(found, expected, rtol=2e-2)


@pytest.mark.parametrize("rows", [np.zeros((5, 3)), np.zeros((1, 3)), np.zeros((4, 0))])
def test_usual_distance_of_equal_rows_is_positive(rows: np.ndarray) -> None:
    assert usual_distance(rows) == 1.0


def test_usual_distance_is_the_median_of_different_rows() -> None:
    rows = np.array([[0.0], [1.0], [3.0]])
    assert usual_distance(rows) == 4.0
    assert usual_distance(np.eye(9)[[0] * 8 + [1]]) == pytest.approx(2 * 8 / 36), "most are equal"
