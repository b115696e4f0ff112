"""Features are prepared by statistics of the training part alone, with one basis per level."""

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
from vqa_twostage.fuse.learning.prepare import (
    CLIP,
    COMPONENTS,
    Preparation,
    Squash,
    principal_directions,
)
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


def test_prepared_columns_have_mean_0_and_standard_deviation_1_over_the_training_frames() -> None:
    features = track(c1_mean=np.exp(2 * random(5)), c1_std=7 + 1e-3 * random(5))
    for array in Preparation.fit(features, TRAIN)(features).values():
        frames = array[TRAIN][features.mask[TRAIN]]
        torch.testing.assert_close(frames.mean(dim=0), torch.zeros(5), rtol=0, atol=0.02)
        torch.testing.assert_close(
            frames.std(dim=0, correction=0), torch.ones(5), rtol=0, atol=0.02
        )


def test_preparation_does_not_depend_on_the_validation_and_test_parts() -> None:
    features = track(c1_mean=random(5), last_mean=random(COMPONENTS + 9))
    moved = {name: array.copy() for name, array in features.arrays.items()}
    for array in moved.values():
        array[1::2] = 9 * array[1::2] + 4
    first, second = (
        Preparation.fit(replace(features, arrays=arrays), TRAIN)(features)
        for arrays in (features.arrays, moved)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_padding_is_zero_and_has_no_influence() -> None:
    features = track(c1_mean=random(5))
    name = ArrayName("c1/mean")
    filled = np.where(features.mask[..., None], features.arrays[name], 1e4)
    garbage = replace(features, arrays={name: filled})
    plain, other = (Preparation.fit(padded, TRAIN)(padded)[name] for padded in (features, garbage))
    assert torch.equal(plain, other)
    assert not plain[~features.mask].any()


columns_of_values = hnp.arrays(
    np.float64, st.tuples(st.integers(4, 30), st.just(1)), elements=st.floats(-1e6, 1e6, width=32)
)


@settings(max_examples=60, deadline=None)
@given(columns_of_values)
@example(np.array([[1.4e-45], [0.0], [0.0], [0.0]]))  # the scale underflows in float32
def test_squashing_preserves_the_order(values: np.ndarray) -> None:
    squashed = Squash.fit(values)(values)[:, 0]
    assert np.isfinite(squashed).all() and np.abs(squashed).max() <= CLIP
    assert (np.diff(squashed[np.argsort(values[:, 0], kind="stable")]) >= 0).all()


def test_outlier_does_not_compress_the_other_values() -> None:
    values = GENERATOR.normal(size=(200, 1))
    values[0] = 1e6
    squashed = Squash.fit(values)(values)
    assert squashed[1:].std() > 0.5
    plain = (values - values.mean()) / values.std()
    assert plain[1:].std() < 1e-3, "standardised alone, they would be nearly equal"


@pytest.mark.parametrize("constant", [0.0, 1.0, 333.25, -1e-3])
def test_column_that_is_constant_in_training_is_zero_everywhere(constant: float) -> None:
    values = random(4)
    values[TRAIN, :, 1] = constant
    features = track(c1_mean=values)
    prepared = Preparation.fit(features, TRAIN)(features)["c1/mean"]
    assert not prepared[..., 1].any()
    assert prepared[..., 0].any()


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf])
def test_non_finite_value_becomes_the_median_of_the_training_part(gap: float) -> None:
    values = random(4)
    values[3, 0, 2] = values[4, 0, 2] = gap  # one in the training part, one outside
    training_values = values[TRAIN][track(c1_mean=values).mask[TRAIN]][:, 2]
    filled = values.copy()
    filled[[3, 4], 0, 2] = np.median(training_values[np.isfinite(training_values)])
    features, expected = track(c1_mean=values), track(c1_mean=filled)
    preparation = Preparation.fit(features, TRAIN)
    assert torch.isfinite(preparation(features)["c1/mean"]).all()
    torch.testing.assert_close(preparation(features)["c1/mean"], preparation(expected)["c1/mean"])


def test_column_without_a_finite_value_in_training_is_zero() -> None:
    values = random(4)
    values[TRAIN, :, 0] = np.nan
    prepared = Preparation.fit(track(c1_mean=values), TRAIN)(track(c1_mean=values))["c1/mean"]
    assert not prepared[..., 0].any() and torch.isfinite(prepared).all()


def test_wide_levels_are_projected_onto_their_principal_components() -> None:
    few = random(6) @ GENERATOR.normal(size=(6, COMPONENTS + 40))
    features = track(last_mean=few, c1_mean=random(COMPONENTS))
    prepared = Preparation.fit(features, TRAIN)(features)
    assert prepared["c1/mean"].shape == (N, T, COMPONENTS), (
        "no wider than the number of components: unchanged"
    )
    frames = prepared["last/mean"][TRAIN][features.mask[TRAIN]]
    assert frames.shape[1] <= COMPONENTS
    variance = frames.square().mean(dim=0)
    assert variance[:6].sum() / variance.sum() > 0.95
    assert float(variance.mean()) == pytest.approx(1, rel=1e-3)


def test_statistics_of_a_level_share_one_basis() -> None:
    channels = COMPONENTS + 8
    grid = random(channels, 2, 2)
    # maps are squashed by their own values; without that the mean of the rotated map would equal
    # the rotated mean
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


def test_preparation_works_with_fewer_frames_than_components() -> None:
    features = track(last_mean=random(500))
    prepared = Preparation.fit(features, TRAIN[:5])(features)["last/mean"]
    assert torch.isfinite(prepared).all()
    assert prepared.shape[-1] <= COMPONENTS


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_principal_directions_keep_nearly_the_variance_of_the_exact_ones(decay: float) -> None:
    latent = GENERATOR.normal(size=(300, 200)) * np.arange(1, 201) ** -decay
    rows = (latent @ GENERATOR.normal(size=(200, 400))).astype(np.float32)
    exact = np.linalg.svd(rows, compute_uv=False)[:COMPONENTS] ** 2
    directions, _ = np.linalg.qr(principal_directions([rows]))
    assert np.square(rows @ directions).sum() > 0.995 * exact.sum()


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_that_prepare_change_no_bit(threads: int) -> None:
    wide = COMPONENTS + 9
    features = track(
        c1_mean=random(5), c1_std=random(5), c5_mean=random(wide), last_mean=random(wide)
    )
    preparation = Preparation.fit(features, TRAIN)
    alone = preparation.means(features)
    together = preparation.means(features, threads)
    assert list(together) == list(alone) == sorted(alone)
    for name, array in alone.items():
        assert array.abs().sum() > 0
        assert torch.equal(together[name], array)


def test_array_that_cannot_be_read_ends_threads_that_prepare_with_its_error() -> None:
    features = track(c1_mean=random(5), c1_std=random(5))
    preparation = Preparation.fit(features, TRAIN)
    with pytest.raises(KeyError, match="c1/std"):
        preparation.means(features.only(["mean"]), threads=2)
