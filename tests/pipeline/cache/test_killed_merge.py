"""A merge that is killed, or whose disk is full, ends as one that nobody disturbed.

`make soak` tries as often as docs/reliability.md says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from full_disk import ERRORS, full_disk
from stored_features import Stored, stored_in
from toy_cache import manifest_of, write_features

from vqa_twostage.pipeline.cache import merging
from vqa_twostage.pipeline.cache.layout import tracks
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.verifying import manifest_faults, verify
from vqa_twostage.pipeline.errors import UsageError

BLOCK_BYTES = 2000  # two or three videos of the toy cache
ROOM = 10_000  # changes of a disk, for a whole merge and more
# merges in processes of its own, each of which is killed by its first change of the disk after so
# many; prints how many changes each made, null for one that was killed
MERGES = f"""
import errno, json, os, signal, sys
from pathlib import Path
from full_disk import full_disk
from vqa_twostage.pipeline.cache import merging
merging.BLOCK_BYTES = {BLOCK_BYTES}
target, rooms, *sources = sys.argv[1:]
for number, room in enumerate(json.loads(rooms)):
    cache = Path(target) / str(number)
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        with full_disk(cache, room, errno.EIO) as disk:
            refusing = disk.change
            def killing(where):
                try:
                    refusing(where)
                except OSError:
                    os.kill(os.getpid(), signal.SIGKILL)
            disk.change = killing
            merging.merge_caches(list(map(Path, sources)), cache)
        os.write(writing, str(disk.changes).encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(process, 0)
    print(json.dumps(int(os.read(reading, 99) or 0) if status == 0 else None), flush=True)
    assert status in (0, signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three parts of one dataset, each with two tracks."""
    manifest = manifest_of("toy", 7, 3)
    ids = manifest.rows["id"].tolist()
    folders = []
    for start in range(3):
        folder = tmp_path_factory.mktemp(f"part-{start}")
        save_manifest(folder, manifest)
        without = tuple(set(ids) - set(ids[start::3]))
        for kind in ("spatial", "temporal"):
            write_features(folder, manifest, kind, without=without)
        folders.append(folder)
    return folders


def merged_and_killed(target: Path, rooms: list[int], parts: list[Path]) -> list[int | None]:
    support = Path(__file__).parents[2] / "support"
    path = os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])
    words = [target, json.dumps(rooms), *parts]
    done = subprocess.run(
        [sys.executable, "-c", MERGES, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_finished(cache: Path, whole: Stored) -> None:
    found = stored_in(tracks(cache, "toy"))
    assert found == whole
    assert manifest_faults(cache) == {}
    if int(cache.name) % 4 == 3:  # another process reads HDF5's structure, which takes its time
        assert all(verify(track) == [] for track in tracks(cache, "toy"))


@pytest.mark.long
@pytest.mark.soak(4, 400)
def test_killed_merge_run_again_ends_as_if_nobody_had_disturbed_it(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    (changes,) = merged_and_killed(tmp_path / "whole", [ROOM], parts)
    assert changes is not None
    whole = stored_in(tracks(tmp_path / "whole" / "0", "toy"))
    assert len(whole) == 2 * 21 * (6 + 3)
    rooms = [number * changes // times for number in range(times)]
    assert merged_and_killed(tmp_path, rooms, parts) == [None] * times
    monkeypatch.setattr(merging, "BLOCK_BYTES", BLOCK_BYTES)
    partial = 0
    for number in range(times):
        found = stored_in(tracks(tmp_path / str(number), "toy"))
        assert found.items() <= whole.items()
        partial += 0 < len(found) < len(whole)
        merging.merge_caches(parts, tmp_path / str(number))
        check_finished(tmp_path / str(number), whole)
    assert partial >= times // 2


@pytest.mark.long
@pytest.mark.soak(4, 400)
def test_merge_onto_a_full_disk_says_so_and_goes_on_when_there_is_room(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(merging, "BLOCK_BYTES", BLOCK_BYTES)
    with full_disk(tmp_path, ROOM, ERRORS[0]) as disk:
        merging.merge_caches(parts, tmp_path / "whole")
    whole, random = stored_in(tracks(tmp_path / "whole", "toy")), Random(0)
    for number in range(times):
        cache, error = tmp_path / str(number), ERRORS[number % len(ERRORS)]
        room = random.randrange(disk.changes) if number else 0
        with (
            full_disk(tmp_path, room, error),
            # the command line makes one message of either
            pytest.raises((UsageError, OSError), match=os.strerror(error)) as refused,
        ):
            merging.merge_caches(parts, cache)
        assert str(cache) in str(refused.value) and "\n" not in str(refused.value)
        assert stored_in(tracks(cache, "toy")).items() <= whole.items()
        merging.merge_caches(parts, cache)
        check_finished(cache, whole)
