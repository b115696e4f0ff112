"""Raw videos are scored by the model of a run, and scores are printed as text and as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import called
from forging import read_model, write_model
from places import REPOSITORY
from scipy import stats
from unread_scores import scored

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.fuse import score
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.delivery.model_cards import FOLDER
from vqa_twostage.fuse.export import export_run
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.scorer_file import Scorer
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reporting import score_text
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import train_run
from vqa_twostage.fuse.video_score import AxisScore
from vqa_twostage.pipeline import spec
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


def with_tracks(model: Scorer, **changes: Any) -> Scorer:
    """The model with track identities replaced, as if trained on other features."""
    tracks = model.training.tracks.map(
        lambda side: [replace(identity, **changes) for identity in side]
    )
    return replace(model, training=replace(model.training, tracks=tracks))


def videos(clips: Path) -> list[Path]:
    return sorted(clips.glob("*.mp4"))


def test_score_of_a_video_equals_the_score_of_its_cached_features(
    run: Path, cache: Path, clips: Path
) -> None:
    data = load_dataset(cache, "mos", None, None)
    cached_scores = dict(
        zip(
            data.manifest.rows["path"],
            saved.load(run).scores(data.features),
            strict=True,
        )
    )
    results = score.score(videos(clips), run)
    assert [item.error for item in results] == [""] * 6
    # scored one by one, without padding: equal up to float32 rounding
    assert [item.score for item in results] == pytest.approx(
        [cached_scores[Path(item.video).name] for item in results], abs=1e-5
    )


@pytest.mark.long
@pytest.mark.parametrize("fusion", ["concat", "cross_modal"])
def test_score_of_a_model_of_several_tracks_equals_that_of_their_cached_features(
    fusion: str, clips: Path, tmp_path: Path
) -> None:
    """Also where each stream has tracks of two samplers, of which one takes a single frame."""
    manifest, cache = load_manifest(str(clips / "mos.csv")), tmp_path / "cache"
    frames = "uniform:frames=3"
    spatial = ["efficientnet_lite0", "efficientnet_lite0:grid=1"]
    for extraction in (
        ExtractOptions(spatial=spatial, temporal="tsm", sampler=frames),
        ExtractOptions(spatial=spatial[:1], temporal=(), sampler="uniform:frames=1"),
        ExtractOptions(spatial=(), temporal="tsm:grid=1", sampler="uniform:frames=1"),
    ):
        extract_dataset(manifest, cache, replace(extraction, runtime="torch"))
    options = TrainOptions(
        fusion=fusion, spatial="all", temporal="all", protocol="random:n=1", epochs=4, members=2
    )
    data = load_dataset(cache, "mos", "all", "all")
    assert data.paths.map(len) == Streams(3, 2)
    train_run(data, options, tmp_path / "run")
    expected = saved.load(tmp_path / "run").scores(data.features)
    cached_scores = dict(zip(data.manifest.rows["path"], expected, strict=True))
    results = score.score(videos(clips), tmp_path / "run", tmp_path / "scored")
    assert [item.error for item in results] == [""] * 6
    assert [item.score for item in results] == pytest.approx(
        [cached_scores[Path(item.video).name] for item in results], abs=1e-5
    )
    assert all(len(item.frames) == 3 for item in results)
    assert all(frame.score is None for item in results for frame in item.frames)
    assert sum(frame.weight for frame in results[0].frames) == pytest.approx(1)
    assert score.score(videos(clips), tmp_path / "run", tmp_path / "scored") == results


@pytest.mark.long
def test_score_takes_one_or_many_files_folders_and_patterns(
    run: Path, clips: Path, tmp_path: Path
) -> None:
    one = videos(clips)[0]
    single = score.score(one, run, tmp_path)
    assert [item.video for item in single] == [str(one)] and single[0].score is not None
    assert score.score(str(one), str(run), str(tmp_path)) == single
    assert score.score([str(one), one], run, tmp_path) == single  # duplicates are scored once
    everything = score.score(videos(clips), run, tmp_path)
    assert score.score(clips, run, tmp_path) == everything
    assert score.score(f"{clips}/*.mp4", run, tmp_path) == everything
    assert score.score([], run) == []


def test_score_of_a_path_object_is_never_a_pattern(run: Path, tmp_path: Path) -> None:
    (result,) = score.score(tmp_path / "holiday [1].mp4", run)
    assert result.error == "file is missing"


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("3", "a video is given as 3, of type int; give a path"),
        ("['x.mp4', None]", "a video is given as None, of type NoneType; give a path"),
        ("b'x.mp4'", "a video is given as b'x.mp4', of type bytes; give a path"),
        ("'x.mp4', run=3", "a run is given as 3, of type int; give the folder of a run"),
    ],
)
def test_score_of_a_wrong_type_is_one_clear_error(arguments: str, message: str) -> None:
    # run in a separate process, because beartype would check the arguments first in this one
    program = f"""
