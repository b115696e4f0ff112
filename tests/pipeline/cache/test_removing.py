"""`vqa-cache rm` removes tracks, datasets and videos, asks before, and refuses what is in use."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from commands import called
from toy_cache import make_cache

from vqa_twostage.pipeline.cache.journal import journal_of
from vqa_twostage.pipeline.cache.layout import datasets, load_cached_manifest, tracks
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.cache.verifying import verify
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.errors import DONE, UsageError

FIRST, SECOND = "content 00/version 0", "content 00/version 1"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    make_cache(tmp_path / "cache", "one", 3, 2)
    return make_cache(tmp_path / "cache", "two", 3, 1)


def rm(*words: str | Path, answer: str | None = None) -> Result:
    result = CliRunner().invoke(
        cache_command, ["rm", *map(str, words)], input=answer, standalone_mode=False
    )
    if result.exception:
        raise result.exception
    assert result.return_value == DONE
    return result


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_track_is_removed_with_its_journal_and_nothing_else(cache: Path) -> None:
    gone, kept = tracks(cache, "one")
    before = content(cache)
    journal_of(gone.path).write_bytes(b"of a writer that was killed")
    assert str(gone) in rm(gone.path, "--yes").stdout
    assert content(cache) == {path: data for path, data in before.items() if path != gone.path}
    assert kept.path in before


def test_videos_are_removed_from_every_track_and_their_labels_stay(cache: Path) -> None:
    before = {path: (open_all(path.path)) for path in tracks(cache, "one")}
    rm(cache, "--dataset", "one", "--video", SECOND, "--video", FIRST, "--yes")
    for path, ids in before.items():
        assert open_all(path.path) == [name for name in ids if name not in (FIRST, SECOND)]
        assert verify(path) == []
    assert FIRST in set(load_cached_manifest(cache, "one").rows["id"])
    assert FIRST in open_all(tracks(cache, "two")[0].path)


def open_all(path: Path) -> list[str]:
    with open_track(path) as track:
        for name in track.ids:
            track.read(name)
        return track.ids


def test_video_is_removed_from_one_track_alone(cache: Path) -> None:
    one, other = tracks(cache, "one")
    rm(one.path, "--video", FIRST, "--yes")
    assert FIRST not in open_all(one.path) and FIRST in open_all(other.path)


def test_track_without_its_last_video_can_be_written_again(cache: Path) -> None:
    path = tracks(cache, "two")[0]
    with open_track(path) as track:
        identity, again = track.identity, track.read(FIRST)
        ids = track.ids
    rm(path.path, *[word for name in ids for word in ("--video", name)], "--yes")
    assert open_all(path.path) == [] and verify(path) == []
    with write_track(path, identity, {}) as writer:
        writer.write(FIRST, again)
    assert open_all(path.path) == [FIRST]


def test_dataset_is_removed_with_its_labels_but_not_what_lies_beside(cache: Path) -> None:
    two = content(cache / "two")
    (cache / "one" / "notes.txt").write_text("mine")
    rm(cache, "--dataset", "one", "--yes")
    assert datasets(cache) == ["two"] and content(cache / "two") == two
    assert list(content(cache / "one").values()) == [b"mine"]
    rm(cache, "--dataset", "two", "--yes")
    assert not (cache / "two").exists()


def test_it_asks_and_no_means_no(cache: Path) -> None:
    before = content(cache)
    asked = rm(cache, "--dataset", "one", answer="n\n")
    assert all(str(path) in asked.stderr for path in tracks(cache, "one"))
    assert asked.stdout == "nothing was removed\n" and content(cache) == before
    rm(cache, "--dataset", "one", answer="y\n")
    assert datasets(cache) == ["two"]


def test_without_an_answer_nothing_is_removed(cache: Path) -> None:
    before = content(cache)
    with pytest.raises(UsageError, match="nothing was removed; give --yes"):
        rm(cache, "--dataset", "one", answer="")
    assert content(cache) == before


@pytest.mark.parametrize("videos", [(), ("--video", FIRST)])
def test_track_that_is_being_written_is_refused_and_nothing_removed(
    videos: tuple[str, ...], cache: Path
) -> None:
    last = tracks(cache, "one")[-1]
    with open_track(last) as track:
        identity = track.identity
    with write_track(last, identity, {}):
        result = called(
            "vqa-cache", "rm", cache, "--dataset", "one", *videos, "--yes", cwd=cache.parent
        )
        assert result.returncode == 2 and f"{last} is in use by another process" in result.stderr
    assert all(FIRST in open_all(path.path) for path in tracks(cache, "one"))
    assert len(tracks(cache, "one")) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cache"], r"choose with --dataset: one, two"),
        (["cache", "--dataset", "three"], r"no dataset 'three'; it holds one, two"),
        (
            ["cache", "--dataset", "one", "--video", "content 00"],
            r"choose from content 0\d/version \d, .* and 6 more",
        ),
        (["cache", "--dataset", "two", "--video", "x"], rf"no video 'x' is in .* {FIRST}"),
        (["nowhere"], r"nowhere holds no dataset"),
        (["cache/one/uniform/gone.h5"], r"does not exist; vqa-cache info"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_valid(
    words: list[str], message: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cache.parent)
    make_cache(cache, "one", 4, 4)
    before = content(cache)
    with pytest.raises(UsageError, match=message):
        rm(*words, "--yes")
    assert content(cache) == before


def test_dataset_is_not_given_with_a_track(cache: Path) -> None:
    with pytest.raises(UsageError, match="leave out --dataset one"):
        rm(tracks(cache, "one")[0].path, "--dataset", "one", "--yes")
