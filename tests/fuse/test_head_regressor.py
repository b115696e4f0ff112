"""`HeadRegressor` is the head of training, and an estimator as scikit-learn wants it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import vqa_twostage as vqa
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.pipeline.errors import UsageError

SMALL = vqa.HeadRegressor(members=1, epochs=8)
Check = Callable[[BaseEstimator], None]


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Types are checked only while tests run, and a constructor of scikit-learn takes any value:
    `fit` tells what is wrong with it.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def videos(count: int = 40, columns: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, MOS, and what each video shows, four of each content."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(count, columns))
    return x, 3 + x[:, 0] + 0.1 * generator.normal(size=count), np.arange(count) // 4


@pytest.mark.usefixtures("unchecked_shapes")
@parametrize_with_checks([SMALL])
def test_every_check_of_scikit_learn_passes(estimator: BaseEstimator, check: Check) -> None:
    check(estimator)


@pytest.mark.long
@pytest.mark.usefixtures("unchecked_shapes")
@parametrize_with_checks([vqa.HeadRegressor()])
def test_every_check_of_scikit_learn_passes_with_the_defaults(
    estimator: BaseEstimator, check: Check
) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "options",
    [
        TrainOptions(members=2, epochs=10),
        TrainOptions("gated", temporal_encoder="attention", members=1, epochs=4),
    ],
)
def test_frames_give_the_predictions_of_training_on_the_cache(
    toy_cache: Path, options: TrainOptions
) -> None:
    features = vqa.features(toy_cache)
    x, y, groups = features.numpy(per_frame=True), features.mos, np.array(features.groups)
    data = load_dataset(toy_cache, None, None, None)
    split = splits("random:n=1", data.manifest.rows)[1][0]
    expected = fit(data, split, options).predicted[split.test]

    both = np.sort(np.concatenate([split.train, split.val]))
    regressor = vqa.HeadRegressor(
        fusion=options.fusion,
        temporal_encoder=options.temporal_encoder,
        members=options.members,
        epochs=options.epochs,
        columns=features.columns,
        random_state=split.seed,
    )
    regressor.fit([x[i] for i in both], y[both], groups[both], np.isin(both, split.val))
    predicted = regressor.predict([x[i] for i in split.test])
    assert len({len(frames) for frames in x}) > 1
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)


def test_parameters_have_the_defaults_of_training() -> None:
    defaults = TrainOptions()
    parameters = vqa.HeadRegressor().get_params()
    own = {name: parameters.pop(name) for name in ("columns", "validation_fraction")}
    assert own == {"columns": None, "validation_fraction": 0.25}
    assert parameters.pop("random_state") == defaults.seed
    assert parameters == {name: getattr(defaults, name) for name in parameters}


def test_table_that_names_its_streams_is_read_as_columns_say(toy_cache: Path) -> None:
    features = vqa.features(toy_cache)
    table = features.to_dataframe()
    x = table.drop(columns=["mos", "group"])
    of_table = clone(SMALL).fit(x, table["mos"], groups=table["group"])
    of_array = clone(SMALL).set_params(columns=features.columns)
    of_array.fit(x.to_numpy(), features.mos, groups=features.groups)
    as_one_level = clone(SMALL).fit(x.to_numpy(), features.mos, groups=features.groups)

    assert of_table.feature_names_in_.tolist() == features.columns
    predicted = of_table.predict(x)
    np.testing.assert_array_equal(of_array.predict(x.to_numpy()), predicted)
    assert not np.allclose(as_one_level.predict(x.to_numpy()), predicted, atol=1e-3)


def test_other_tables_are_read_as_arrays() -> None:
    x, y, _ = videos()
    table = pd.DataFrame(x, columns=[f"spatial {number}" for number in range(x.shape[1])])
    np.testing.assert_array_equal(
        clone(SMALL).fit(table, y).predict(table), clone(SMALL).fit(x, y).predict(x)
    )


@settings(deadline=None, max_examples=8)
@given(st.integers(4, 30), st.integers(1, 5), st.integers(0, 5))
def test_any_number_of_videos_from_four_on_and_any_frames_are_fitted(
    count: int, frames: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(count, frames, 3)), generator.normal(size=count)
    regressor = clone(SMALL).set_params(epochs=2, random_state=seed)
    predicted = regressor.fit(x, y).predict(x)
    assert predicted.shape == (count,) and np.isfinite(predicted).all()
    assert 0 < regressor.validation_.sum() <= count - 2
    np.testing.assert_array_equal(regressor.predict(list(x)), predicted)


def test_videos_of_one_content_validate_together() -> None:
    x, y, groups = videos()
    held_out = clone(SMALL).fit(x, y, groups=[f"content {each}" for each in groups]).validation_
    assert held_out.sum() == 8  # two of ten contents
    assert not set(groups[held_out]) & set(groups[~held_out])


def test_random_state_decides_everything() -> None:
    x, y, _ = videos()
    first, same, other = (
        clone(SMALL).set_params(random_state=seed).fit(x, y).predict(x) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    state = np.random.RandomState(0)
    again = [clone(SMALL).set_params(random_state=state).fit(x, y).predict(x) for _ in range(2)]
    assert not np.array_equal(*again)


def test_fitted_regressor_is_pickled_without_its_videos() -> None:
    x, y, _ = videos()
    networks = clone(SMALL).set_params(average_with="none")
    small, large = (clone(networks).fit(np.tile(x, (n, 1)), np.tile(y, n)) for n in (1, 50))
    copy = pickle.loads(pickle.dumps(small))
    np.testing.assert_array_equal(copy.predict(x), small.predict(x))
    assert len(pickle.dumps(large)) - len(pickle.dumps(small)) < x.nbytes + large.validation_.nbytes


def test_pipeline_grid_search_and_cross_validation_take_it() -> None:
    x, y, groups = videos()
    pipeline = make_pipeline(StandardScaler(), clone(SMALL))
    folds = GroupKFold(3)
    scores = cross_val_score(
        pipeline, x, y, groups=groups, cv=folds, params={"headregressor__groups": groups}
    )
    assert scores.shape == (3,) and (scores > 0.5).all()
    search = GridSearchCV(
        clone(SMALL), {"epochs": np.array([2, 4]), "fusion": ["concat"]}, cv=folds
    )
    search.fit(x, y, groups=groups)
    assert search.best_params_["fusion"] == "concat" and search.best_score_ > 0.5


def test_groups_reach_the_fit_by_metadata_routing() -> None:
    x, y, groups = videos()
    with sklearn.config_context(enable_metadata_routing=True):
        regressor = clone(SMALL).set_fit_request(groups=True)
        search = GridSearchCV(regressor, {"members": [1]}, cv=GroupKFold(2))
        held_out = search.fit(x, y, groups=groups).best_estimator_.validation_
    assert not set(groups[held_out]) & set(groups[~held_out])


X, Y, GROUPS = videos(8, 3)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        ((X[:3], Y[:3]), {}, "3 samples, too few to fit on some"),
        ((X[:1], Y[:1]), {}, "got 1 sample, too few"),
        ((X, Y[:5]), {}, "inconsistent numbers of samples"),
        ((scipy.sparse.csr_matrix(X), Y), {}, "[Ss]parse data was passed"),
        ((np.where(X > 1, np.nan, X), Y), {}, "Input X contains NaN"),
        ((X, np.where(Y > 3, np.inf, Y)), {}, "Input y contains infinity"),
        ((X, Y, GROUPS[:3]), {}, "one value for each of 8 videos"),
        ((X, Y, [None] * 8), {}, "groups must have no missing value"),
        ((X, Y, np.zeros(8)), {}, "all videos are of one content"),
        ((X, Y, None, np.arange(8)), {}, "validation must be true or false"),
        ((X, Y, None, np.arange(8) > 0), {}, "leaves 1 to fit"),
        ((X, Y, None, np.arange(8) > 9), {}, "0 of 8 videos validate"),
        ((X, Y), {"columns": ["spatial"] * 2}, "names 2 columns, and X has 3"),
        ((X, Y), {"columns": ["spatial", "audio", "temporal"]}, "'audio' is not one of a head"),
        ((X, Y), {"columns": ["spatial/c1/grid[0]"] * 3}, "statistics are cls, mean, std"),
        ((X, Y), {"columns": [1, 2, 3]}, "1 is not one of a head"),
        ((X, Y), {"columns": "spatial"}, "columns must be a list"),
        (([X[:2], X[:0], *[X[:1]] * 6], Y), {}, "in place 1 has no frame"),
        (([X[:2], X[0], *[X[:1]] * 6], Y), {}, "an array .* for each video"),
        (([X[:2], X[:1, :2], *[X[:1]] * 6], Y), {}, "all of one d"),
    ],
)
def test_wrong_arrays_are_refused_in_one_message(
    arguments: tuple[Any, ...], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        clone(SMALL).set_params(**parameters).fit(*arguments)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"fusion": "nope"}, "nope"),
        ({"members": 0}, "members must be a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1"),
        ({"validation_fraction": 1}, "validation_fraction must be above 0 and below 1"),
        ({"validation_fraction": "a"}, "validation_fraction must be above 0 and below 1"),
    ],
)
def test_wrong_parameters_are_told_by_fit(parameters: dict[str, Any], message: str) -> None:
    regressor = clone(SMALL).set_params(**parameters)
    with pytest.raises(UsageError, match=message):
        regressor.fit(X, Y)


def test_predict_refuses_what_fit_did_not_see() -> None:
    with pytest.raises(NotFittedError):
        clone(SMALL).predict(X)
    fitted = clone(SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="X has 2 features, but HeadRegressor is expecting 3"):
        fitted.predict(X[:, :2])
    with pytest.raises(ValueError, match="X has 2 features"):
        fitted.predict([X[:2, :2]])


def test_fit_does_not_disturb_the_random_numbers_of_its_caller() -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    before = torch.get_num_threads()
    clone(SMALL).fit(X, Y)
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == before