from vqa_twostage.fuse.score import score
from vqa_twostage.pipeline.errors import UsageError
try:
    score({arguments})
except UsageError as error:
    print(error)
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert message in process.stdout, process.stderr


def test_score_as_json_has_the_documented_fields(run: Path, clips: Path) -> None:
    (result,) = score.score(videos(clips)[0], run)
    document = result.to_json()
    assert list(document) == [
        *[
            "video",
            "digest",
            "score",
            "error",
            "percentile",
            "distance",
            "far",
            "damage",
            "duration",
        ],
        *["frames", "timeline", "scale", "label", "better", "trained_on"],
        *["training_videos", "worse_than", "agreement", "axes"],
        *["worst", "spans", "seconds_worse"],
    ]
    assert document["scale"] == [1.0, 3.5] and document["label"] == "MOS"
    assert list(document["frames"][0]) == ["index", "time", "score", "weight"]


@pytest.mark.long
def test_score_called_twice_is_equal_and_loads_no_network(
    run: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score.score(videos(clips), run, tmp_path)
    monkeypatch.setattr(
        "vqa_twostage.extract.extraction.plan.plan_tracks",
        lambda *given: pytest.fail("networks are loaded"),
    )
    assert score.score(videos(clips), run, tmp_path) == first
    # videos are recognised by content, not by name
    copy = Path(shutil.copy(clips / "testsrc.mp4", tmp_path / "another.mp4"))
    (again,) = score.score([copy], run, tmp_path)
    assert replace(again, video=str(clips / "testsrc.mp4")) in first


def test_score_has_percentile_distance_and_frames(run: Path, clips: Path) -> None:
    (result,) = score.score([clips / "testsrc.mp4"], run)
    assert result.score is not None and 0 <= result.percentile <= 100 and 0 < result.distance < 10
    assert [frame.time for frame in result.frames] == pytest.approx([0.25, 0.75], abs=0.1)
    assert sum(frame.weight for frame in result.frames) == pytest.approx(1)
    assert (
        min(frame.score for frame in result.frames) - 1
        < result.score
        < max(f.score for f in result.frames) + 1
    )


def test_score_of_an_unusable_video_is_an_error_and_the_others_are_scored(
    run: Path, own_clips: Path, tmp_path: Path
) -> None:
    (own_clips / "text.mp4").write_text("no video at all, but quite a few words")
    paths = [own_clips / "text.mp4", own_clips / "nowhere.mp4", own_clips / "testsrc.mp4"]
    errors = [item.error for item in score.score(paths, run)]
    assert errors == ["not a video: starts as text", "file is missing", ""]
    for path in paths[:2]:
        assert score.score([path], run, tmp_path / "kept")[0].error == errors[paths.index(path)]


def test_score_lists_how_features_would_differ_from_those_trained_on(
    run: Path, clips: Path
) -> None:
    model = score.load(run)
    changed = with_tracks(model, weights="0123", raw="64x48 yuv420p 30")
    with pytest.raises(
        UsageError, match=r"cannot be extracted here:\n  weights: 0123 then, \w+ now\n"
    ):
        score.score(videos(clips), changed)
    imported = with_tracks(model, source="0123")
    with pytest.raises(UsageError, match="were imported: no program here extracts them"):
        score.score(videos(clips), imported)


@pytest.mark.long
def test_score_is_never_that_of_a_file_which_changed_meanwhile(
    run: Path, own_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, old = (
        own_clips / "testsrc.mp4",
        Path(shutil.copy(own_clips / "testsrc.mp4", tmp_path / "old.mp4")),
    )
    from vqa_twostage.extract.extraction import loop

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        shutil.copy(own_clips / "mandelbrot.mp4", video)
        return extract_videos(*arguments, **options)

    extract_videos = loop.extract_videos
    with monkeypatch.context() as patch:
        patch.setattr("vqa_twostage.extract.extraction.loop.extract_videos", meanwhile)
        (changed,) = score.score([video], run, tmp_path / "kept")
    assert changed.error == "the file changed while it was read; score it again"
    assert score.score([old], run, tmp_path / "kept") == score.score([old], run)


def test_score_of_a_damaged_file_is_computed_up_to_the_damage_and_has_a_caution(
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
    for _ in range(2):  # the second score comes from the cache
        (result,) = score.score([matroska], run, tmp_path / "kept")
        assert result.error == "" and "breaks off" in result.damage
    assert "caution: the file is damaged" in score_text.to_text([result])


@pytest.mark.long
def test_score_does_not_depend_on_the_number_of_videos(
    run: Path, clips: Path, tmp_path: Path
) -> None:
    from vqa_twostage.extract.options import CONVERTED_FROM

    many = []
    for number in range(CONVERTED_FROM + 1):
        other = b"\0\0\0\x0cfree" + number.to_bytes(
            4, "big"
        )  # decoders ignore this box; the digest changes
        (tmp_path / f"{number}.mp4").write_bytes((clips / "testsrc.mp4").read_bytes() + other)
        many.append(tmp_path / f"{number}.mp4")
    together = score.score(many, run)
    assert score.score(many[:1], run) == together[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("options"), "is damaged .KeyError"),
        (lambda about: about["options"].update(members=0), "members must be a whole number"),
        (lambda about: about["options"].update(members=1000), "the model has 1000 members"),
        (lambda about: about["options"].update(fusion="../x"), "is not a spec"),
        (
            lambda about: about["shapes"]["spatial"].update({"c1/mean": [10**8]}),
            "which cannot be prepared from",
        ),
        (lambda about: about.update(format_version="new"), "format version new"),
    ],
)
def test_score_by_a_damaged_model_is_refused_in_one_message(
    change: Any, message: str, run: Path, tmp_path: Path
) -> None:
    about, tensors = read_model(run / saved.FILE)
    change(about)
    write_model(tmp_path / saved.FILE, about, tensors)
    with pytest.raises(UsageError, match=message):
        score.load(tmp_path)


@pytest.mark.parametrize(
    ("extractor", "sampler", "message"),
    [
        ("resnet:weights=/etc/passwd", "uniform:frames=2", "names a file to read"),
        ("resnet:weights=passwd", "uniform:frames=2", "names a file to read"),
        ("vit:model=../passwd", "uniform:frames=2", "names a file to read"),
        (
            "resnet",
            "content:importance=/tmp/run",
            "learnt of each video, and of a new video nothing is known",
        ),
    ],
)
def test_score_by_a_model_that_names_files_is_refused(
    extractor: str, sampler: str, message: str, run: Path, clips: Path
) -> None:
    specs = {"extractor": spec.parse(extractor), "sampler": spec.parse(sampler)}
    with pytest.raises(UsageError, match=message):
        score.score(videos(clips), with_tracks(score.load(run), **specs))


# --- features of networks named after a repository ---


@pytest.fixture
def small_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny version of the default vit, whose configuration needs no download."""
    from vqa_twostage.extract.spatial import vit

    sizes = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = {**sizes, "intermediate_size": 32, "image_size": 64, "patch_size": 16}
    preprocessing = replace(vit.DEFAULT.preprocessing, size=64)
    small = replace(vit.DEFAULT, config=config, preprocessing=preprocessing)
    monkeypatch.setattr(vit, "DEFAULT", small)


def trained_on(spatial: str, clips: Path, folder: Path, temporal: tuple[str, ...] = ()) -> Path:
    """A run on features of one network, or of two."""
    options = ExtractOptions(
        spatial=spatial, temporal=temporal, sampler="uniform:frames=2", runtime="torch"
    )
    extract_dataset(load_manifest(str(clips / "mos.csv")), folder / "cache", options)
    data = load_dataset(folder / "cache", "mos", None, None)
    head = TrainOptions(fusion="concat", protocol="random:n=1", epochs=2, members=1)
    train_run(data, head, folder / "run")
    return folder / "run"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*random weights")
def test_score_by_a_model_of_transformer_features_equals_that_of_cached_features(
    small_transformer: None, clips: Path, tmp_path: Path
) -> None:
    run = trained_on("vit:weights=none", clips, tmp_path)
    training = score.load(run).training
    assert training.tracks.spatial[0].extractor.options["model"] == "google/vit-base-patch16-224"
    data = load_dataset(tmp_path / "cache", "mos", None, None)
    cached_scores = saved.load(run).scores(data.features)
    by_path = dict(zip(data.manifest.rows["path"], cached_scores, strict=True))
    results = score.score(clips, run)
    assert [item.score for item in results] == pytest.approx(
        [by_path[Path(item.video).name] for item in results], abs=1e-5
    )


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_score_by_a_model_whose_network_came_from_a_folder_is_refused_in_one_message(
    clips: Path, tmp_path: Path
) -> None:
    config = {"model_type": "vit", "image_size": 64, "patch_size": 16, "hidden_size": 24}
    config |= {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    processor = {"size": 64, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "my nets").mkdir()
    (tmp_path / "my nets" / "config.json").write_text(json.dumps(config))
    (tmp_path / "my nets" / "preprocessor_config.json").write_text(json.dumps(processor))
    spatial = spec.Spec("vit", {"model": str(tmp_path / "my nets"), "weights": "none"})
    run = trained_on(str(spatial), clips, tmp_path)
    with pytest.raises(UsageError, match="that the model reads cannot be extracted here: "):
        score.score(clips, run)


@pytest.mark.long
def test_score_by_a_model_of_native_views_sees_a_video_as_its_run_did(
    clips: Path, tmp_path: Path
) -> None:
    """The places of fragments follow from a video's file: under another name, in another folder and
    among other videos it has the same features, and an exported model reads them as well.
    """
    temporal = "tsm:n_segment=2,resolutions=64,fit=fragments,of=residual"
    spatial = "efficientnet_lite0:resolutions=64,fit=fragments,seed=2,crops=2"
    run = trained_on(spatial, clips, tmp_path, (temporal,))
    data = load_dataset(tmp_path / "cache", "mos", None, None)
    by_path = dict(
        zip(data.manifest.rows["path"], saved.load(run).scores(data.features), strict=True)
    )
    export_run(run, tmp_path / "exported")
    shutil.copy(clips / "testsrc2.mp4", tmp_path / "renamed.mp4")
    for model in (run, tmp_path / "exported"):
        (result,) = score.score(tmp_path / "renamed.mp4", model)
        assert result.error == "" and result.score == pytest.approx(
            by_path["testsrc2.mp4"], abs=1e-5
        )


# --- the command ---


@pytest.mark.long
def test_score_command_prints_text_json_jsonl_and_csv(
    run: Path, own_clips: Path, tmp_path: Path
) -> None:
    (own_clips / "testsrc.mp4").rename(own_clips / "LOUD.MP4")
    words = ["vqa-fuse", "score", own_clips, "--run", run, "--cache", tmp_path / "kept"]
    result = called(*words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout.count("on a scale of 1 to 3.5 (3.5 is best)") == 1
        and "LOUD.MP4: " in result.stdout
    )
    assert (
        "not scored, since by their names they are no videos: 1 of the files" in result.stderr
        and "mos.csv" in result.stderr
    )
    document = json.loads(called(*words, "--json", cwd=tmp_path).stdout)
    assert {"video", "score", "scale", "error"} <= document[0].keys() and len(document) == 6
    lines = called(*words, "--jsonl", cwd=tmp_path).stdout.splitlines()
    assert [json.loads(line) for line in lines] == document
    rows = list(csv.DictReader(io.StringIO(called(*words, "--csv", cwd=tmp_path).stdout)))
    assert [float(row["score"]) for row in rows] == [item["score"] for item in document]
    assert called(*words, "--csv", "--json", cwd=tmp_path).returncode == 2


@pytest.mark.long
def test_score_command_of_a_kept_video_imports_nothing_that_it_does_not_use(
    clips: Path, run: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from vqa_twostage.fuse.cli import main\n"
        f"sys.argv = {['vqa-fuse', 'score', str(clips / 'testsrc.mp4')]!r}\n"
        f"sys.argv += {['--run', str(run), '--cache', str(tmp_path)]!r}\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "unused = {'torch._dynamo', 'timm', 'av', 'openvino', 'scipy.stats', 'matplotlib'}\n"
        "print(sorted(unused & set(sys.modules)))\n"
    )
    program = [sys.executable, "-c", code]
    subprocess.run(program, check=True, capture_output=True)
    again = subprocess.run(program, check=True, capture_output=True, text=True)
    assert again.stdout.splitlines()[-1] == "[]"


def test_score_command_without_a_home_folder_names_the_options_that_help(
    run: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nonexistent")
    result = called("vqa-fuse", "score", clips / "testsrc.mp4", "--run", run, cwd=tmp_path)
    assert (
        result.returncode == 2
        and "no home folder" in result.stderr
        and "--no-cache" in result.stderr
    )


def test_score_command_without_a_cache_leaves_nothing_behind(
    run: Path, own_clips: Path, tmp_path: Path
) -> None:
    for path in own_clips.glob("[a-s]*.mp4"):
        path.unlink()
    (own_clips / "bad.mp4").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    result = called(
        "vqa-fuse", "score", f"{own_clips}/*.mp4", "--run", run, "--no-cache", cwd=tmp_path
    )
    assert result.returncode == 3
    assert "bad.mp4: no score: file is empty" in result.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere/*.mp4"], "matches no file"),
        (["."], "no video in .; known extensions: "),
        ([""], "the path of a video is empty"),
        (
            ["**.mp4"],  # the same as *.mp4 since Python 3.13
            "is not a valid pattern" if sys.version_info < (3, 13) else "matches no file",
        ),
        (["x.mp4", "--run", "nowhere"], "nowhere does not exist; give a run"),
        (["x.mp4", "--cache", "c", "--no-cache"], "contradict each other"),
    ],
)
def test_score_command_refuses_wrong_use_in_one_message(
    words: list[str], message: str, tmp_path: Path
) -> None:
    result = called("vqa-fuse", "score", *words, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr


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
def test_score_has_a_word_for_each_fifth_of_the_scale(value: float, better: str, word: str) -> None:
    assert score_text.quality_word(scored(score=value, better=better)) == word


def test_score_of_a_video_unlike_the_training_videos_has_a_caution() -> None:
    lines = score_text.lines_of(scored(distance=7.0, far=True))
    assert "caution: this video is unlike those the model was trained on (distance 7.0" in lines[-1]


def test_score_outside_of_the_scale_has_a_caution() -> None:
    scale = (2.16, 4.64)
    assert score_text.cautions(scored(score=-1.7, scale=scale)) == [
        "caution: the score lies outside of the scale, 2.16 to 4.64: beyond what the model has seen"
    ]
    assert score_text.cautions(scored(score=4.64, scale=scale)) == []


def test_further_labels_stand_below_the_main_score_and_in_columns_of_their_own() -> None:
    axis = AxisScore((0.0, 100.0), "lower", 41.5, 12.0)
    score = scored(axes={"technical": axis})
    failed = scored(axes={"technical": AxisScore((0.0, 100.0), "lower")}, error="no video")
    lines = score_text.lines_of(score)
    assert lines[2] == (
        "  technical 41.50, on a scale of 0 to 100 (lower is better); above 12 % of the videos"
    )
    assert lines[2] in score_text.lines_among_others(score)
    header, row, without = score_text.to_csv([score, failed]).splitlines()
    assert header.endswith(",error,score_technical")
    assert row.endswith(",41.5") and without.endswith(",no video,")
    # as a watched folder prints them
    streamed = score_text.to_csv([], ["technical"]) + score_text.row_of(failed)
    assert streamed.splitlines() == [header, without]
    document = json.loads(score_text.to_json([score, scored()]))
    assert document[0]["axes"]["technical"]["scale"] == [0.0, 100.0]
    assert document[1]["axes"] == {}
    assert "axis" not in score_text.to_csv([scored()])


# --- the model that ships ---


def test_shipped_model_is_small_and_states_that_its_labels_are_pseudo_mos(
    clips: Path, tmp_path: Path
) -> None:
    assert (FOLDER / "demo.safetensors").stat().st_size < 2_000_000
    result = called(
        "vqa-fuse", "score", clips / "testsrc.mp4", "--cache", tmp_path / "kept", cwd=tmp_path
    )
    assert result.returncode == 0 and "pseudo-MOS (VMAF), as learnt from Demo" in result.stdout


@pytest.mark.long
@pytest.mark.real
def test_scores_of_the_real_clips_are_equal_when_repeated(real: Path, tmp_path: Path) -> None:
    words = ["vqa-fuse", "score", real / "clips", "--json", "--cache", tmp_path / "kept"]
    first, second = (json.loads(called(*words, cwd=tmp_path).stdout) for _ in range(2))
    assert len(first) == 8 and first == second
    with (real / "clips" / "mos.csv").open() as file:
        mos = {row["path"]: float(row["mos"]) for row in csv.DictReader(file)}
    scores, labels = zip(
        *((item["score"], mos[Path(item["video"]).name]) for item in first), strict=True
    )
    assert stats.spearmanr(scores, labels).statistic > 0  # the value is in docs/experiments.md


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_shipped_model_scores_as_one_that_make_head_trains_here(tmp_path: Path) -> None:
    """It need not be equal: the features and labels of `make demo` differ from machine to machine
    in their last digits, and training makes as much of that as of another seed. The bounds are what
    two seeds on one machine keep (docs/experiments.md).

    Needs the features of `make demo`, which take minutes; the command is `make head`.
    """
    demo_cache = Path(os.environ.get("VQA_DEMO_CACHE") or REPOSITORY / "cache")
    if not (demo_cache / "demo").is_dir():
        pytest.skip(
            "the demo's features are not here: make demo, or give their cache as VQA_DEMO_CACHE"
        )
    words = [
        "--dataset",
        "demo",
        "--cache",
        demo_cache,
        "--preset",
        "offline",
        "--fusion",
        "concat",
    ]
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
    data = load_dataset(demo_cache, "demo", None, None)
    shipped, trained = (
        model.scores(data.features) for model in (score.load(), saved.load(tmp_path / "head"))
    )
    assert np.abs(shipped - trained).mean() < 0.3
    assert stats.spearmanr(shipped, trained).statistic > 0.9


def test_shipped_model_with_another_bit_is_refused(tmp_path: Path) -> None:
    content = bytearray((FOLDER / "demo.safetensors").read_bytes())
    content[-1000] ^= 1
    (tmp_path / saved.FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"does not fit its sha256: it is damaged, or was changed"):
        score.load(tmp_path)
