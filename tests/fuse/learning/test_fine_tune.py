"""Training that starts from the heads of another run: epoch 0 is that run, the last layer alone or
everything is trained, and weights are drawn back to where they started.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_cache import each_track, make_dataset, relabelled

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.ensemble import Ensemble
from vqa_twostage.fuse.learning.fine_tune import TUNING, Start, start_or_last
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning.scorer import Scorer, refit
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.fuse.train import Plan, fit_plan

OPTIONS = TrainOptions(fusion="concat", epochs=8, members=2, protocol="random:n=1")
LOSS = parse_loss("smooth_l1+plcc")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def source(toy_data: Dataset) -> Scorer:
    """A head that was trained on another dataset."""
    plan = Plan.of(toy_data, OPTIONS)
    return refit(toy_data, OPTIONS, plan.splits, fit_plan(toy_data, plan, 1))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_dataset("other", 8, 4)


def start_of(
    source: Scorer, last: bool = False, refitted: bool = False, mirrored: bool = False
) -> Start:
    return Start(source.models, source.preparations, last, refitted, mirrored)


def ensemble_of(data: Dataset, start: Start, rows: np.ndarray) -> Ensemble:
    head = Head.of(OPTIONS)
    return Ensemble(PreparedFeatures.from_start(data, rows, head, start), rows, head, start)


def trained(data: Dataset, start: Start, rows: np.ndarray, epochs: int) -> Ensemble:
    ensemble = ensemble_of(data, start, rows)
    ensemble.train(0, 2, LOSS, epochs)
    return ensemble


def state(ensemble: Ensemble, member: int = 0) -> dict[str, torch.Tensor]:
    return ensemble.models[member].state_dict()


LAST = {"regress.3.weight", "regress.3.bias"}


def test_epoch_0_ranks_every_video_as_the_source_does(source: Scorer, data: Dataset) -> None:
    rows = np.arange(0, 20)
    for number, model in enumerate(source.models):
        alone = replace(start_of(source), models=[model])
        ensemble = trained(data, alone, rows, epochs=0)
        scores = ensemble.output().scores.numpy()
        member = replace(source, models=[source.models[number]], regressors={}, curve=None)
        ours = member.scores(data.features)
        assert metrics.srcc(scores, ours) == pytest.approx(1, abs=1e-3)


def test_epoch_0_is_on_the_scale_of_the_new_labels(source: Scorer, data: Dataset) -> None:
    rows = np.arange(3, 23)
    scores = trained(data, start_of(source), rows, epochs=0).output().scores.numpy()[rows]
    assert scores.mean() == pytest.approx(0, abs=1e-5) and 0.8 < scores.std() < 1.0001


def test_scores_are_mirrored_where_the_better_end_is_the_other(
    source: Scorer, data: Dataset
) -> None:
    rows = np.arange(20)
    scores, mirrored = (
        trained(data, start_of(source, mirrored=each), rows, epochs=0).output().scores
        for each in (False, True)
    )
    assert torch.allclose(scores, -mirrored, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
def test_only_what_is_tuned_changes(source: Scorer, data: Dataset, last: bool) -> None:
    rows, start = np.arange(20), start_of(source, last=last)
    before, after = (state(trained(data, start, rows, epochs)) for epochs in (0, 6))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and (changed <= LAST) == last


@pytest.mark.long
def test_weights_stay_near_their_start_however_long_training_is(
    source: Scorer, data: Dataset
) -> None:
    """Random labels pull weights anywhere: without the way back they go far."""
    shuffled = relabelled(data, np.random.default_rng(0).permutation(data.mos))
    rows, start = np.arange(20), start_of(source)
    tuned = ensemble_of(shuffled, start, rows)
    tuned.train(0, 2, LOSS, 200)
    first = state(trained(shuffled, start, rows, epochs=0))
    from_source = sum(float((state(tuned)[name] - first[name]).square().sum()) for name in first)
    head = Head.of(OPTIONS)
    scratch = Ensemble(PreparedFeatures(shuffled, rows), rows, head)
    initial = scratch._initialised(0).state_dict()
    scratch.train(0, 1, LOSS, 200)
    from_random = sum(
        float((state(scratch)[name] - initial[name]).square().sum()) for name in initial
    )
    assert from_source < 0.5 * from_random


def test_the_source_is_left_as_it_was(source: Scorer, data: Dataset) -> None:
    before = [
        {name: value.clone() for name, value in model.state_dict().items()}
        for model in source.models
    ]
    for last in (False, True):
        trained(data, start_of(source, last=last), np.arange(20), epochs=4)
    for model, earlier in zip(source.models, before, strict=True):
        now = model.state_dict()
        assert all(torch.equal(now[name], earlier[name]) for name in earlier)


def test_refitted_statistics_are_those_of_the_new_rows_and_directions_those_of_the_source(
    source: Scorer, data: Dataset
) -> None:
    """Features in other units are prepared alike."""
    rows, head = np.arange(20), Head.of(OPTIONS)
    scaled = replace(
        data,
        features=each_track(
            data,
            lambda track: replace(
                track,
                arrays={name: 8 * array[:].astype("f4") for name, array in track.arrays.items()},
            ),
        ),
    )
    for refitted in (False, True):
        start = start_of(source, refitted=refitted)
        plain, moved = (
            PreparedFeatures.from_start(each, rows, head, start).of(head).spatial.arrays
            for each in (data, scaled)
        )
        same = all(torch.allclose(plain[name], moved[name], atol=0.02) for name in plain)
        assert same == refitted


def test_tuning_learns_what_the_source_did_not_know(source: Scorer, data: Dataset) -> None:
    """With the opposite labels the start is wrong everywhere, and training mends it."""
    wrong = relabelled(data, 6 - data.mos)
    (split,) = splits("random:n=1", wrong.manifest.rows)[1]
    ensemble = ensemble_of(wrong, start_of(source), split.train)
    scores = ensemble.train(0, 2, LOSS, 60, split.train)
    first, last = (metrics.srcc(scores[epoch].numpy(), wrong.mos[split.train]) for epoch in (0, 60))
    assert first < -0.5 < 0 < last


@pytest.mark.parametrize(
    ("start", "last", "videos", "chosen"),
    [
        (0.8, 0.8, 240, 20),
        (0.8, 0.7, 240, 0),  # the standard error is .065
        (0.8, 0.7, 24, 20),  # and here .21
        (0.8, 0.3, 24, 0),
        (1.0, 0.5, 2, 20),
        (0.8, math.nan, 24, 0),
        (math.nan, 0.5, 24, 20),
        (math.nan, math.nan, 24, 0),
    ],
)
def test_the_start_is_chosen_where_it_is_surely_better(
    start: float, last: float, videos: int, chosen: int
) -> None:
    assert start_or_last({0: start, 20: last}, videos) == chosen


@pytest.mark.parametrize("count", [TUNING.refitted_from - 1, TUNING.refitted_from])
def test_statistics_of_few_videos_are_not_refitted(
    source: Scorer, toy_data: Dataset, count: int
) -> None:
    (track,), (preparation,) = toy_data.features.spatial, source.preparations.spatial
    automatic = replace(start_of(source), refitted=None)
    refitted = automatic.preparation(preparation, track, np.arange(count))
    assert (refitted is preparation) == (count < TUNING.refitted_from)
