"""A hostile video costs itself alone: it is decoded, or refused with one reason, within seconds;
nothing beside it is opened, and no address asked for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hostile_videos import BAIT, Mutant, make_seeds, mutants
from mutant_outcomes import Outcome, decode_watched, reached_elsewhere, unexplained_frames

pytest.importorskip("imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg")

SECONDS = 10.0  # for a file of some 20 kB


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.long
@pytest.mark.soak(12, 800)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_changed_video_is_decoded_or_refused_and_nothing_else_is_opened(
    batch: int,
    seeds: dict[str, bytes],
    tmp_path: Path,
    times: int,
    record_property: Callable[[str, object], None],
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    made = list(mutants(seeds, times, Random(batch)))
    for mutant in made:
        (folder / mutant.name).write_bytes(mutant.data)
    for bait in (folder / BAIT, tmp_path / BAIT):
        shutil.copyfile(folder / made[0].name, bait)
    outcomes, watched = decode_watched(folder, [mutant.name for mutant in made], tmp_path)
    faults = [fault for mutant in made for fault in faults_of(mutant, outcomes[mutant.name])]
    faults += reached_elsewhere(watched, folder, {mutant.name for mutant in made})
    decoded = [mutant for mutant in made if not outcomes[mutant.name].reason]
    unexplained = [
        f"{mutant.name} ({mutant.how}): {found}; {outcomes[mutant.name].damage or 'no damage told'}"
        for mutant in decoded
        if (found := unexplained_frames(folder / mutant.name, outcomes[mutant.name].frames))
    ]
    record_property("decoded", len(decoded))
    record_property("watched", bool(watched))
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:30])
    assert times / 5 < len(decoded) < times
    assert not unexplained, "\n".join(unexplained)
    assert sorted(os.listdir(folder)) == sorted([BAIT, *(mutant.name for mutant in made)])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('7 openat(AT_FDCWD, "/videos/b.mp4", O_RDONLY|O_CLOEXEC) = 7', True),
        ('7 openat(AT_FDCWD, "/usr/lib/libm.so", O_RDONLY) = 3', True),
        ('7 openat(AT_FDCWD, "/proc/3/fd/4", O_RDWR|O_CLOEXEC) = 13', True),
        ('7 openat(AT_FDCWD, "/videos/b.mp4", O_RDWR|O_CLOEXEC) = -1 EACCES', False),
        ('7 openat(AT_FDCWD, "/videos/bait.mp4", O_RDONLY) = -1 EACCES', False),
        ('7 openat(AT_FDCWD, "bait.mp4", O_RDONLY <unfinished ...>', False),
        ('7 openat(AT_FDCWD, "libm.so.6", O_RDONLY <unfinished ...>', False),
        ('7 openat(AT_FDCWD, "tls/libm.so.6", O_RDONLY) = -1 ENOENT (No such file)', True),
        ('7 openat(AT_FDCWD, "tls/libm.so.6", O_RDONLY) = 3', False),
        ('7 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3', False),
        ("7 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = -1 EACCES", False),
        ("7 sendto(3, ..., 20, 0, NULL, 0) = 20", False),
        ('7 execve("/bin/sh", ["sh"], 0x7ffe /* 1 var */) = 0', False),
        ('7 unlink("/videos/b.mp4") = -1 EACCES', False),
    ],
)
def test_watch_sees_what_is_opened_elsewhere_and_each_address(line: str, expected: bool) -> None:
    begun = '7 openat(AT_FDCWD, "/videos/a.mp4", O_RDONLY|O_CLOEXEC) = 7'
    found = list(reached_elsewhere([line, begun, line], Path("/videos"), {"a.mp4", "b.mp4"}))
    early = "/videos/" in line and not expected  # it begins with the first of them
    assert len(found) == (0 if expected else 1 + early)


@pytest.mark.parametrize(
    ("result", "expected"), [("= -1 ENOENT (No such file)", True), ("= 3", False), ("", False)]
)
def test_watch_joins_a_call_that_another_process_interrupted_with_its_result(
    result: str, expected: bool
) -> None:
    calls = [
        '7 openat(AT_FDCWD, "/videos/a.mp4", O_RDONLY|O_CLOEXEC) = 7',
        '7 openat(AT_FDCWD, "tls/libm.so.6", O_RDONLY|O_CLOEXEC <unfinished ...>',
        '8 openat(AT_FDCWD, "/videos/a.mp4", O_RDONLY|O_CLOEXEC <unfinished ...>',
        "8 <... openat resumed>)            = 9",
        *([f"7 <... openat resumed>)            {result}"] if result else []),
    ]
    assert len(list(reached_elsewhere(calls, Path("/videos"), {"a.mp4"}))) == (not expected)


def faults_of(mutant: Mutant, outcome: Outcome) -> list[str]:
    """What should not have become of a file, in words."""
    what = f"{mutant.name} ({mutant.how})"
    faults = []
    if outcome.seconds > SECONDS:
        faults.append(f"{what}: took {outcome.seconds} s")
    for reason in filter(None, (outcome.reason, outcome.scanned)):
        if any(word in reason for word in ("crashed", "hung", "failed", "took more than")):
            faults.append(f"{what}: {reason}")
        if len(reason) > 300 or not reason.isprintable():
            faults.append(f"{what}: no message of one line: {reason!r}")
    if not outcome.reason and len(outcome.frames) != outcome.length:
        faults.append(f"{what}: {len(outcome.frames)} of {outcome.length} frames")
    return faults
