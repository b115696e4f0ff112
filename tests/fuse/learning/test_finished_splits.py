"""What an interrupted training finished is kept, and only the same training goes on with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_cache import make_cache

from vqa_twostage.fuse import train as training
from vqa_twostage.fuse.averaging import Setting
from vqa_twostage.fuse.learning import fit_groups as fitting
from vqa_twostage.fuse.learning.finished_splits import FinishedSplits
from vqa_twostage.fuse.learning.fit import AxisFit, Fitted
from vqa_twostage.fuse.learning.fit_groups import Fit
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.results import Evaluation
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import train
from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track

QUICK = TrainOptions(fusion="concat", epochs=2, members=1, protocol="random:n=4")
RIDGE = TrainOptions(baseline="ridge", protocol="random:n=4")

pytestmark = pytest.mark.usefixtures("one_thread")


class Fits:
    """Counts the splits that are fitted, and is interrupted before the one of number ``at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None = None) -> None:
        self.at, self.seeds, self.real = at, list[int](), fitting.fit_one
        monkeypatch.setattr(fitting, "fit_one", self)

    def __call__(self, features: PreparedFeatures, fit: Fit) -> Fitted:
        if len(self.seeds) == self.at:
            raise KeyboardInterrupt
        self.seeds.append(fit.split.seed)
        return self.real(features, fit)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    make_cache(folder, "toys", 8, 3)
    return folder


@pytest.fixture(scope="module", params=[QUICK, RIDGE], ids=["head", "baseline"])
def options(request: pytest.FixtureRequest) -> TrainOptions:
    chosen: TrainOptions = request.param
    return chosen


@pytest.fixture(scope="module")
def undisturbed(
    cache: Path, options: TrainOptions, tmp_path_factory: pytest.TempPathFactory
) -> Evaluation:
    return train(cache, options, run=tmp_path_factory.mktemp("undisturbed") / "run")


def replace_one_video(cache: Path) -> None:
    path = next(cache.glob("toys/*/spatial*.h5"))
    with open_track(path) as track:
        identity, name = track.identity, track.ids[0]
        video = track.read(name)
    arrays = {key: array + 1 for key, array in video.arrays.items()}
    with write_track(path, identity, {}) as writer:
        writer.write(name, replace(video, arrays=arrays))


def raise_one_label(cache: Path) -> None:
    manifest = load_cached_manifest(cache, "toys")
    mos = manifest.rows["mos"].to_numpy().copy()
    mos[0] += 0.125
    save_manifest(cache, replace(manifest, rows=manifest.rows.assign(mos=mos)))


def interrupted(
    cache: Path, options: TrainOptions, run: Path, monkeypatch: pytest.MonkeyPatch, at: int = 2
) -> None:
    with monkeypatch.context() as patch:
        Fits(patch, at)
        with pytest.raises(KeyboardInterrupt):
            train(cache, options, run=run)
    assert not Run(run).complete


@pytest.mark.parametrize(
    "at", [pytest.param(0, marks=pytest.mark.long), 1, pytest.param(3, marks=pytest.mark.long)]
)
def test_an_interrupted_training_goes_on_and_ends_as_an_undisturbed_one(
    cache: Path,
    options: TrainOptions,
    undisturbed: Evaluation,
    at: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, told = tmp_path / "run", []
    interrupted(cache, options, run, monkeypatch, at)
    fits = Fits(monkeypatch)
    train(cache, options, run=run, on_progress=lambda done, total: told.append((done, total)))
    assert (len(fits.seeds), told[0], told[-1]) == (4 - at, (at, 4), (4, 4))
    files = {path.name for path in undisturbed.run.iterdir()}
    assert {path.name for path in run.iterdir()} == files
    for name in files - {"run.json", "scatter.png"}:  # a run's record has its seconds
        assert (run / name).read_bytes() == (undisturbed.run / name).read_bytes()


def test_a_training_interrupted_after_its_last_split_fits_none_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "refit", pressed)
        with pytest.raises(KeyboardInterrupt):
            train(cache, QUICK, run=tmp_path / "run")
    fits = Fits(monkeypatch)
    train(cache, QUICK, run=tmp_path / "run")
    assert fits.seeds == []


