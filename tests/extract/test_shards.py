"""What machines extract in parts, one of them killed on the way, is what one machine extracts."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import BIN, called, run
from forked_commands import ForkedCommands, forked_commands
from stored_features import attributes_in, stored_in

from vqa_twostage.pipeline.cache.layout import load_cached_manifest, tracks
from vqa_twostage.pipeline.cache.track import open_track

SHARDS = 4
COPIES = 4  # of each of the six clips, so that a shard has six videos
SPATIAL = ("--spatial", "efficientnet_lite0:resolutions=64")
TEMPORAL = ("--temporal", "tsm:resolutions=64")
HOW = ("--sampler", "uniform:frames=4", "--runtime", "torch", "--workers", "1")


@pytest.fixture(scope="module")
def many_clips(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 24 videos in an order of its own."""
    folder = Path(shutil.copytree(clips, tmp_path_factory.mktemp("many") / "clips"))
    header, *rows = (folder / "mos.csv").read_text().split()
    lines = [f"{copy}-{row}" for row in rows for copy in "badc"[:COPIES]]
    (folder / "mos.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCommands]:
    with forked_commands(tmp_path_factory.mktemp("commands")) as forked:
        yield forked


def shard(part: int) -> tuple[str, ...]:
    return ("--shard", f"{part}/{SHARDS}", "--cache", f"part-{part}")


def check_merged(folder: Path) -> None:
    """The parts in ``folder``, merged, are the cache ``whole``."""
    parts = [f"part-{part}" for part in range(1, SHARDS + 1)]
    merged = called("vqa-cache", "merge", *parts, "--cache", "cache", cwd=folder)
    assert merged.returncode == 0, merged.stderr
    assert merged.stdout.count("24 of 24 videos, 24 added, 0 were there\n") == 2
    assert "note: " not in merged.stderr
    verified = called("vqa-cache", "verify", "cache", cwd=folder)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    whole = load_cached_manifest(folder / "whole", "mos")
    assert load_cached_manifest(folder / "cache", "mos").digest == whole.digest
    places, expected = tracks(folder / "cache", "mos"), tracks(folder / "whole", "mos")
    assert [place.stem for place in places] == [place.stem for place in expected]
    assert stored_in(places) == stored_in(expected)
    assert attributes_in(places) == attributes_in(expected)
    for place in places:
        with open_track(place) as ours, open_track(place.in_cache(folder / "whole")) as theirs:
            assert ours.ids == theirs.ids == sorted(whole.rows["id"])
            assert ours.identity == theirs.identity


@pytest.mark.long
def test_shards_with_one_killed_and_run_again_merge_into_the_cache_of_one_machine(
    commands: ForkedCommands, many_clips: Path, tmp_path: Path
) -> None:
    words = ("vqa-extract", "--dataset", many_clips / "mos.csv", *SPATIAL, *TEMPORAL, *HOW)
    whole = commands.run(*words, "--cache", tmp_path / "whole")
    assert whole.code == 0, whole.said
    for part in range(1, SHARDS + 1):
        given = (*words, "--shard", f"{part}/{SHARDS}", "--cache", tmp_path / f"part-{part}")
        if part == 2:
            killed = commands.run(*given, kill_after=whole.seconds / 3)
            assert killed.code in (None, 0), killed.said
        ended = commands.run(*given)
        assert ended.code == 0, ended.said
    check_merged(tmp_path)


@pytest.mark.long
def test_four_processes_one_killed_in_the_middle_make_the_cache_of_one_machine(
    many_clips: Path, tmp_path: Path
) -> None:
    """The installed command, at the size of frames that networks have; two processes at a time."""
    words = ("vqa-extract", "--dataset", many_clips / "mos.csv", "--preset", "offline", *HOW)

    def start(part: int) -> subprocess.Popen[str]:
        command = [BIN / words[0], *map(str, (*words[1:], *shard(part)))]
        return subprocess.Popen(command, cwd=tmp_path, text=True, stderr=subprocess.PIPE)

    def end(process: subprocess.Popen[str]) -> int:
        _, said = process.communicate(timeout=240)
        assert "Traceback" not in said
        return process.returncode

    one, two = start(1), start(2)
    while two.poll() is None and not fewest(tmp_path / "part-2") > 0:
        time.sleep(0.02)
    two.kill()
    assert end(two) == -signal.SIGKILL and end(one) == 0
    assert 0 < fewest(tmp_path / "part-2") < 6
    again, three = start(2), start(3)
    assert end(again) == 0 and end(three) == 0
    assert end(start(4)) == 0
    assert run(*words, "--cache", "whole", cwd=tmp_path).returncode == 0
    check_merged(tmp_path)


def fewest(cache: Path) -> int:
    """Of the tracks of a cache that is being made, how many videos the one with the fewest has."""
    counts = []
    for path in tracks(cache, "mos"):
        with open_track(path) as track:
            counts.append(len(track))
    return min(counts) if len(counts) == 2 else 0
