"""A timeline scores every so many seconds of a video, and changes nothing of its score."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import called

from vqa_twostage.fuse import score
from vqa_twostage.fuse.timeline import sampled_every
from vqa_twostage.fuse.video_score import Score
from vqa_twostage.fuse.watch import watch
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine seconds at 12 frames a second: three of a test picture, three of noise, three of it
    again.
    """
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    parts = ["testsrc2", "testsrc2,noise=alls=100:allf=t,boxblur=6", "testsrc2"]
    inputs = []
    for part in parts:
        source, _, rest = part.partition(",")
        lavfi = f"{source}=size=160x120:rate=12,trim=duration=3" + (f",{rest}" if rest else "")
        inputs += ["-f", "lavfi", "-i", lavfi]
    join = ["-filter_complex", "[0][1][2]concat=n=3:v=1", "-pix_fmt", "yuv420p"]
    subprocess.run([ffmpeg, "-v", "error", *inputs, *join, str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def result(film: Path, kept: Path) -> Score:
    (result,) = score.score(film, cache=kept, every=1)
    return result


def test_timeline_has_a_score_for_every_second(result: Score) -> None:
    assert [moment.time for moment in result.timeline] == pytest.approx(range(9), abs=1e-3)
    assert [moment.index for moment in result.timeline] == [12 * second for second in range(9)]
    assert result.duration == pytest.approx(9)
    values = np.array([moment.score for moment in result.timeline])
    # the picture is the same at both ends, and the middle is noise
    assert abs(values[3:6] - values[0]).min() > 3 * abs(values[6] - values[0])


def test_score_with_a_timeline_is_the_score_without(
    result: Score, film: Path, kept: Path, tmp_path: Path
) -> None:
    (without,) = score.score(film, cache=kept)
    assert (without.score, without.frames) == (result.score, result.frames)
    assert without.timeline == [] and without.worst is None
    assert score.score(film, cache=kept, every="1s") == [result]


def test_worst_moment_is_the_first_with_the_worst_score(result: Score) -> None:
    assert result.worst is not None
    assert result.worst.score == min(moment.score for moment in result.timeline)
    document = result.to_json()
    assert document["worst"]["time"] == result.worst.time
    assert len(document["timeline"]) == 9


@pytest.mark.parametrize(("every", "moments"), [("2s", 5), ("1min", 1)])
@pytest.mark.long
def test_timeline_of_any_interval_starts_at_0_and_ends_within_the_video(
    every: str, moments: int, film: Path, kept: Path
) -> None:
    (result,) = score.score(film, cache=kept, every=every)
    assert len(result.timeline) == moments and result.timeline[0].time == 0


def test_timeline_of_a_model_of_clips_looks_at_a_clip_from_each_moment_on() -> None:
    training = score.load().training
    clips = spec.resolve("extract.samplers", "clips:frames=16,rate=1,stride=2")
    of_clips = training.tracks.map(
        lambda side: [
            type(track)(**{**vars(track), "sampler": clips.portable_spec}) for track in side
        ]
    )
    changed = sampled_every(0.5, type(training)(**{**vars(training), "tracks": of_clips}))
    assert {str(track.sampler) for track in changed.distinct} == {
        "clips:frames=16,rate=2.0,stride=2"
    }
    alone = sampled_every(0.5, training)
    assert {str(track.sampler) for track in alone.distinct} == {"fps:rate=2.0"}
    assert [track.extractor for track in alone.distinct] == [
        track.extractor for track in training.distinct
    ]


def test_each_score_is_told_once_and_those_of_broken_files_too(
    film: Path, kept: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    told: list[Score] = []
    videos = [film, tmp_path / "empty.mp4", tmp_path / "gone.mp4"]
    results = score.score(videos, cache=kept, every=1, on_score=told.append)
    assert sorted(told, key=lambda item: item.video) == sorted(results, key=lambda item: item.video)
    assert len(told) == 3 and [bool(item.error) for item in results] == [False, True, True]


@pytest.mark.long
def test_scores_are_told_while_later_videos_are_not_done(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vqa_twostage.fuse.scored_tracks.LOOK_EVERY_S", 0.0)
    monkeypatch.setattr("vqa_twostage.pipeline.cache.track_writer.COMMIT_SECONDS", 0.0)
    events: list[str] = []
    score.score(
        clips,
        cache=tmp_path,
        workers=1,
        on_progress=lambda done, total: events.append(f"{done} of {total}"),
        on_score=lambda item: events.append("score"),
    )
    assert events.count("score") == 6
    assert events.index("score") < events.index("5 of 6")


def test_command_writes_the_curve_and_draws_it(film: Path, kept: Path, tmp_path: Path) -> None:
    words = ["vqa-fuse", "score", film, "--cache", kept, "--curve", "curve.csv", "--plot", "p.png"]
    done = called(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "timeline   0.0 s" in done.stdout and "9 moments" in done.stdout
    with (tmp_path / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == list(range(9))
    assert (tmp_path / "p.png").stat().st_size > 10_000
    document = json.loads(called(*words[:5], "--every", "1s", "--json", cwd=tmp_path).stdout)
    assert [str(moment["score"]) for moment in document[0]["timeline"]] == [
        row["score"] for row in rows
    ]


def test_threshold_names_spans_of_every_second_and_has_to_lie_within_the_scale(
    film: Path, kept: Path, result: Score, tmp_path: Path
) -> None:
    middle = sorted(moment.score for moment in result.timeline)[4]
    words = ["vqa-fuse", "score", film, "--cache", kept, "--worse-than", repr(middle)]
    (document,) = json.loads(called(*words, "--json", cwd=tmp_path).stdout)
    worse = [moment["time"] for moment in document["timeline"] if moment["score"] < middle]
    assert len(worse) == 4
    for span in document["spans"]:
        assert span["start"] in worse and span["end"] not in worse
    refused = called(*words[:-1], "30", cwd=tmp_path)
    assert refused.returncode == 2
    assert "worse than 30 are asked for, and this model's scores are on a scale of 1 to 5" in (
        refused.stderr
    )
    with pytest.raises(UsageError, match="worse than 0.5"):
        next(watch(tmp_path, worse_than=0.5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.mp4", "--every", "soon"], "'soon' is no interval"),
        (["x.mp4", "--curve", "."], "--curve . is a folder"),
        (["x.mp4", "--curve", "no/c.csv"], "the folder no does not exist"),
        (["x.mp4", "--new-only"], "--new-only is about the folder of --watch"),
    ],
)
def test_command_refuses_what_is_no_interval_or_no_file(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = called("vqa-fuse", "score", *words, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
