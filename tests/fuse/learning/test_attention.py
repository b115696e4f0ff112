"""Attention over frames: its weights, the table that a run saves of it, and the sampler that
reads the table.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fitting import fit
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.extract.decoding.video import Video
from vqa_twostage.extract.samplers import content
from vqa_twostage.fuse.data import Dataset, load_dataset
from vqa_twostage.fuse.learning.attention import attention_table, gates_table
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.temporal.attention import build
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import Kind, TrackIdentity
from vqa_twostage.pipeline.spec import Spec

QUICK = TrainOptions(
    fusion="concat", temporal_encoder="attention", epochs=6, members=1, protocol="random:n=3"
)
FRAMES, COLUMNS, CONTENTS, VERSIONS = 6, 8, 20, 4


pytestmark = pytest.mark.usefixtures("one_thread")


# --- the encoder ---


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 40), st.integers(0, 100))
def test_attention_weights_sum_to_one_over_the_unmasked_frames(
    lengths: list[int], hidden: int, seed: int
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build(5, hidden=hidden)
        tokens = 10 * torch.randn(len(lengths), 7, 5)
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        encoded, weights = encoder(tokens, mask)
    assert torch.equal(encoded, tokens)
    assert (weights[mask] > 0).all() and not weights[~mask].any()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(lengths)))


def test_equal_frames_have_equal_attention_weights() -> None:
    tokens = torch.ones(1, 4, 3)
    _, weights = build(3)(tokens, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.full((1, 4), 0.25))


def test_attention_network_without_hidden_units_is_refused() -> None:
    with pytest.raises(UsageError, match="hidden must be at least 1, not 0"):
        build(8, hidden=0)


# --- a cache in which one frame of each video reveals its quality, and is marked ---


def informative_frame(row: int) -> int:
    return row * 5 % 3


def length_of(row: int) -> int:
    return FRAMES - row % 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    cache = tmp_path_factory.mktemp("cache")
    generator = np.random.default_rng(0)
    count = CONTENTS * VERSIONS
    mos = 3 + 0.6 * generator.normal(size=count)
    ids = [f"00{row}" if row % 2 else f'clip "{row}", second' for row in range(count)]
    groups = [f"content {row // VERSIONS}" for row in range(count)]
    paths = [f"{row}.mp4" for row in range(count)]
    columns = {
        "id": ids,
        "path": paths,
        "mos": mos,
        "mos_std": np.nan,
        "group": groups,
        "split": "",
    }
    manifest = Manifest("toy", "toy", "opinion", (1.0, 5.0), pd.DataFrame(columns))
    save_manifest(cache, manifest)
    kinds: tuple[Kind, ...] = ("spatial", "temporal")
    for kind in kinds:
        sampler = Spec("uniform", {"frames": "6"})
        identity = TrackIdentity(kind, Spec(f"{kind}net"), sampler)
        path = TrackPath.of(cache, "toy", f"{kind}net", identity)
        with write_track(path, identity, {"manifest": manifest.digest}) as track:
            for row, video_id in enumerate(ids):
                length = length_of(row)
                values = generator.normal(size=(length, COLUMNS))
                values[informative_frame(row), 0] = 6
                values[informative_frame(row), 4:] = 2 * (mos[row] - 3) / 0.6
                index = np.arange(length)
                features = VideoFeatures(
                    {ArrayName("last/mean"): values}, index, index / 3, VideoAttributes("none")
                )
                track.write(video_id, features)
    return load_dataset(cache, None, None, None)


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "attention"
    train_run(data, replace(QUICK, epochs=120, protocol="random:n=1"), folder)
    return folder


def table(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "attention.csv", dtype={"id": str})


@pytest.mark.long
def test_attention_table_of_a_run_holds_every_frame_of_every_video(
    run: Path, data: Dataset
) -> None:
    saved = table(run)
    assert list(saved.columns) == ["id", "timestamp", "spatial", "temporal", "importance"]
    assert list(saved["id"].unique()) == list(data.manifest.rows["id"])
    for row, video_id in enumerate(data.manifest.rows["id"]):
        frames = saved[saved["id"] == video_id]
        assert np.array_equal(frames["timestamp"], np.arange(length_of(row)) / 3)
        for stream in ("spatial", "temporal", "importance"):
            assert (frames[stream] > 0).all()
            assert frames[stream].sum() == pytest.approx(1, abs=1e-12)
    assert saved["importance"].to_numpy() == pytest.approx(
        (saved["spatial"] + saved["temporal"]) / 2
    )


def test_attention_is_highest_at_the_informative_frames(run: Path, data: Dataset) -> None:
    saved, pairs = table(run), []
    for row, video_id in enumerate(data.manifest.rows["id"]):
        importance = saved[saved["id"] == video_id]["importance"].to_numpy()
        pairs.append(
            (
                importance[informative_frame(row)],
                np.delete(importance, informative_frame(row)).max(),
            )
        )
    marked, others = np.array(pairs).T
    assert (marked > others).mean() > 0.9
    assert marked.mean() > 1.2 * others.mean()


def test_attention_of_a_video_is_the_mean_over_the_splits_that_test_it(
    data: Dataset, tmp_path: Path
) -> None:
    train_run(data, QUICK, tmp_path)
    split_list = splits(QUICK.protocol, data.manifest.rows, QUICK.seed)[1]
    fitted = [fit(data, split, QUICK) for split in split_list]
    saved, test_counts = table(tmp_path), set()
    for row, video_id in enumerate(data.manifest.rows["id"]):
        testing_splits = [number for number, split in enumerate(split_list) if row in split.test]
        test_counts.add(len(testing_splits))
        averaged_splits = testing_splits or range(len(split_list))
        for name in ("spatial", "temporal"):
            expected = np.mean(
                [getattr(fitted[number].weights, name)[row] for number in averaged_splits], axis=0
            )
            frames = saved[saved["id"] == video_id][name]
            assert frames.to_numpy() == pytest.approx(expected[: length_of(row)], abs=1e-6)
    assert {0, 1} <= test_counts, "some videos are in no test part, some in one"


def one_result(
    data: Dataset, spatial: np.ndarray, temporal: np.ndarray, **gates: np.ndarray
) -> list[Fitted]:
    return [Fitted(data.mos, 1, Streams(spatial, temporal), gates)]


def test_attention_of_a_track_with_other_timestamps_is_added_to_the_nearest_frame(
    data: Dataset,
) -> None:
    (spatial,), (temporal,) = data.features
    later = replace(temporal, timestamp=temporal.timestamp + 0.3)
    shifted = replace(data, features=Streams((spatial,), (later,)))
    equal = spatial.frame_shares()
    first = np.zeros_like(equal)
    first[:, 0] = 1
    split_list = splits("random:n=1", data.manifest.rows)[1]
    saved = attention_table(shifted, split_list, one_result(data, first, equal))
    assert saved is not None
    # frames are a third of a second apart: a frame shifted by 0.3 s is nearest to its successor,
    # and the last frame to itself
    assert saved["temporal"][:FRAMES].tolist() == pytest.approx(
        [0, *[1 / FRAMES] * (FRAMES - 2), 2 / FRAMES]
    )
    assert saved.groupby("id")["temporal"].sum().to_numpy() == pytest.approx(1)
    assert saved["spatial"][:FRAMES].tolist() == [1, *[0] * (FRAMES - 1)]


# --- gates ---


@pytest.mark.parametrize(
    ("fusion", "gate", "width"), [("dynamic:experts=3", "experts", 3), ("gated", "modality", 2)]
)
def test_gates_of_a_fusion_are_saved_with_the_run(
    data: Dataset, fusion: str, gate: str, width: int, tmp_path: Path
) -> None:
    train_run(data, replace(QUICK, fusion=fusion, temporal_encoder="mean"), tmp_path)
    saved = pd.read_csv(tmp_path / "gates.csv", dtype={"id": str})
    gates = [f"{gate}.{number}" for number in range(width)]
    tracks = [name for name in saved.columns if name.startswith("track.")]
    assert list(saved.columns) == ["id", "mos", *gates, *tracks] and len(tracks) == 2
    assert list(saved["id"]) == list(data.manifest.rows["id"])
    for weights in (gates, tracks):
        assert saved[weights].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert saved[f"{gate}.0"].std() > 0


def test_gates_of_a_video_are_those_of_the_splits_that_test_it(data: Dataset) -> None:
    split_list = splits("kfold:k=2", data.manifest.rows)[1]
    equal = data.features.spatial[0].frame_shares()
    fitted = [
        Fitted(
            data.mos, 1, Streams(equal, equal), {"experts": np.tile(weights, (len(data.mos), 1))}
        )
        for weights in ([0.1, 0.9], [0.6, 0.4])
    ]
    saved = gates_table(data, split_list, fitted)
    assert saved is not None
    for split, expected in zip(split_list, (0.1, 0.6), strict=True):
        assert saved["experts.0"].to_numpy()[split.test] == pytest.approx(expected)


def test_fusion_without_gates_saves_what_each_track_decided_where_there_are_several(
    data: Dataset, tmp_path: Path
) -> None:
    short = replace(QUICK, epochs=3, protocol="random:n=1", temporal_encoder="mean")
    train_run(data, short, tmp_path)
    columns = pd.read_csv(tmp_path / "gates.csv").columns[2:]
    assert [name.partition(".")[0] for name in columns] == ["track", "track"]
    single = replace(data, features=Streams(data.features.spatial, data.features.spatial))
    train_run(single, short, tmp_path)
    assert not (tmp_path / "gates.csv").exists()


def test_run_without_attention_removes_an_older_attention_table(
    data: Dataset, tmp_path: Path
) -> None:
    short = replace(QUICK, epochs=3, protocol="random:n=1")
    train_run(data, short, tmp_path)
    assert (tmp_path / "attention.csv").is_file()
    train_run(data, replace(short, temporal_encoder="mean"), tmp_path)
    assert not (tmp_path / "attention.csv").exists()


# --- the sampler that reads it ---


class VideoStub(SimpleNamespace):
    """A video with only the attributes that importance reads."""

    def __len__(self) -> int:
        return len(self.timestamps)


Video.register(VideoStub)


def test_content_sampler_interpolates_the_attention_of_a_run(run: Path, data: Dataset) -> None:
    sampler, saved = content.build(importance=str(run)), table(run)
    for row in (0, 7, 20):
        video_id = data.manifest.rows["id"][row]
        # twice as many frames as the run sampled, over the same duration
        video = VideoStub(id=video_id, timestamps=np.arange(2 * length_of(row)) / 6)
        importance = sampler.importance(video)
        expected = saved[saved["id"] == video_id]["importance"].to_numpy()
        assert importance[::2] == pytest.approx(expected, abs=1e-12)
        assert importance[1:-1:2] == pytest.approx((expected[1:] + expected[:-1]) / 2, abs=1e-12)
    assert content.build(importance=str(run)).digest == sampler.digest
