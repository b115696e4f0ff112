"""Features that are the label are refused with their name, unless they are allowed by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from toy_cache import make_dataset, manifest_of

from vqa_twostage.fuse.cli import command as fuse_command
from vqa_twostage.fuse.data import Dataset, Features, load_dataset
from vqa_twostage.fuse.leakage import check_leakage, label_like_columns
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline.cache.feature_blocks import parse_block
from vqa_twostage.pipeline.cache.importing import import_blocks
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName

RIDGE = TrainOptions(baseline="ridge", protocol="random:n=2")


def write(folder: Path, mos: np.ndarray, arrays: dict[str, np.ndarray]) -> Path:
    """A cache with a spatial track of each array; labels are ``mos``."""
    manifest = manifest_of("own", contents=len(mos), versions=1)
    manifest = replace(manifest, rows=manifest.rows.assign(mos=mos))
    np.savez(folder / "f.npz", ids=manifest.rows["id"].to_numpy(str), **arrays)
    blocks = [parse_block(f"{name}=spatial") for name in arrays]
    import_blocks(manifest, folder / "cache", folder / "f.npz", blocks)
    return folder / "cache"


def dataset(folder: Path, array: np.ndarray, mos: np.ndarray, **options: int) -> Dataset:
    return load_dataset(write(folder, mos, {"net": array}), None, None, None, **options)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape)


MOS = 3 + 0.6 * np.random.default_rng(5).normal(size=60)
# what becomes of a label on its way into a table of features
DISGUISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "itself": lambda mos: mos,
    "the other way round": lambda mos: 100 - 20 * mos,
    "curved": lambda mos: np.exp(mos),
    "rounded": lambda mos: np.round(mos, 1),
    "almost": lambda mos: mos + 0.02 * noise(len(mos)),
    "its rank": lambda mos: mos.argsort().argsort().astype(float),
    "with gaps": lambda mos: np.where(np.arange(len(mos)) == 7, np.nan, mos),
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("max_ram", [None, 1])
def test_column_that_is_the_label_is_refused_by_name(
    disguise: str, max_ram: int | None, tmp_path: Path
) -> None:
    array = noise(60, 2, 9)
    # the mean over the frames is the label, no frame is
    array[:, :, 4] = DISGUISES[disguise](MOS)[:, None] + [[-1.5, 1.5]]
    data = load_dataset(write(tmp_path, MOS, {"net": array}), None, None, None, max_ram=max_ram)
    with pytest.raises(UsageError) as error:
        check_leakage(data, RIDGE)
    message = str(error.value)
    assert f"column 4 of net/mean in the track {data.features.spatial[0].path.stem}" in message
    assert "the 60 videos" in message and "--allow-label-like 'net/mean[4]'" in message
    (found,) = label_like_columns(data.features.spatial[0], MOS)
    if disguise != "with gaps":
        expected = spearmanr(np.float32(array).mean(axis=1)[:, 4], MOS).statistic
        assert found.srcc == pytest.approx(expected, abs=1e-3)
    check_leakage(data, replace(RIDGE, allow_label_like="net/mean[4]"))
    with pytest.raises(UsageError, match="column 4"):
        check_leakage(data, replace(RIDGE, allow_label_like="net/mean[40],other/mean[4]"))


@pytest.mark.parametrize("noise_share", [0.3, 0.5])
def test_column_as_good_as_the_best_methods_is_a_feature(
    noise_share: float, tmp_path: Path
) -> None:
    array = np.column_stack([MOS + 0.6 * noise_share * noise(120)[60:], noise(60)])
    assert 0.8 < spearmanr(array[:, 0], MOS).statistic < 0.97
    check_leakage(dataset(tmp_path, array, MOS), RIDGE)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_column_of_one_value_says_nothing_even_where_videos_are_sorted(
    value: float, tmp_path: Path
) -> None:
    array = np.column_stack([np.full(60, value), np.repeat([0.0, 1.0], 30)])
    check_leakage(dataset(tmp_path, array, np.sort(MOS)), RIDGE)


def test_few_videos_or_equal_labels_are_no_reason_to_refuse(tmp_path: Path) -> None:
    for number, mos in enumerate((MOS[:19], np.full(60, 3.0))):
        (folder := tmp_path / str(number)).mkdir()
        check_leakage(dataset(folder, np.column_stack([mos, mos]), mos), RIDGE)


def test_several_columns_are_counted_and_named(tmp_path: Path) -> None:
    data = dataset(tmp_path, np.column_stack([MOS, noise(60), -MOS, MOS**3]), MOS)
    message = "2 more columns do so.*--allow-label-like 'net/mean\\[0\\],net/mean\\[2\\],net/mean"
    with pytest.raises(UsageError, match=message):
        check_leakage(data, RIDGE)


@pytest.mark.long
@pytest.mark.parametrize("command", ["train", "ablate"])
def test_commands_refuse_a_label_and_take_it_where_it_is_allowed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, MOS, {"net": np.column_stack([noise(60, 3), MOS])})
    monkeypatch.chdir(tmp_path)
    words = [command, "--protocol", "random:n=2", "--workers", "1", "--json"]
    words += ["--baseline", "ridge"] if command == "train" else ["--baselines", "ridge"]
    if command == "ablate":
        words += ["--fusion", "concat", "--epochs", "2", "--members", "1"]
    runner = CliRunner()
    refused = runner.invoke(fuse_command, words, standalone_mode=False).exception
    assert isinstance(refused, UsageError) and "SRCC 1.000" in str(refused)
    assert not Path("runs").exists()
    words += ["--allow-label-like", "net/mean[3]"]
    allowed = runner.invoke(fuse_command, words, standalone_mode=False)
    assert allowed.exception is None and json.loads(allowed.stdout)["n_videos"] == 60


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 90), st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.booleans())
def test_refused_columns_are_those_whose_srcc_is_beyond_the_limit(
    videos: int, seed: int, spread: float, coarse: bool
) -> None:
    generator = np.random.default_rng(seed)
    mos = generator.normal(size=videos)
    values = mos[:, None] + spread * generator.normal(size=(videos, 12))
    values = np.round(values, 1) if coarse else values
    values = values.astype(np.float32)
    features = plain_features(values)
    found = {like.column for like in label_like_columns(features, mos)}
    scores = [abs(spearmanr(values[:, column], mos).statistic) for column in range(12)]
    assert found == {column for column, score in enumerate(scores) if score > 0.98}


def plain_features(values: np.ndarray) -> Features:
    """Features of one frame a video, in memory alone."""
    toy = make_dataset("toy", 1, 2).features.spatial[0]
    mask = np.ones((len(values), 1), bool)
    arrays = {ArrayName.of("net", "mean"): values[:, None, :]}
    return replace(toy, arrays=arrays, mask=mask, timestamp=np.zeros(mask.shape))


@pytest.mark.real
def test_published_features_are_far_from_the_labels(real: Path) -> None:
    with np.load(real / "features" / "konvid1k.npz") as arrays:
        blocks = {name: arrays[name] for name in arrays.files if name not in ("ids", "mos")}
        mos = arrays["mos"]
    best = 0.0
    for block in blocks.values():
        assert not list(label_like_columns(plain_features(block), mos))
        finite = np.nan_to_num(block)[:, np.ptp(np.nan_to_num(block), axis=0) > 0]
        best = max(best, *(abs(spearmanr(column, mos).statistic) for column in finite.T))
    assert 0.8 < best < 0.9  # DOVER's; the limit leaves room for better ones
    label = plain_features(np.column_stack([blocks["videval"], mos]).astype(np.float32))
    assert [like.column for like in label_like_columns(label, mos)] == [60]
