"""Baselines get columns as robust as those of heads, by statistics of the rows they are fitted on
alone, from any number of tracks; the published SVR stays as published.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from fitting import fit
from heavy_tails import clipped, heavy_tailed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.svm import SVR
from toy_cache import COLUMNS, make_dataset, reworked

from vqa_twostage.fuse.ablate import ablate, expand, variants
from vqa_twostage.fuse.baselines import gp
from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning import baseline
from vqa_twostage.fuse.learning.baseline import TrackColumns, columns_of, min_max, robust
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split, splits
from vqa_twostage.fuse.streams import Regressor
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(fusion="concat", epochs=2, members=1, protocol="random:n=1")
SPECS = [*expand(["all"], "fuse.baselines"), "svr:grid=published"]
ROBUST = ["gp", "kernel_ridge", "ridge", "svr"]

pytestmark = pytest.mark.usefixtures("one_thread")


def candidates(text: str) -> Candidates:
    return Candidates.of(spec.resolve("fuse.baselines", text).build())


def of_one_level(blocks: list[np.ndarray]) -> list[TrackColumns]:
    return [TrackColumns(values, np.zeros(values.shape[1], int)) for values in blocks]


def predictions(
    blocks: list[np.ndarray], mos: np.ndarray, split: Split, candidates: Candidates
) -> np.ndarray:
    """Of tracks of one level."""
    return baseline.predictions(of_one_level(blocks), mos, split, candidates)


def random_split(videos: int, seed: int = 0) -> Split:
    """60 % for training, 20 % each for validation and test."""
    order = np.random.default_rng(seed).permutation(videos)
    parts = np.split(order, [videos * 3 // 5, videos * 4 // 5])
    return Split(seed, *map(np.sort, parts))


def srcc(predicted: np.ndarray, mos: np.ndarray, rows: np.ndarray) -> float:
    return float(stats.spearmanr(predicted[rows], mos[rows])[0])


class First:
    """Of regressors that are fitted together the first."""

    def __init__(self, regressor: Regressor) -> None:
        self.regressor = regressor

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> First:
        self.regressor.fit(rows, labels)
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.atleast_2d(self.regressor.predict(rows))[0]


# --- heavy tails ---


def ridge_by_hand(columns: np.ndarray, mos: np.ndarray, split: Split) -> np.ndarray:
    """The penalty by validation, then both parts."""
    errors = {}
    for penalty in 10.0 ** np.arange(-1, 5, 0.5):
        model = Ridge(penalty).fit(columns[split.train], mos[split.train])
        errors[penalty] = np.mean((model.predict(columns[split.val]) - mos[split.val]) ** 2)
    both = np.concatenate([split.train, split.val])
    return Ridge(min(errors, key=errors.__getitem__)).fit(columns[both], mos[both]).predict(columns)


def test_ridge_is_as_good_on_heavy_tails_as_on_clipped_columns() -> None:
    differences = []
    for seed in range(6):
        columns, mos = heavy_tailed(seed, 600, 120)
        split = random_split(600, seed)
        by_hand = ridge_by_hand(clipped(columns, split.train), mos, split)
        predicted = predictions([columns[:, :60], columns[:, 60:]], mos, split, candidates("ridge"))
        differences.append(srcc(predicted, mos, split.test) - srcc(by_hand, mos, split.test))
        assert np.corrcoef(predicted[split.test], mos[split.test])[0, 1] > 0.75
    assert np.mean(differences) > -0.02


@pytest.mark.parametrize("name", ROBUST)
def test_baselines_learn_from_columns_with_heavy_tails(name: str) -> None:
    columns, mos = heavy_tailed(0, 250, 60)
    split = random_split(250)
    predicted = predictions([columns], mos, split, candidates(name))
    by_min_max = replace(candidates(name), preparation="min_max")
    assert srcc(predicted, mos, split.test) > 0.6
    assert srcc(predictions([columns], mos, split, by_min_max), mos, split.test) < 0.5, (
        "the scaling of the published SVR fails here"
    )


# --- nothing leaks ---


@pytest.mark.parametrize("prepare", [robust, min_max])
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), factor=st.sampled_from([0.0, -9.0, 1e6, np.nan, np.inf]))
def test_values_of_other_parts_change_nothing_that_is_prepared(
    prepare: object, seed: int, factor: float
) -> None:
    generator = np.random.default_rng(seed)
    blocks = [generator.standard_t(2, size=(30, width)) for width in (3, 1, 8)]
    rows = np.sort(generator.permutation(30)[:18])
    others = np.setdiff1d(np.arange(30), rows)
    poisoned = [block.copy() for block in blocks]
    for block in poisoned:
        block[others] = factor * block[others] + 4
    before, after = (prepare(of_one_level(each), rows) for each in (blocks, poisoned))
    assert np.array_equal(before[rows], after[rows])
    assert not np.array_equal(before[others], after[others])


@pytest.mark.parametrize("name", SPECS)
def test_features_of_the_test_part_change_no_other_prediction(name: str) -> None:
    data = make_dataset("toy", 10, 4)
    (split,) = splits("random:n=1", data.manifest.rows)[1]

    def poison(array: np.ndarray) -> np.ndarray:
        array[split.test] = 9 * array[split.test] + 4
        return array

    options = replace(QUICK, baseline=name)
    one, other = (fit(each, split, options).predicted for each in (data, reworked(data, poison)))
    rest = np.concatenate([split.train, split.val])
    assert np.array_equal(one[rest], other[rest])
    assert not np.array_equal(one[split.test], other[split.test])


@pytest.mark.parametrize("name", SPECS)
def test_validation_videos_are_predicted_without_their_labels(name: str) -> None:
    """They choose among candidates; where there is one, they change no prediction of their own."""
    generator = np.random.default_rng(0)
    rows, mos = generator.normal(size=(60, 4)), generator.normal(size=60)
    split, changed = random_split(60), mos.copy()
    changed[split.val] += 5
    one = Candidates(lambda columns: [First(next(candidates(name)(columns)))])
    before, after = (predictions([rows], labels, split, one) for labels in (mos, changed))
    assert np.array_equal(before[split.val], after[split.val])
    assert not np.array_equal(before[split.test], after[split.test]), "fitted to both parts"


# --- columns of any kind, tracks of any number ---


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_predictions_are_finite_whatever_columns_hold(name: str, gap: float) -> None:
    generator = np.random.default_rng(0)
    columns = generator.normal(size=(50, 8))
    mos = 3 + columns[:, 0] + 0.1 * generator.normal(size=50)
    columns[::7, 1], columns[:, 2], columns[:, 3] = gap, 4.0, gap
    columns[0, 4], columns[:, 5] = 1e12, np.arange(50) == 49
    predicted = predictions([columns], mos, random_split(50), candidates(name))
    assert np.isfinite(predicted).all()
    assert srcc(predicted, mos, random_split(50).test) > 0.7


@pytest.mark.parametrize("name", ROBUST)
def test_columns_that_tell_nothing_give_the_mean_of_the_labels(name: str) -> None:
    mos = np.random.default_rng(0).normal(3, 0.5, size=40)
    predicted = predictions([np.ones((40, 3))], mos, random_split(40), candidates(name))
    np.testing.assert_allclose(predicted, predicted[0], atol=0.5)
    assert np.ptp(predicted[random_split(40).test]) < 1e-9


@pytest.mark.parametrize("widths", [(2, 50), (1, 7, 300), (5,)])
def test_each_track_counts_alike_however_many_columns_it_has(widths: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    blocks = [generator.lognormal(size=(80, width)) for width in widths]
    blocks[0] = np.concatenate([blocks[0], np.full((80, 9), 7.0)], axis=1)  # constant: no column
    prepared = robust(of_one_level(blocks), np.arange(0, 80, 2))
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    variances = [part[::2].var(axis=0).sum() for part in np.split(prepared, ends, axis=1)]
    np.testing.assert_allclose(variances, 1, rtol=0.05)


def test_each_level_of_a_track_counts_alike_and_a_constant_one_not_at_all() -> None:
    values = np.random.default_rng(0).normal(size=(80, 40))
    values[:, 35:] = 1
    level = np.repeat([0, 1, 2], [5, 30, 5])
    prepared = robust([TrackColumns(values, level)], np.arange(0, 80, 2))[::2]
    variances = [prepared[:, level == number].var(axis=0).sum() for number in range(3)]
    np.testing.assert_allclose(variances, [0.5, 0.5, 0], rtol=0.05)


def test_columns_are_known_by_their_level(toy_data: Dataset) -> None:
    values, level = columns_of(toy_data.features.spatial[0])
    assert values.shape == (len(toy_data.mos), 6 * COLUMNS)
    assert list(level) == [0] * 2 * COLUMNS + [1] * 2 * COLUMNS + [2] * 2 * COLUMNS


@pytest.mark.parametrize("name", ROBUST)
def test_a_baseline_fits_any_number_of_columns(name: str) -> None:
    """Each column a hundred times: the same distances, so the same predictions."""
    generator = np.random.default_rng(0)
    few = generator.normal(size=(60, 6))
    mos, split = 3 + few[:, 0] + np.sin(2 * few[:, 1]), random_split(60)
    one, other = (
        predictions([columns], mos, split, candidates(name))
        for columns in (few, np.repeat(few, 100, axis=1))
    )
    np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("name", ROBUST)
def test_a_third_track_is_used(name: str) -> None:
    generator = np.random.default_rng(0)
    tracks = [generator.normal(size=(100, width)) for width in (5, 3, 4)]
    mos, split = 3 + tracks[2][:, 0], random_split(100)
    two, three = (
        predictions(blocks, mos, split, candidates(name)) for blocks in (tracks[:2], tracks)
    )
    assert srcc(three, mos, split.test) > 0.8 > srcc(two, mos, split.test)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("factor", [0.01, 25.0])
def test_predictions_follow_the_scale_of_the_labels(name: str, factor: float) -> None:
    generator = np.random.default_rng(0)
    columns = generator.normal(size=(60, 5))
    mos, split = 3 + columns[:, 0] + 0.2 * generator.normal(size=60), random_split(60)
    one, other = (predictions([columns], y, split, candidates(name)) for y in (mos, factor * mos))
    np.testing.assert_allclose(factor * one, other, rtol=2e-3)


# --- the published SVR ---


def test_published_svr_is_that_of_videval(toy_data: Dataset) -> None:
    """Written out: the lowest validation error of 100, then fitted on both parts."""
    (split,) = splits("random:n=1", toy_data.manifest.rows)[1]
    fitted = fit(toy_data, split, replace(QUICK, baseline="svr:grid=published")).predicted
    raw = np.concatenate([columns_of(track).values for track in toy_data.tracks], axis=1)
    both, mos = np.sort(np.concatenate([split.train, split.val])), toy_data.mos

    def scaled(rows: np.ndarray) -> np.ndarray:
        low, high = raw[rows].min(axis=0), raw[rows].max(axis=0)
        return (raw - low) / (high - low)

    errors, columns = {}, scaled(split.train)
    for cost, gamma in product(2.0 ** np.arange(1, 11), 2.0 ** np.arange(-8, 2)):
        machine = SVR(C=cost, gamma=gamma).fit(columns[split.train], mos[split.train])
        unseen = machine.predict(columns[split.val])
        errors[cost, gamma] = np.mean((unseen - mos[split.val]) ** 2)
    cost, gamma = min(errors, key=errors.__getitem__)
    columns = scaled(both)
    expected = SVR(C=cost, gamma=gamma).fit(columns[both], mos[both]).predict(columns)
    assert np.array_equal(fitted[split.test], expected[split.test])


def test_unknown_grid_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="grid must be relative or published, not 'wide'"):
        candidates("svr:grid=wide")


# --- many videos ---


def test_a_baseline_refuses_more_videos_than_it_takes(
    toy_data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gp, "MOST_VIDEOS", 30)
    (split,) = splits("random:n=1", toy_data.manifest.rows)[1]
    with pytest.raises(UsageError, match="gp takes at most 30 videos .* choose ridge or kernel"):
        fit(toy_data, split, replace(QUICK, baseline="gp"))


def test_ablation_lists_a_baseline_that_takes_fewer_videos_as_impossible(
    toy_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gp, "MOST_VIDEOS", 30)
    chosen = variants(QUICK, [], [], [], ["gp", "ridge"])
    result = ablate(toy_data, chosen, tmp_path)
    assert [row.name for row in result.comparison.rows] == ["ridge"]
    assert "at most 30 videos" in result.impossible["gp"]
