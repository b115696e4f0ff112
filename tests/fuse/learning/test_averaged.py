"""A head's score is the mean of its networks' score and of the regressors that are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_cache import reworked

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning import averaged, scorer_file
from vqa_twostage.fuse.learning.averaged import choose, fit_average, used
from vqa_twostage.fuse.learning.fit import fit_split
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split, splits
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.errors import UsageError

QUICK = TrainOptions(epochs=4, members=1, protocol="random:n=2,train=0.5,val=0.15")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def of_single_videos(toy_data: Dataset) -> Dataset:
    """The same with a content for each video."""
    single = {"group": [f"content {row}" for row in range(len(toy_data.mos))]}
    return replace(
        toy_data,
        manifest=replace(toy_data.manifest, rows=toy_data.manifest.rows.assign(**single)),
        everything=toy_data.everything.assign(**single),
    )


@pytest.fixture
def split(toy_data: Dataset) -> Split:
    return splits("random:n=1,train=0.5,val=0.2", toy_data.manifest.rows)[1][0]


@pytest.mark.parametrize("names", ["ridge", "kernel_ridge", "ridge,kernel_ridge:scale=2"])
@pytest.mark.parametrize("encoder", ["mean", "attention"])
def test_the_score_is_the_mean_of_networks_and_regressors(
    of_single_videos: Dataset, split: Split, names: str, encoder: str
) -> None:
    options = replace(QUICK, temporal_encoder=encoder, average_with=names)
    features = PreparedFeatures(of_single_videos, split.train)
    together = fit_split(features, split, options)
    alone = fit_split(features, split, replace(options, average_with="none"))
    others = fit_average(features, Head.of(options), split)
    count = 1 + len(others.settings)
    tested, val = split.test, split.val
    np.testing.assert_allclose(
        together.predicted[tested] * count, (alone.predicted + others.everywhere)[tested]
    )
    np.testing.assert_allclose(
        together.predicted[val] * count, alone.predicted[val] + others.unseen
    )
    assert together.epoch == alone.epoch and alone.settings == {}


def test_labels_of_test_videos_change_no_prediction(toy_data: Dataset, split: Split) -> None:
    mos = toy_data.mos.copy()
    mos[split.test] = mos[split.test][::-1]
    changed = replace(toy_data, mos=mos)
    head = Head.of(QUICK)
    one, other = (
        fit_average(PreparedFeatures(data, split.train), head, split)
        for data in (toy_data, changed)
    )
    np.testing.assert_array_equal(one.everywhere, other.everywhere)
    np.testing.assert_array_equal(one.unseen, other.unseen)


def test_features_of_test_videos_change_no_other_prediction(
    toy_data: Dataset, split: Split
) -> None:
    def poisoned(array: np.ndarray) -> np.ndarray:
        array[split.test] = 1e3
        return array

    changed = reworked(toy_data, poisoned)
    one, other = (
        fit_average(PreparedFeatures(data, split.train), Head.of(QUICK), split)
        for data in (toy_data, changed)
    )
    known = np.concatenate([split.train, split.val])
    np.testing.assert_array_equal(one.everywhere[known], other.everywhere[known])
    np.testing.assert_array_equal(one.unseen, other.unseen)


def test_heads_of_one_split_share_the_regressors(
    of_single_videos: Dataset, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    rows = averaged.training_rows

    def counted(*arguments):  # type: ignore[no-untyped-def]
        asked.append(len(arguments[3]))
        return rows(*arguments)

    monkeypatch.setattr(averaged, "training_rows", counted)
    features = PreparedFeatures(of_single_videos, split.train)
    for fusion in ("concat", "gated", "dynamic"):
        fit_split(features, split, replace(QUICK, fusion=fusion))
    train, both = len(split.train), len(split.train) + len(split.val)
    assert asked == [train, both] * 2, "two fits of each of two regressors, for all three heads"


@pytest.mark.parametrize("names", ["ridge", "ridge,kernel_ridge", "none"])
def test_a_saved_model_scores_as_the_one_that_was_saved(
    of_single_videos: Dataset, tmp_path: Path, names: str
) -> None:
    train_run(of_single_videos, replace(QUICK, average_with=names), tmp_path / "run")
    scorer = scorer_file.load(tmp_path / "run")
    assert ",".join(scorer.regressors) == ("" if names == "none" else names)
    again = tmp_path / "again"
    again.mkdir()
    scorer_file.save(scorer, again)
    np.testing.assert_array_equal(
        scorer_file.load(again).scores(of_single_videos.features),
        scorer.scores(of_single_videos.features),
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("lasso", "unknown regressor in closed form 'lasso'; choose from kernel_ridge, ridge"),
        ("", "different regressors in closed form, or none, not ''"),
        ("ridge,ridge", "different regressors in closed form, or none, not 'ridge,ridge'"),
        ("ridge,none", "unknown regressor in closed form 'none'"),
        ("ridge:alpha=2", "unknown option alpha; options of ridge: level_dropout"),
    ],
)
def test_a_wrong_name_is_told_with_the_choices(names: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        Head.of(replace(QUICK, average_with=names))
    assert message in str(error.value)


def test_what_remembers_contents_is_left_out_where_contents_have_several_videos(
    toy_data: Dataset, of_single_videos: Dataset, tmp_path: Path
) -> None:
    head = Head.of(QUICK)
    assert [plugin.spec.name for plugin in used(head, toy_data)] == ["ridge"]
    assert [plugin.spec.name for plugin in used(head, of_single_videos)] == [
        "ridge",
        "kernel_ridge",
    ]
    train_run(toy_data, QUICK, tmp_path / "run")
    assert [*scorer_file.load(tmp_path / "run").regressors] == ["ridge"]


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ([[[1.0, 1.2]], [[1.1, 1.2]]], (1, 0)),  # within two standard errors
        ([[[1.0, 1.2]], [[1.5, 1.5]]], (0, 0)),
        ([[[1.5, 1.5]], [[1.0, 1.2]]], (1, 0)),
        ([[[9.0, 9.0], [1.0, 1.2]], [[1.1, 1.2], [9.0, 9.0]]], (1, 0)),
    ],
)
def test_the_most_careful_fit_is_chosen_unless_another_is_surely_better(
    errors: list[list[list[float]]], chosen: tuple[int, int]
) -> None:
    assert choose(np.array(errors)) == chosen
