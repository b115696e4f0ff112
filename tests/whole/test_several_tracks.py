"""Runs of several tracks in each stream learn, are reproduced, and score as they predict."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import called, document
from forging import Document, change_record, read_model, write_model
from toy_cache import (
    FRAMES,
    add_track,
    each_track,
    labels,
    make_cache,
    manifest_of,
    write_features,
)

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.cross_dataset import evaluate_on
from vqa_twostage.fuse.data import Dataset, Features, load_dataset, load_tracks
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.report import write_report
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import train
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.errors import UsageError

ALL = TrainOptions(
    fusion="concat",
    spatial="all",
    temporal="all",
    epochs=12,
    members=2,
    protocol="random:n=2",
)
# of the two tracks in each stream: as `wide_cache` has them, in the order of their names
FRAMES_OF = Streams([7, FRAMES], [1, FRAMES])
MEANS = ("concat", "dynamic")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def wide_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two spatial and two temporal tracks, of different numbers of frames."""
    cache = make_cache(tmp_path_factory.mktemp("wide") / "cache")
    add_track(cache, "spatial", "anothernet", 7)
    add_track(cache, "temporal", "short_tempo", 1)
    return cache


@pytest.fixture(scope="module")
def runs(wide_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of each of the heads of means."""
    folder = tmp_path_factory.mktemp("runs")
    for fusion in MEANS:
        train(wide_cache, replace(ALL, fusion=fusion), run=folder / fusion)
    return {fusion: folder / fusion for fusion in MEANS}


@pytest.fixture(scope="module")
def cross_modal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that reads frames: two tracks of equal frames and one of a single frame in a stream,
    two of equal frames in the other.
    """
    folder = tmp_path_factory.mktemp("frames")
    cache = make_cache(folder / "cache")
    add_track(cache, "spatial", "anothernet", FRAMES)
    add_track(cache, "spatial", "onenet", 1)
    add_track(cache, "temporal", "short_tempo", FRAMES)
    train(cache, replace(ALL, fusion="cross_modal", protocol="random:n=1"), run=folder / "run")
    return folder / "run"


def data_of(run: Path) -> Dataset:
    tracks = Run(run).tracks()
    return load_tracks(
        load_cached_manifest(tracks.cache, "toy"), Streams(tracks.spatial, tracks.temporal)
    )


def first_videos(data: Dataset, count: int) -> Streams[tuple[Features, ...]]:
    return each_track(
        data,
        lambda track: replace(
            track,
            arrays={name: array[:count] for name, array in track.arrays.items()},
            mask=track.mask[:count],
            timestamp=track.timestamp[:count],
        ),
    )


@pytest.mark.parametrize("fusion", MEANS)
def test_run_learns_the_quality_from_all_tracks(fusion: str, runs: dict[str, Path]) -> None:
    table = Run(runs[fusion]).predictions()
    for _, rows in table[table["part"] == "test"].groupby("split"):
        assert metrics.srcc(rows["predicted"].to_numpy(), rows["mos"].to_numpy()) > 0.7


@pytest.mark.parametrize("fusion", MEANS)
def test_record_names_every_track_of_the_run(fusion: str, runs: dict[str, Path]) -> None:
    record, data = Run(runs[fusion]).record(), data_of(runs[fusion])
    assert record.options.spatial == record.options.temporal == ("all",)
    assert data.features.map(lambda side: [track.mask.shape[1] for track in side]) == FRAMES_OF
    assert Streams(record.identity.spatial, record.identity.temporal) == data.identities
    assert record.content == data.content and len(record.content) == 4
    assert [len(record.cache.spatial), len(record.cache.temporal)] == [2, 2]


@pytest.mark.parametrize("fusion", MEANS)
def test_run_is_reproduced_to_the_last_bit(fusion: str, runs: dict[str, Path]) -> None:
    found = reproduce_run(runs[fusion])
    assert found.equal and found.changed == []


@pytest.mark.long
def test_run_is_finished_whatever_its_tracks_are_called(
    wide_cache: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(runs["concat"], tmp_path / "run")
    assert train(wide_cache, ALL, run=run).was_finished
    words = ["--cache", wide_cache, "--fusion", "concat", "--epochs", "12", "--members", "2"]
    words += ["--protocol", "random:n=2", "--json"]
    for tracks in (
        ["--spatial", "all", "--temporal", "all"],
        [
            *["--spatial", "spatialnet", "--spatial", "anothernet"],
            *["--temporal", "temporalnet", "--temporal", "short_tempo"],
        ],
    ):
        result = called("vqa-fuse", "train", *words, *tracks, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        (folder,) = (tmp_path / "runs").iterdir()
        assert document(result)["run"] == f"runs/{folder.name}"
    identity = Run(runs["concat"]).record().identity
    assert folder.name == f"toy-concat-{identity.digest}"


@pytest.mark.parametrize("fusion", MEANS)
def test_saved_model_scores_on_the_scale_of_the_labels_in_any_batch(
    fusion: str, runs: dict[str, Path]
) -> None:
    scorer, data = saved.load(runs[fusion]), data_of(runs[fusion])
    scores = scorer.scores(data.features)
    assert metrics.srcc(scores, labels(data)) > 0.9
    assert np.abs(scores - labels(data)).mean() < 0.4
    few = first_videos(data, 5)
    np.testing.assert_allclose(scorer.scores(few), scores[:5], atol=1e-5)
    weights = scorer.predict_with_details(data.features).output.weights
    frames = Streams(data.features.spatial[0], data.features.temporal[1])
    for found, track in weights.zip(frames):
        np.testing.assert_allclose(found.numpy(), track.frame_shares(), atol=1e-6)


@pytest.mark.parametrize("stream", ["spatial", "temporal"])
@pytest.mark.parametrize("number", [0, 1])
def test_scores_depend_on_every_track(number: int, stream: str, runs: dict[str, Path]) -> None:
    scorer, data = saved.load(runs["concat"]), data_of(runs["concat"])
    sides = dict(data.features.items())
    tracks = list(sides[stream])
    arrays = {name: -array for name, array in tracks[number].arrays.items()}
    tracks[number] = replace(tracks[number], arrays=arrays)
    changed = Streams(**{**sides, stream: tuple(tracks)})
    assert np.abs(scorer.scores(changed) - scorer.scores(data.features)).max() > 0.05


def test_features_that_a_track_lacks_are_refused(runs: dict[str, Path]) -> None:
    scorer, data = saved.load(runs["dynamic"]), data_of(runs["dynamic"])
    first, second = data.features.spatial
    narrow = replace(second, arrays={name: array[..., :5] for name, array in second.arrays.items()})
    with pytest.raises(UsageError, match=r"spatialnet-\S+ c1/\w+ has 5 columns.*trained on 16"):
        scorer.scores(replace(data.features, spatial=(first, narrow)))


@pytest.mark.long
def test_model_reads_the_tracks_of_another_dataset_in_its_own_order(tmp_path: Path) -> None:
    """Files of one extractor are told apart by digests, which sort otherwise in each dataset."""
    cache, extractors = tmp_path / "cache", ("net:a=./x", "net:a=./other/x", "net:a=./the/last/x")
    raws = {"one": "", "two": "64x64 yuv420p 30", "three": "32x32 yuv420p 30"}
    for name, raw in raws.items():
        manifest = manifest_of(name, 8, 4)
        save_manifest(cache, manifest)
        for extractor in extractors:
            write_features(cache, manifest, "spatial", extractor, raw=raw)
    run = tmp_path / "run"
    train(cache, replace(ALL, temporal=None, protocol="random:n=1"), "one", run)
    orders, scores = set(), []
    for name in raws:
        identities = load_dataset(cache, name, "all", None).identities.spatial
        orders.add(tuple(str(identity.extractor) for identity in identities))
        scores.append([row.predicted for row in evaluate_on(run, name).predictions])
    assert len(orders) > 1
    assert scores[1] == scores[0] and scores[2] == scores[0], "of equal videos"


@pytest.mark.parametrize("action", ["reproduce", "evaluate"])
def test_a_temporal_track_that_came_later_is_not_read(action: str, tmp_path: Path) -> None:
    cache, run = tmp_path / "cache", tmp_path / "run"
    manifest = manifest_of("toy", 8, 4)
    save_manifest(cache, manifest)
    write_features(cache, manifest, "spatial")
    train(cache, replace(ALL, temporal=None, epochs=2, protocol="random:n=1"), run=run)
    before = evaluate_on(run, "toy")
    add_track(cache, "temporal", "temporalnet", FRAMES)
    if action == "reproduce":
        assert reproduce_run(run).equal
    else:
        assert evaluate_on(run, "toy") == before


# --- heads that read frames ---


def test_head_of_frames_reads_tracks_of_equal_frames_and_of_one_frame(cross_modal: Path) -> None:
    table = Run(cross_modal).predictions()
    tested = table[table["part"] == "test"]
    assert metrics.srcc(tested["predicted"].to_numpy(), tested["mos"].to_numpy()) > 0.7
    assert reproduce_run(cross_modal).equal
    scorer, data = saved.load(cross_modal), data_of(cross_modal)
    scores = scorer.scores(data.features)
    assert metrics.srcc(scores, labels(data)) > 0.9
    # the fifth video is shorter than those beside it
    np.testing.assert_allclose(scorer.scores(first_videos(data, 5)), scores[:5], atol=1e-5)
    found = scorer.predict_with_details(data.features).output.weights
    for weights, (track, *_) in found.zip(data.features):
        assert weights.shape == track.mask.shape
        assert not weights.numpy()[~track.mask].any()


def test_attention_of_several_tracks_is_of_the_frames_that_they_share(
    tmp_path: Path, cross_modal: Path
) -> None:
    cache = Run(cross_modal).cache()
    options = replace(ALL, temporal_encoder="attention", epochs=4, protocol="random:n=1")
    train(cache, options, run=tmp_path / "run")
    table = pd.read_csv(Run(tmp_path / "run").attention_file, dtype={"id": str})
    assert table.groupby("id").size().tolist() == [FRAMES - row % 5 // 4 for row in range(60)]
    for column in ("spatial", "temporal", "importance"):
        assert table.groupby("id")[column].sum().to_numpy() == pytest.approx(1)
    assert reproduce_run(tmp_path / "run").equal


def test_head_of_frames_is_refused_for_tracks_of_other_frames(
    wide_cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="were sampled differently .*this head reads frames"):
        train(wide_cache, replace(ALL, fusion="cross_modal"), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what else reads the tracks of a run ---


def test_report_names_every_track_and_the_command_that_trains_again(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    run, cache = runs["dynamic"], Run(runs["dynamic"]).cache()
    options = replace(ALL, spatial=["anothernet", "spatialnet"], epochs=1, protocol="random:n=1")
    train(cache, options, run=tmp_path / "run")
    write_report([run, tmp_path / "run"], tmp_path / "report.html")
    text = html.unescape((tmp_path / "report.html").read_text())
    for name in ("anothernet", "spatialnet", "short_tempo", "temporalnet"):
        assert re.search(rf"{re.escape(str(cache))}/toy/\S+/{name}-[0-9a-f]{{10}}\.h5", text)
    assert "--spatial all --temporal all" in text
    assert "--spatial anothernet --spatial spatialnet --temporal all" in text


def test_baseline_reads_the_columns_of_every_track(wide_cache: Path, tmp_path: Path) -> None:
    predictions = []
    for spatial in ("all", "spatialnet"):
        options = TrainOptions(
            baseline="ridge", spatial=spatial, temporal="all", protocol="random:n=1"
        )
        train(wide_cache, options, run=tmp_path / spatial)
        predictions.append(Run(tmp_path / spatial).predictions()["predicted"].to_numpy())
        assert reproduce_run(tmp_path / spatial).equal
    assert np.abs(predictions[0] - predictions[1]).max() > 0.01


@pytest.mark.long
def test_every_variant_of_an_ablation_reads_all_tracks(wide_cache: Path, tmp_path: Path) -> None:
    words = ["--cache", wide_cache, "--fusion", "concat,gated", "--epochs", "2", "--members", "1"]
    words += ["--protocol", "random:n=1", "--spatial", "all", "--temporal", "all", "--json"]
    result = called("vqa-fuse", "ablate", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = document(result)["rows"]
    assert {row["name"] for row in rows} == {"concat", "gated"}
    for row in rows:
        identity = Run(tmp_path / row["run"]).record().identity
        assert [len(identity.spatial), len(identity.temporal)] == [2, 2]


# --- files of strangers ---


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("identity", [], r"identity\.spatial names no track"),
        ("identity", [[]], r"identity\.spatial is \[\[\]\]"),
        ("identity", [3, "net"], r"identity\.spatial is \[3, 'net'\]"),
        ("identity", [{"kind": "spatial"}], "an identity lacks extractor, sampler"),
        ("identity", "net", r"identity\.spatial is 'net'"),
        ("cache", [], "it names no track of one of the streams"),
        ("cache", "toy/uniform/net-0.h5", r"cache\.spatial is 'toy/uniform/net-0\.h5'"),
        ("cache", [3], r"cache\.spatial is \[3\]"),
        ("cache", ["toy/uniform/net-0.h5", "../a/b.h5"], r"'\.\./a/b\.h5' is no track in a cache"),
        ("options", [3], r"options\.spatial is \[3\]"),
        ("options", {"a": 1}, r"options\.spatial is \{'a': 1\}"),
    ],
)
def test_record_whose_tracks_are_none_is_refused(
    where: str, value: object, message: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(runs["concat"], tmp_path / "run"))
    change_record(run, lambda record: record[where].update(spatial=value))
    with pytest.raises(
        UsageError, match=f"is not the record of a run of this program: .*{message}"
    ):
        Run(run).record()


def forged(run: Path, folder: Path, change: Callable[[Document], object]) -> Path:
    copy = Path(shutil.copytree(run, folder))
    about, tensors = read_model(copy / saved.FILE)
    change(about)
    write_model(copy / saved.FILE, about, tensors)
    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tracks: tracks["spatial"].clear(), "is no list of 1 to 100 tracks"),
        (
            lambda tracks: tracks["temporal"].append(tracks["temporal"][0]),
            "arrays of temporal are not of the tracks short_tempo, temporalnet, short_tempo_2",
        ),
        (
            lambda tracks: tracks["temporal"].extend(tracks["temporal"] * 10**5),
            "is no list of 1 to 100 tracks",
        ),
        (lambda tracks: tracks.update(spatial=tracks["spatial"][0]), "is no list of 1 to 100"),
        (
            lambda tracks: tracks["spatial"][0].update(extractor="other"),
            "arrays of spatial are not of the tracks other, spatialnet",
        ),
    ],
)
def test_model_whose_arrays_are_of_other_tracks_is_refused(
    change: Callable[[Document], object],
    message: str,
    runs: dict[str, Path],
    tmp_path: Path,
) -> None:
    run = forged(
        runs["concat"], tmp_path / "run", lambda about: change(about["training"]["tracks"])
    )
    with pytest.raises(UsageError, match=f"model.safetensors is damaged .*{message}"):
        saved.load(run)


def test_model_of_other_numbers_of_tracks_than_its_record_is_refused(
    runs: dict[str, Path], cross_modal: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(runs["concat"], tmp_path / "run"))
    shutil.copyfile(cross_modal / saved.FILE, run / saved.FILE)
    message = "the model was trained on 3 spatial tracks, and there are 2"
    with pytest.raises(UsageError, match=message):
        evaluate_on(run, "toy")
