"""The entry point of all commands: exit codes, and no trace in a program that calls it."""

from __future__ import annotations

import errno
import os
import warnings

import click
import pytest

from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.errors import UsageError

DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        *((None, 0), (3, 3), (UsageError("wrong"), 2), (KeyboardInterrupt(), 130)),
        *((OSError(number, os.strerror(number), "file"), 2) for number in DISKS),
    ],
)
def test_run_exits_with_the_code_of_the_outcome_and_restores_how_warnings_are_shown(
    outcome: int | BaseException | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def command() -> int | None:
        assert warnings.showwarning is not before
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("sys.argv", ["command"])
    before = warnings.showwarning
    with pytest.raises(SystemExit) as stop:
        console.run(command)
    assert stop.value.code == code
    assert warnings.showwarning is before


def test_text_of_a_file_moves_no_cursor() -> None:
    assert console.printable("é\x1b[2J\nb\udc80") == "é\\x1b[2J\nb\\udc80"
    assert len(console.printable("x" * 10**6)) < 20_000
