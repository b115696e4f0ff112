"""A journaled file holds all changes of a commit or none, wherever its writer is stopped."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache import journal
from vqa_twostage.pipeline.cache.journal import (
    CHANGE,
    HEADER,
    MAGIC,
    DamagedJournalError,
    JournaledFile,
    journal_of,
)
from vqa_twostage.pipeline.checksum import ENCODED, checksum

CHANGES = st.lists(
    st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=12)), min_size=1, max_size=8
)


class Killed(BaseException):
    """Simulates SIGKILL between two system calls."""


def apply(before: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    content = bytearray(before)
    for offset, data in changes:
        content.extend(bytes(max(0, offset + len(data) - len(content))))
        content[offset : offset + len(data)] = data
    return bytes(content)


def write(path: Path, changes: list[tuple[int, bytes]]) -> None:
    file = JournaledFile(path, writable=True)
    for offset, data in changes:
        file.seek(offset)
        file.write(data)
    assert content(file) == apply(
        path.read_bytes(), changes
    )  # a writer reads its own uncommitted changes
    file.commit()
    file.close()


def content(file: JournaledFile) -> bytes:
    file.seek(0)
    return bytes(file.read())


def read(path: Path) -> bytes:
    with JournaledFile(path, writable=False) as file:
        return content(file)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=st.binary(max_size=30), changes=CHANGES, step=st.integers(0, 14))
def test_killed_writer_leaves_all_of_its_changes_or_none(
    before: bytes, changes: list[tuple[int, bytes]], step: int, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(before)
    journal_of(path).unlink(missing_ok=True)
    steps = iter(range(1000))

    def stopping(call: Callable[..., object]) -> Callable[..., object]:
        def call_or_stop(*arguments: object) -> object:
            if next(steps) >= step:
                raise Killed
            return call(*arguments)

        return call_or_stop

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "pwrite"), (os, "ftruncate"), (Path, "replace"), (Path, "unlink")):
            patch.setattr(owner, name, stopping(getattr(owner, name)))
        with suppress(Killed):
            write(path, changes)
    after = apply(before, changes)
    assert read(path) in (
        {after} if step else {before}
    )  # from the first step on, the journal has its final name
    with JournaledFile(path, writable=True) as file:  # the next writer replays the journal
        assert content(file) == (after if step else before)
    assert path.read_bytes() == (after if step else before) and not journal_of(path).exists()


def test_uncommitted_changes_are_discarded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with JournaledFile(path, writable=True) as file:
        file.write(b"after")
    assert path.read_bytes() == b"before"


def test_file_is_truncated_at_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with JournaledFile(path, writable=True) as file:
        file.seek(6)
        file.write(b"ab")
        file.truncate(7)
        assert content(file) == b"012345a" and path.stat().st_size == 10
        file.commit()
    assert path.read_bytes() == b"012345a"


def test_file_has_one_writer_and_may_be_read_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with JournaledFile(path, writable=True):
        with pytest.raises(BlockingIOError):
            JournaledFile(path, writable=True)
        assert read(path) == b"x"


def test_tail_is_written_behind_and_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before and after")
    with JournaledFile(path, writable=True) as file:
        file.truncate(6)
        for tail in (b" tail", b"", b" another tail"):
            file.commit(tail)
            assert path.read_bytes() == b"before" + tail and content(file) == b"before"


@pytest.mark.parametrize("place", range(0, 70, 3))
def test_damaged_journal_is_noticed(place: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    journal._write_journal(journal_of(path), 9, [(0, b"another"), (3, b"change")])
    assert read(path) == b"anochange"
    damaged = bytearray(journal_of(path).read_bytes())
    damaged[place % len(damaged)] ^= 4
    for content_of_journal in (damaged, damaged[:place], b""):
        journal_of(path).write_bytes(content_of_journal)
        for writable in (False, True):
            with pytest.raises(DamagedJournalError, match="file.journal is damaged"):
                JournaledFile(path, writable=writable)
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize(
    ("size", "offset", "length", "count"),
    [
        *((2**62, 0, 3, 1), (2**64 - 1, 0, 3, 1), (100, 2**60, 3, 1), (1, 50, 3, 1)),
        *((100, 0, 2**63, 1), (100, 0, 2**63, 2), (100, 0, 2**64 - 1, 2), (100, 0, 2**62, 2)),
        *((100, 0, 4, 1), (100, 0, 2, 1), (100, 0, 3, 2**63)),
    ],
)
def test_journal_that_claims_what_it_cannot_hold_is_refused(
    size: int, offset: int, length: int, count: int, tmp_path: Path
) -> None:
    """As a stranger's may, with a right checksum."""
    path = tmp_path / "f"
    path.write_bytes(bytes(100))
    body = HEADER.pack(MAGIC, size, count) + CHANGE.pack(offset, length) + b"abc"
    journal_of(path).write_bytes(body + ENCODED.pack(checksum(body)))
    for writable in (False, True):
        with pytest.raises(DamagedJournalError, match="is damaged"):
            JournaledFile(path, writable=writable)
    assert path.stat().st_size == 100
