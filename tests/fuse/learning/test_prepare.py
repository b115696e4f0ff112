"""Features prepared for learning: by the training part alone, in the same order, one basis for a
level.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vqa_twostage.fuse.data import Features
from vqa_twostage.fuse.learning.prepare import CLIP, COMPONENTS, Preparation, Squash
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec

GENERATOR = np.random.default_rng(0)
N, T = 40, 3
TRAIN = np.arange(0, N, 2)


def track(**arrays: np.ndarray) -> Features:
    """Videos of one to three frames, with random padding. Names have ``_`` for ``/``."""
    mask = np.arange(T) < (1 + np.arange(N) % T)[:, None]
    named = {
        ArrayName(name.replace("_", "/")): array.astype(np.float32)
        for name, array in arrays.items()
    }
    identity = TrackIdentity("spatial", Spec("none"), Spec("none"))
    return Features(TrackPath(Path(), "", "", "none"), identity, named, mask, np.zeros((N, T)))


def random(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=(N, T, *shape))


def test_columns_have_mean_0_and_deviation_1_over_the_training_frames() -> None:
    features = track(c1_mean=np.exp(2 * random(5)), c1_std=7 + 1e-3 * random(5))
    for array in Preparation.fit(features, TRAIN)(features).values():
        frames = array[TRAIN][features.mask[TRAIN]]
        torch.testing.assert_close(frames.mean(dim=0), torch.zeros(5), rtol=0, atol=0.02)
        torch.testing.assert_close(
            frames.std(dim=0, correction=0), torch.ones(5), rtol=0, atol=0.02
        )


def test_statistics_are_of_the_training_part_alone() -> None:
    features = track(c1_mean=random(5), last_mean=random(COMPONENTS + 9))
    moved = {name: array.copy() for name, array in features.arrays.items()}
    for array in moved.values():
        array[1::2] = 9 * array[1::2] + 4
    first, second = (
        Preparation.fit(replace(features, arrays=a), TRAIN)(features)
        for a in (features.arrays, moved)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_no_frame_is_zero_and_has_no_influence() -> None:
    features = track(c1_mean=random(5))
    garbage = replace(
        features,
        arrays={"c1/mean": np.where(features.mask[..., None], features.arrays["c1/mean"], 1e4)},
    )
    plain, other = (Preparation.fit(one, TRAIN)(one)["c1/mean"] for one in (features, garbage))
    assert torch.equal(plain, other)
    assert not plain[~features.mask].any()


rows = hnp.arrays(
    np.float64, st.tuples(st.integers(4, 30), st.just(1)), elements=st.floats(-1e6, 1e6, width=32)
)


@settings(max_examples=60, deadline=None)
@given(rows)
@example(np.array([[1.4e-45], [0.0], [0.0], [0.0]]))  # too small for the scale to be a float32
def test_squashing_never_reverses_an_order(values: np.ndarray) -> None:
    squashed = Squash.fit(values)(values)[:, 0]
    assert np.isfinite(squashed).all() and np.abs(squashed).max() <= CLIP
    assert (np.diff(squashed[np.argsort(values[:, 0], kind="stable")]) >= 0).all()


def test_an_outlier_does_not_hide_how_the_others_differ() -> None:
    values = GENERATOR.normal(size=(200, 1))
    values[0] = 1e6
    squashed = Squash.fit(values)(values)
    assert squashed[1:].std() > 0.5
    plain = (values - values.mean()) / values.std()
    assert plain[1:].std() < 1e-3, "standardised alone, they would be as good as equal"


@pytest.mark.parametrize("constant", [0.0, 1.0, 333.25, -1e-3])
def test_a_column_that_is_constant_in_training_says_nothing_elsewhere(constant: float) -> None:
    values = random(4)
    values[TRAIN, :, 1] = constant
    features = track(c1_mean=values)
    prepared = Preparation.fit(features, TRAIN)(features)["c1/mean"]
    assert not prepared[..., 1].any()
    assert prepared[..., 0].any()


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_becomes_the_median_of_the_training_part(gap: float) -> None:
    values = random(4)
    values[3, 0, 2] = values[4, 0, 2] = gap  # one in training, one not
    known = values[TRAIN][track(c1_mean=values).mask[TRAIN]][:, 2]
    filled = values.copy()
    filled[[3, 4], 0, 2] = np.median(known[np.isfinite(known)])
    features, expected = track(c1_mean=values), track(c1_mean=filled)
    preparation = Preparation.fit(features, TRAIN)
    assert torch.isfinite(preparation(features)["c1/mean"]).all()
    torch.testing.assert_close(preparation(features)["c1/mean"], preparation(expected)["c1/mean"])


def test_a_column_without_a_single_number_in_training_is_zero() -> None:
    values = random(4)
    values[TRAIN, :, 0] = np.nan
    prepared = Preparation.fit(track(c1_mean=values), TRAIN)(track(c1_mean=values))["c1/mean"]
    assert not prepared[..., 0].any() and torch.isfinite(prepared).all()


def test_wide_levels_are_turned_to_the_directions_in_which_they_vary_most() -> None:
    few = random(6) @ GENERATOR.normal(size=(6, COMPONENTS + 40))
    features = track(last_mean=few, c1_mean=random(COMPONENTS))
    prepared = Preparation.fit(features, TRAIN)(features)
    assert prepared["c1/mean"].shape == (N, T, COMPONENTS), "as many as are kept: left as they are"
    frames = prepared["last/mean"][TRAIN][features.mask[TRAIN]]
    assert frames.shape[1] <= COMPONENTS
    variance = frames.square().mean(dim=0)
    assert variance[:6].sum() / variance.sum() > 0.95
    assert float(variance.mean()) == pytest.approx(1, rel=1e-3)


def test_all_statistics_of_a_level_share_one_basis_so_that_maps_and_averages_agree() -> None:
    channels = COMPONENTS + 8
    grid = random(channels, 2, 2)
    # the map's squashing is of its own values; without it the mean of the rotated map is the
    # rotated mean
    features = track(last_mean=grid.mean(axis=(-2, -1)), last_grid=grid)
    preparation = Preparation.fit(features, TRAIN)
    assert preparation.basis.keys() == {"last"}
    prepared = preparation(features)
    assert prepared["last/grid"].shape == (N, T, prepared["last/mean"].shape[-1], 2, 2)
    mean = prepared["last/grid"].mean(dim=(-2, -1))[features.mask]
    agreement = torch.nn.functional.cosine_similarity(
        mean, prepared["last/mean"][features.mask], dim=1
    )
    assert agreement.median() > 0.9


def test_fewer_frames_than_directions_will_do() -> None:
    features = track(last_mean=random(500))
    prepared = Preparation.fit(features, TRAIN[:5])(features)["last/mean"]
    assert torch.isfinite(prepared).all()
    assert prepared.shape[-1] <= COMPONENTS
