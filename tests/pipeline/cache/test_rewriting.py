"""`vqa-cache repair` keeps what is sound, `vqa-cache compact` gives back space."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_cache import manifest_of
from toy_tracks import IDENTITY, place_of, random_features, same, write

from vqa_twostage.pipeline.cache import track_writer
from vqa_twostage.pipeline.cache.journal import journal_of
from vqa_twostage.pipeline.cache.rewriting import compact, repair
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_index import TRAILER
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.cache.verifying import verify
from vqa_twostage.pipeline.cli_cache import cache_command
from vqa_twostage.pipeline.errors import UsageError

VIDEOS = {f"video {number}": random_features(number, 2 + number) for number in range(4)}


def damage(path: Path, place: int, data: bytes = b"\xff\x00\xff\x00\xaa") -> None:
    content = bytearray(path.read_bytes())
    content[place : place + len(data)] = data
    path.write_bytes(content)


def check_kept(path: Path, kept: list[str]) -> None:
    assert verify(path) == []
    with open_track(path) as track:
        assert track.ids == sorted(kept)
        assert all(same(track.read(name), VIDEOS[name]) for name in kept)
        assert track.identity == IDENTITY and track.index.provenance == {"version test": "1"}


@pytest.mark.long
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_fault_anywhere_costs_at_most_the_videos_that_it_hits(
    data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "t.h5"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track_writer, "CHUNK_BYTES", 512)
        write(path, **VIDEOS)
    content = path.read_bytes()
    used = [place for place, byte in enumerate(content) if byte]
    # the file holds the time at which it was made: the places that are drawn must not depend on it
    place = used[data.draw(st.integers(0, 2**40)) % len(used)]
    damage(path, place, data.draw(st.binary(min_size=1, max_size=4)))
    faults = verify(path)
    result = repair(path)
    assert bool(faults) == bool(result.dropped or result.structure)
    assert len(result.dropped) <= 2  # what is written over has four bytes
    with open_track(path) as track:
        kept = track.ids  # of a dropped video the name itself may be damaged
    assert set(kept) <= VIDEOS.keys() and len(kept) == result.kept
    check_kept(path, kept)
    assert result.kept + len(result.dropped) == len(VIDEOS)


def test_sound_track_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", **VIDEOS)
    before = (tmp_path / "t.h5").stat()
    result = repair(tmp_path / "t.h5")
    assert "sound" in str(result) and (tmp_path / "t.h5").stat().st_ino == before.st_ino


@pytest.mark.parametrize("lost", ["index", "trailer", "end", "structure"])
def test_index_and_structure_stand_in_for_each_other(lost: str, tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, **VIDEOS)
    size = path.stat().st_size
    if lost == "end":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        damage(path, {"index": size - TRAILER.size - 20, "trailer": size - 9, "structure": 8}[lost])
    result = repair(path)
    assert result.kept == len(VIDEOS) and not result.dropped and result.structure
    check_kept(path, list(VIDEOS))


def test_damaged_journal_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, **VIDEOS)
    journal_of(path).write_bytes(b"no journal")
    with (
        pytest.raises(UsageError, match=r"journal is damaged; vqa-cache repair"),
        open_track(path),
    ):
        pass
    assert "its journal" in repair(path).structure
    check_kept(path, list(VIDEOS))


def test_file_that_is_beyond_repair_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, **VIDEOS)
    damage(path, 8)
    damage(path, path.stat().st_size - 9)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"cannot be repaired.*Move the file elsewhere"):
        repair(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    with pytest.raises(UsageError, match=r"not a feature cache, and was left alone"):
        repair(tmp_path / "other.h5")
    assert path.read_bytes() == before


def test_compact_gives_the_space_of_replaced_videos_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track_writer, "CHUNK_BYTES", 512)
    path = tmp_path / "t.h5"
    for number in range(30):
        write(path, **{"video 0": random_features(number, 9)})
    write(path, **VIDEOS)
    with open_track(path) as track:
        assert track.dead_rows == 30 * 9
    result = compact(path)
    assert result.bytes_after < result.bytes_before / 2
    check_kept(path, list(VIDEOS))
    with open_track(path) as track:
        assert track.dead_rows == 0


def test_neither_is_done_beside_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, **VIDEOS)
    with write_track(path, IDENTITY, {}):
        for change in (compact, repair):
            with pytest.raises(UsageError, match="in use by another process"):
                change(path)


def test_commands_say_what_they_did(tmp_path: Path) -> None:
    path = tmp_path / "cache/toy/uniform/net.h5"
    write(path, **VIDEOS)
    save_manifest(tmp_path / "cache", manifest_of("toy", 3, 2))
    damage(path, place_of(path, "features/c5/std", 3))
    runner = CliRunner()

    def run(*words: str) -> tuple[int, str]:
        result = runner.invoke(
            cache_command, [*words, str(tmp_path / "cache")], standalone_mode=False
        )
        assert result.exception is None
        return result.return_value, result.output

    assert run("verify")[0] == 3
    code, output = run("repair")
    assert code == 3 and "3 videos kept, 1 dropped" in output and "dropped: video 1" in output
    assert run("repair")[0] == 0 and run("verify")[0] == 0
    code, output = run("compact")
    assert code == 0 and "MB, now" in output


def test_manifest_that_was_edited_is_named_by_verify(tmp_path: Path) -> None:
    write(tmp_path / "cache/toy/uniform/net.h5", **VIDEOS)
    save_manifest(tmp_path / "cache", manifest_of("toy", 3, 2))
    path = tmp_path / "cache" / "toy" / "manifest.json"
    path.write_text(path.read_text().replace("opinion", "MOS"))
    words = ["verify", str(tmp_path / "cache")]
    result = CliRunner().invoke(cache_command, words, standalone_mode=False)
    assert result.exception is None and result.return_value == 3
    assert "manifest.json cannot be used: its content does not fit its sha256" in result.output
