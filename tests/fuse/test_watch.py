"""A watched folder: every video is scored once it is whole, and again when it changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commands import BIN, called

from vqa_twostage.fuse import watch as watching
from vqa_twostage.fuse.scored_tracks import CHANGED
from vqa_twostage.fuse.video_score import Score
from vqa_twostage.fuse.watch import watch
from vqa_twostage.pipeline.errors import UsageError


class Stop(Exception):
    """Ends a watch."""


def watched(folder: Path, cache: Path, *steps: object, new_only: bool = False) -> list[list[str]]:
    """The names of the videos that are scored before each of ``steps``, functions that change the
    folder, and after the last.
    """
    rounds: list[list[str]] = [[]]
    left = [*steps, lambda: None, lambda: None]

    def pause(_: float) -> None:
        if not left:
            raise Stop
        step = left.pop(0)
        assert callable(step)
        step()
        rounds.append([])

    with suppress(Stop):
        for score in watch(folder, cache=cache, pause=pause, new_only=new_only):
            assert not score.error
            rounds[-1].append(Path(score.video).name)
    return rounds


@pytest.mark.long
def test_watched_folder_scores_what_is_there_what_arrives_and_what_changes(
    clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    shutil.copy(clips / "testsrc.mp4", folder / "first.mp4")

    def arrive() -> None:
        shutil.copy(clips / "testsrc2.mp4", folder / "second.mp4")
        (folder / "notes.txt").write_text("no video")

    def change() -> None:
        shutil.copy(clips / "smptebars.mp4", folder / "first.mp4")
        os.utime(folder / "first.mp4", ns=(1, 1))

    rounds = watched(
        folder, tmp_path / "kept", lambda: None, arrive, lambda: None, change, lambda: None
    )
    assert rounds == [[], ["first.mp4"], [], ["second.mp4"], [], ["first.mp4"], [], []]


def test_new_only_leaves_out_what_is_there_until_it_changes(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    shutil.copy(clips / "testsrc.mp4", folder / "old.mp4")
    uploaded = (clips / "testsrc2.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(uploaded[:1000])

    def go_on() -> None:
        (folder / "half.mp4").write_bytes(uploaded)
        shutil.copy(clips / "testsrc.mp4", folder / "new.mp4")

    scored = watched(folder, tmp_path / "cache", lambda: None, go_on, new_only=True)
    assert sorted(name for names in scored for name in names) == ["half.mp4", "new.mp4"]


def test_video_that_still_grows_is_not_scored(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    content = (clips / "testsrc.mp4").read_bytes()
    growing = folder / "film.mp4"
    growing.write_bytes(content[:100])
    steps = [
        lambda: growing.write_bytes(content[:500]),
        lambda: growing.write_bytes(content[:2000]),
        lambda: growing.write_bytes(content),
    ]
    rounds = watched(folder, tmp_path / "kept", *steps)
    assert rounds[:4] == [[]] * 4 and [name for names in rounds for name in names] == ["film.mp4"]


def test_watch_of_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no folder; give one that videos arrive in"):
        next(watch(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--watch", "."], None),
        (["--watch", "nowhere"], "no such folder; give one that videos arrive in"),
        (["--watch", ".", "x.mp4"], "give a folder to watch, or videos"),
        (["--watch", ".", "--json"], "no end at which one document could be printed"),
        (["--watch", ".", "--plot", "p.png"], "no end at which --plot could be written"),
        (["--watch", ".", "--curve", "c.csv"], "no end at which --curve could be written"),
        ([], "no video is given"),
    ],
)
def test_watch_command_refuses_what_needs_an_end(
    words: list[str], message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[Score]:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "watch", interrupted)
    done = called("vqa-fuse", "score", *words, cwd=tmp_path)
    if message is None:
        assert done.returncode == 0 and "watched .: 0 scored" in done.stderr
    else:
        assert done.returncode == 2 and message in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_watch_command_prints_each_score_and_ends_with_ctrl_c_and_with_sigterm(
    stop: signal.Signals, clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    shutil.copy(clips / "testsrc.mp4", folder / "first.mp4")
    words = [BIN / "vqa-fuse", "score", "--watch", folder, "--jsonl", "--cache", tmp_path / "kept"]
    process = subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert Path(json.loads(process.stdout.readline())["video"]).name == "first.mp4"
    shutil.copy(clips / "testsrc2.mp4", folder / "second.mp4")
    assert Path(json.loads(process.stdout.readline())["video"]).name == "second.mp4"
    time.sleep(0.5)
    process.send_signal(stop)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0 and "watched" in told and "2 scored" in told


def test_video_that_changed_while_it_was_read_gets_no_line_and_comes_again(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    shutil.copy(clips / "testsrc.mp4", folder / "film.mp4")
    asked: list[int] = []

    def scores(videos: list[Path], *_: object, **__: object) -> list[Score]:
        asked.append(len(videos))
        error = CHANGED if len(asked) == 1 else ""
        fields: dict[str, Any] = {"scale": (1.0, 5.0), "label": "", "better": "higher"}
        return [Score(str(video), error=error, trained_on="", **fields) for video in videos]

    monkeypatch.setattr("vqa_twostage.fuse.score.score", scores)
    rounds = watched(folder, tmp_path / "kept", lambda: None)
    assert rounds == [[], [], ["film.mp4"], []] and asked == [1, 1]