@pytest.mark.long
@pytest.mark.parametrize("change", [{"seed": 7}, {"epochs": 5}, {"fusion": "gated"}])
def test_another_training_in_the_same_folder_takes_nothing_of_it(
    cache: Path, change: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(cache, QUICK, tmp_path / "run", monkeypatch)
    fits = Fits(monkeypatch)
    train(cache, replace(QUICK, **change), run=tmp_path / "run")  # type: ignore[arg-type]
    assert len(fits.seeds) == 4


@pytest.mark.long
@pytest.mark.parametrize("what", ["features", "labels"])
def test_splits_and_runs_of_other_features_or_labels_are_trained_again(
    cache: Path,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    interrupted(cache, QUICK, tmp_path / "begun", monkeypatch)
    train(cache, QUICK, run=tmp_path / "whole")
    other = tmp_path / "other"
    shutil.copytree(cache, other)
    if what == "features":
        replace_one_video(other)
    else:
        raise_one_label(other)
    for name in ("begun", "whole"):
        with monkeypatch.context() as patch:
            fits = Fits(patch)
            assert not train(other, QUICK, run=tmp_path / name).was_finished
        assert len(fits.seeds) == 4
    told = {"features": "features changed", "labels": "1 label changed"}[what]
    said = [record.getMessage() for record in caplog.records if record.name == training.__name__]
    assert said == [f"{tmp_path / 'whole'} is trained again: {told} since"]


@pytest.mark.long
def test_a_finished_run_is_reported_unless_it_is_asked_for_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    first = train(cache, QUICK, run=run)
    fits = Fits(monkeypatch)
    second = train(cache, QUICK, run=run)
    assert second.was_finished and not first.was_finished and fits.seeds == []
    assert second.to_json() == first.to_json()
    assert not train(cache, QUICK, run=run, again=True).was_finished and len(fits.seeds) == 4


@pytest.mark.long
@pytest.mark.parametrize("lost", ["predictions.csv", "model.safetensors", "run.json"])
def test_a_run_that_lost_a_file_is_not_finished(
    cache: Path, lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(cache, QUICK, run=run)
    (run / lost).unlink()
    assert not train(cache, QUICK, run=run).was_finished and (run / lost).is_file()


def test_again_fits_what_an_interrupted_training_finished(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(cache, QUICK, tmp_path / "run", monkeypatch)
    fits = Fits(monkeypatch)
    train(cache, QUICK, run=tmp_path / "run", again=True)
    assert len(fits.seeds) == 4


FITTED = Fitted(
    np.array([1.5, np.nan, 3.25]),
    7,
    Streams(np.ones((3, 2), np.float32), np.zeros((3, 0), np.float32)),
    {"a gate/of two": np.array([[0.25, 0.75]] * 3, np.float32)},
    np.nan,
    {1: 0.1, 5: float("nan"), 7: 0.3},
    {"ridge": Setting(2, 10.0), "kernel_ridge": Setting(0, 0.25)},
    2.5,
    True,
    {"technical": AxisFit(np.array([0.5, 1.0, np.nan]), {"ridge": Setting(1, 0.5)})},
)


def test_a_finished_split_is_read_as_it_was_kept(tmp_path: Path) -> None:
    splits = FinishedSplits(tmp_path / "splits", "a", "b")
    splits.save(3, FITTED)
    (place, found), *others = splits.load(4).items()
    assert (place, others) == (3, [])
    assert repr(found) == repr(FITTED)
    assert FinishedSplits(tmp_path / "splits", "a", "c").load(4) == {}


def test_damage_anywhere_costs_that_split_and_nothing_else(tmp_path: Path) -> None:
    splits = FinishedSplits(tmp_path / "splits", "key")
    splits.save(0, FITTED)
    path = tmp_path / "splits" / "00000"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        assert splits.load(1) == {}
    for end in range(0, len(whole), 50):
        path.write_bytes(whole[:end])
        assert splits.load(1) == {}
