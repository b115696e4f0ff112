"""A raw video goes in and a score comes out: by the features and model of a run, and told so that
all understand.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import called
from places import REPOSITORY
from scipy import stats

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.fuse import score
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.novelty import Familiar, percentile_of
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reporting import score_text as verdict
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError


@pytest.fixture(scope="module")
def cache(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    options = ExtractOptions(
        spatial="efficientnet_lite0", temporal=(), sampler="uniform:frames=2", runtime="torch"
    )
    extract_dataset(load_manifest(str(clips / "mos.csv")), folder, options)
    return folder


@pytest.fixture(scope="module")
def run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = TrainOptions(
        fusion="concat", temporal_encoder="attention", protocol="random:n=1", epochs=4, members=2
    )
    train_run(load_dataset(cache, "mos", None, None), options, folder)
    return folder


def videos(clips: Path) -> list[Path]:
    return sorted(clips.glob("*.mp4"))


def test_a_video_is_scored_as_its_features_in_the_cache_are(
    run: Path, cache: Path, clips: Path
) -> None:
    data = load_dataset(cache, "mos", None, None)
    known = dict(
        zip(
            data.manifest.rows["path"],
            saved.load(run).scores(data.spatial, data.temporal),
            strict=True,
        )
    )
    found = score.score(videos(clips), run)
    assert [item.error for item in found] == [""] * 6
    # one by one, not padded beside others: the same to the last digits of float32
    assert [item.score for item in found] == pytest.approx(
        [known[Path(item.video).name] for item in found], abs=1e-5
    )


def test_a_second_call_is_equal_and_loads_no_network(
    run: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score.score(videos(clips), run, tmp_path)
    monkeypatch.setattr(
        "vqa_twostage.extract.run.plan_tracks", lambda *given: pytest.fail("networks are loaded")
    )
    assert score.score(videos(clips), run, tmp_path) == first
    # the content counts, not its name
    copy = Path(shutil.copy(clips / "testsrc.mp4", tmp_path / "another.mp4"))
    (again,) = score.score([copy], run, tmp_path)
    assert replace(again, video=str(clips / "testsrc.mp4")) in first


def test_a_score_says_where_it_stands_and_how_it_came_about(run: Path, clips: Path) -> None:
    (found,) = score.score([clips / "testsrc.mp4"], run)
    assert found.score is not None and 0 <= found.percentile <= 100 and 0 < found.distance < 10
    assert [frame["time"] for frame in found.frames] == pytest.approx([0.25, 0.75], abs=0.1)
    assert sum(frame["weight"] for frame in found.frames) == pytest.approx(1)
    assert (
        min(frame["score"] for frame in found.frames) - 1
        < found.score
        < max(f["score"] for f in found.frames) + 1
    )


def test_what_cannot_be_scored_is_told_and_the_others_go_on(
    run: Path, own_clips: Path, tmp_path: Path
) -> None:
    (own_clips / "text.mp4").write_text("no video at all, but quite a few words")
    given = [own_clips / "text.mp4", own_clips / "nowhere.mp4", own_clips / "testsrc.mp4"]
    errors = [item.error for item in score.score(given, run)]
    assert errors == ["not a video: starts as text", "file is missing", ""]
    for alone in given[:2]:
        assert score.score([alone], run, tmp_path / "kept")[0].error == errors[given.index(alone)]


def test_features_that_cannot_be_made_here_are_told_key_by_key(run: Path, clips: Path) -> None:
    model = score.load(run)
    assert model.training is not None
    other = [{**track, "weights": "0123", "decoder": "pyav-1.0"} for track in model.training.tracks]
    changed = replace(model, training=replace(model.training, tracks=other))
    with pytest.raises(UsageError, match=r"cannot be made here:\n  weights: 0123 then, \w+ now\n"):
        score.score(videos(clips), changed)
    imported = replace(
        model, training=replace(model.training, tracks=[{"kind": "spatial", "imported": True}] * 2)
    )
    with pytest.raises(UsageError, match="were imported: no program here makes them of a video"):
        score.score(videos(clips), imported)


def test_a_model_of_an_early_version_says_so(run: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with safe_open(run / saved.FILE, framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
    del about["training"]
    save_file(
        load_file(run / saved.FILE),
        tmp_path / saved.FILE,
        {"about": json.dumps({**about, "format_version": 1})},
    )
    assert saved.load(tmp_path).training is None
    with pytest.raises(UsageError, match="was trained by an earlier version"):
        score.load(tmp_path)


def test_a_file_that_changes_while_it_is_read_gives_no_other_file_its_score(
    run: Path, own_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, old = (
        own_clips / "testsrc.mp4",
        Path(shutil.copy(own_clips / "testsrc.mp4", tmp_path / "old.mp4")),
    )
    from vqa_twostage.extract import run as stage_one

    def meanwhile(*given: Any) -> Any:
        shutil.copy(own_clips / "mandelbrot.mp4", video)
        return extract_videos(*given)

    extract_videos = stage_one.extract_videos
    with monkeypatch.context() as patch:
        patch.setattr("vqa_twostage.extract.run.extract_videos", meanwhile)
        (changed,) = score.score([video], run, tmp_path / "kept")
    assert changed.error == "the file changed while it was read; score it again"
    assert score.score([old], run, tmp_path / "kept") == score.score([old], run)


def test_a_damaged_file_is_scored_as_far_as_it_goes_and_that_is_said(
    run: Path, own_clips: Path, tmp_path: Path
) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    matroska = tmp_path / "cut.mkv"
    subprocess.run(
        [get_ffmpeg_exe(), "-v", "error", "-i", own_clips / "testsrc2.mp4", "-c", "copy", matroska],
        check=True,
    )
    data = matroska.read_bytes()
    matroska.write_bytes(data[: len(data) // 2])
    for _ in range(2):  # the second time from the cache
        (found,) = score.score([matroska], run, tmp_path / "kept")
        assert found.error == "" and "breaks off" in found.damage
    document = score.as_document([found], score.load(run))
    assert "caution: the file is damaged" in "\n".join(verdict.said(document[0]))


def test_a_score_does_not_depend_on_how_many_there_are(
    run: Path, clips: Path, tmp_path: Path
) -> None:
    from vqa_twostage.extract.options import CONVERTED_FROM

    many = []
    for number in range(CONVERTED_FROM + 1):
        other = b"\0\0\0\x0cfree" + number.to_bytes(
            4, "big"
        )  # a box that no decoder looks at: another content
        (tmp_path / f"{number}.mp4").write_bytes((clips / "testsrc.mp4").read_bytes() + other)
        many.append(tmp_path / f"{number}.mp4")
    together = score.score(many, run)
    assert score.score(many[:1], run) == together[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("options"), "is damaged .KeyError"),
        (lambda about: about["options"].update(members=0), "no sensible number of members"),
        (lambda about: about["options"].update(fusion="../x"), "is not a spec"),
        (lambda about: about["shapes"][0].update({"c1/mean": [10**8]}), "of no sensible size"),
        (lambda about: about.update(format_version="new"), "format version new"),
    ],
)
def test_a_damaged_model_is_told_in_one_message(
    change: Any, message: str, run: Path, tmp_path: Path
) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with safe_open(run / saved.FILE, framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
    change(about)
    save_file(load_file(run / saved.FILE), tmp_path / saved.FILE, {"about": json.dumps(about)})
    with pytest.raises(UsageError, match=message):
        score.load(tmp_path)


@pytest.mark.parametrize(
    ("extractor", "sampler", "message"),
    [
        ("resnet:weights=/etc/passwd", "uniform:frames=2", "names files to read"),
        (
            "resnet",
            "content:importance=/tmp/run",
            "learnt of each video: of a new one nothing is known",
        ),
    ],
)
def test_a_model_may_not_name_files(
    extractor: str, sampler: str, message: str, run: Path, clips: Path
) -> None:
    model = score.load(run)
    assert model.training is not None
    other = [
        {**track, "extractor": extractor, "sampler": sampler} for track in model.training.tracks
    ]
    with pytest.raises(UsageError, match=message):
        score.score(videos(clips), replace(model, training=replace(model.training, tracks=other)))


# --- the command ---


def test_the_command_prints_what_people_and_machines_read(
    run: Path, own_clips: Path, tmp_path: Path
) -> None:
    (own_clips / "testsrc.mp4").rename(own_clips / "LOUD.MP4")
    words = ["vqa-fuse", "score", own_clips, "--run", run, "--cache", tmp_path / "kept"]
    done = called(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.count("on a scale of 1 to 3.5 (3.5 is best)") == 6
        and "LOUD.MP4: " in done.stdout
    )
    assert (
        "not scored: 1 files that are no videos by their names, such as" in done.stderr
        and "mos.csv" in done.stderr
    )
    document = json.loads(called(*words, "--json", cwd=tmp_path).stdout)
    assert {"video", "score", "scale", "error"} <= document[0].keys() and len(document) == 6
    lines = called(*words, "--jsonl", cwd=tmp_path).stdout.splitlines()
    assert [json.loads(line) for line in lines] == document
    rows = list(csv.DictReader(io.StringIO(called(*words, "--csv", cwd=tmp_path).stdout)))
    assert [float(row["score"]) for row in rows] == [item["score"] for item in document]
    assert called(*words, "--csv", "--json", cwd=tmp_path).returncode == 2


def test_without_a_home_to_keep_features_in_the_way_out_is_told(
    run: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nonexistent")
    done = called("vqa-fuse", "score", clips / "testsrc.mp4", "--run", run, cwd=tmp_path)
    assert done.returncode == 2 and "no home folder" in done.stderr and "--no-cache" in done.stderr


def test_without_a_cache_nothing_is_left_behind(run: Path, own_clips: Path, tmp_path: Path) -> None:
    for path in own_clips.glob("[a-s]*.mp4"):
        path.unlink()
    (own_clips / "bad.mp4").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    done = called(
        "vqa-fuse", "score", f"{own_clips}/*.mp4", "--run", run, "--no-cache", cwd=tmp_path
    )
    assert done.returncode == 3
    assert "bad.mp4: no score: file is empty" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/*.mp4"], "matches no file"),
        (["."], "no video in .; known extensions: "),
        ([""], "is a variable of your shell empty"),
        (["**.mp4"], "is no pattern"),
        (["x.mp4", "--run", "nowhere"], "nowhere does not exist; give a run"),
        (["x.mp4", "--cache", "c", "--no-cache"], "contradict each other"),
    ],
)
def test_wrong_use_is_told_in_one_message(words: list[str], message: str, tmp_path: Path) -> None:
    done = called("vqa-fuse", "score", *words, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.parametrize(
    ("value", "better", "word"),
    [
        *[
            (1.0, "higher", "bad"),
            (1.9, "higher", "poor"),
            (3.0, "higher", "fair"),
            (4.9, "higher", "excellent"),
        ],
        *[(9.0, "higher", "excellent"), (-2.0, "higher", "bad"), (1.2, "lower", "excellent")],
    ],
)
def test_a_fifth_of_the_scale_has_a_word(value: float, better: str, word: str) -> None:
    assert verdict.word({"score": value, "scale": [1, 5], "better": better}) == word


def test_a_video_unlike_those_trained_on_is_cautioned_against() -> None:
    item: dict[str, Any] = {
        "video": "x.mp4",
        "error": "",
        "score": 3.0,
        "scale": [1, 5],
        "better": "higher",
    }
    item |= {
        "label": "MOS",
        "trained_on": "D",
        "percentile": 50.0,
        "distance": 7.0,
        "far": True,
        "damage": "",
        "frames": [],
    }
    assert (
        "caution: this video is unlike those the model was trained on (distance 7.0"
        in verdict.said(item)[-1]
    )


def test_distance_is_one_for_a_typical_training_video_and_grows_with_what_is_unlike_them() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    arrays = {
        "c1/mean": torch.randn(200, 3, 40, generator=generator),
        "c1/grid": torch.randn(200, 3, 5, 2, 2),
    }
    mask = torch.ones(200, 3, dtype=torch.bool)
    familiar = Familiar.fit([arrays], [mask])
    assert familiar.distances[50] == pytest.approx(1, abs=0.1)
    moved = {name: array + 3 for name, array in arrays.items()}
    assert familiar.distance([moved], [mask]).min() > familiar.distances[100]
    assert percentile_of(familiar.distances[30], familiar.distances) == pytest.approx(30)
    # frames that are not there do not count
    longer = {
        name: torch.nn.functional.pad(array, [0, 0] * (array.ndim - 2) + [0, 2])
        for name, array in arrays.items()
    }
    wide = torch.nn.functional.pad(mask, (0, 2))
    assert np.allclose(familiar.distance([longer], [wide]), familiar.distance([arrays], [mask]))


# --- the model that ships ---


def test_the_model_that_ships_is_small_and_says_that_its_scale_is_no_opinion(
    clips: Path, tmp_path: Path
) -> None:
    assert score.SHIPPED.stat().st_size < 2_000_000
    done = called(
        "vqa-fuse", "score", clips / "testsrc.mp4", "--cache", tmp_path / "kept", cwd=tmp_path
    )
    assert done.returncode == 0 and "pseudo-MOS (VMAF), as learnt from Demo" in done.stdout


@pytest.mark.real
def test_the_real_clips_are_scored_twice_alike(real: Path, tmp_path: Path) -> None:
    words = ["vqa-fuse", "score", real / "clips", "--json", "--cache", tmp_path / "kept"]
    first, second = (json.loads(called(*words, cwd=tmp_path).stdout) for _ in range(2))
    assert len(first) == 8 and first == second
    with (real / "clips" / "mos.csv").open() as file:
        mos = {row["path"]: float(row["mos"]) for row in csv.DictReader(file)}
    scores, opinions = zip(
        *((item["score"], mos[Path(item["video"]).name]) for item in first), strict=True
    )
    assert stats.spearmanr(scores, opinions).statistic > 0  # the figure is in docs/experiments.md


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_model_that_ships_is_what_its_command_trains(tmp_path: Path) -> None:
    """With the features of `make demo` at hand, which take minutes to make; the command is `make
    head`.
    """
    made = Path(os.environ.get("VQA_DEMO_CACHE") or REPOSITORY / "cache")
    if not (made / "demo").is_dir():
        pytest.skip(
            "the demo's features are not here: make demo, or give their cache as VQA_DEMO_CACHE"
        )
    words = ["--dataset", "demo", "--cache", made, "--preset", "offline", "--fusion", "concat"]
    words += [
        "--temporal-encoder",
        "attention",
        "--members",
        "2",
        "--workers",
        "1",
        "--run",
        "head",
    ]
    assert called("vqa-fuse", "train", *words, cwd=tmp_path).returncode == 0
    data = load_dataset(made, "demo", None, None)
    shipped, trained = (
        model.scores(data.spatial, data.temporal)
        for model in (score.load(), saved.load(tmp_path / "head"))
    )
    assert np.abs(shipped - trained).max() < 0.05
