"""`vqa-cache du` says how large a cache is, and what compacting gives back."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import called, document
from toy_cache import make_cache, manifest_of
from toy_tracks import random_features, write

from vqa_twostage.pipeline.cache import track_writer
from vqa_twostage.pipeline.cache.rewriting import compact
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.usage import usage_of
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.errors import UsageError


def track_with(cache: Path, monkeypatch: pytest.MonkeyPatch, videos: int, again: int) -> Path:
    """A track of ``videos`` videos, of which ``again`` were written a second time."""
    monkeypatch.setattr(track_writer, "CHUNK_BYTES", 512)
    save_manifest(cache, manifest_of("toy", 3, 2))
    path = cache / "toy" / "uniform" / "net-0123456789.h5"
    made = {f"video {number}": random_features(number, 2 + number % 4) for number in range(videos)}
    write(path, **made)
    if again:
        write(path, **dict(list(made.items())[:again]))
    return path


@pytest.mark.parametrize("again", [0, 1, 20, 60])
def test_dead_bytes_are_what_compacting_gives_back(
    again: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = track_with(tmp_path, monkeypatch, 60, again)
    (track,) = usage_of(tmp_path).datasets[0].tracks
    result = compact(path)
    given_back = result.bytes_before - result.bytes_after
    assert (track.bytes, track.videos) == (result.bytes_before, 60)
    # HDF5 writes its own trees of chunks anew, which are small and not counted
    assert track.dead <= given_back <= track.dead * 1.1 + 512
    assert bool(track.dead) == bool(again)
    assert usage_of(tmp_path).dead == 0


def test_sizes_add_up_to_every_file_of_the_cache(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache", "one", 3, 2)
    make_cache(tmp_path / "cache", "two", 3, 1)
    (tmp_path / "cache" / "one" / "uniform-frames4" / "net.h5.99.new").write_bytes(bytes(1000))
    shown = document(called("vqa-cache", "du", "cache", "--json", cwd=tmp_path))
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert shown["bytes"] == sum(path.stat().st_size for path in files)
    one, two = shown["datasets"]
    assert one["other"] - two["other"] > 1000 and one["bytes"] + two["bytes"] == shown["bytes"]
    assert [track["videos"] for track in one["tracks"] + two["tracks"]] == [6, 6, 3, 3]


def test_text_leads_to_compact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = track_with(tmp_path, monkeypatch, 60, 60)
    result = CliRunner().invoke(cache_command, ["du", str(tmp_path)], standalone_mode=False)
    assert f"{path}: 0.1 MB, 0.0 MB dead, 60 videos" in result.stdout
    assert result.stdout.endswith(f"next: vqa-cache compact {tmp_path}\n")
    compact(path)
    result = CliRunner().invoke(cache_command, ["du", str(path)], standalone_mode=False)
    assert "next:" not in result.stdout and "toy: " in result.stdout


def test_damaged_track_counts_with_its_size(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache", "toy", 3, 2)
    path = next((tmp_path / "cache").rglob("*.h5"))
    path.write_bytes(path.read_bytes()[:-9])
    result = called("vqa-cache", "du", "cache", "--json", cwd=tmp_path)
    damaged, sound = document(result)["datasets"][0]["tracks"]
    assert result.returncode == 3 and "vqa-cache repair" in result.stderr
    assert damaged["bytes"] == path.stat().st_size and damaged["fault"]
    assert sound["videos"] == 6 and not sound["fault"]


def test_cache_without_tracks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no track; vqa-extract --cache"):
        usage_of(tmp_path)
