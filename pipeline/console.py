"""What all commands share on a terminal: exit codes, errors in one message, progress. No torch, no
pandas here.
"""

from __future__ import annotations

import errno
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from vqa_twostage import __version__
from vqa_twostage.pipeline.errors import INTERRUPTED, WRONG_USE, UsageError

as_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document on stdout, everything else on stderr.",
)

version_option = click.version_option(__version__, message="vqa-twostage %(version)s")

# without a terminal, a line at most this often
PLAIN_EVERY_S = 15.0


def _plain(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Warning: {message}", err=True)


def run(command: click.Command) -> None:
    """Runs a command to its exit code: its own, 2 on wrong use, 130 on Ctrl-C; a bug keeps its
    traceback and 1.
    """
    warnings.showwarning = _plain
    try:
        code = command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = WRONG_USE
    except UsageError as error:
        click.echo(f"Error: {error}", err=True)
        code = WRONG_USE
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        click.echo(f"Error: {error.filename}: {error.strerror}; give another path", err=True)
        code = WRONG_USE
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        click.echo(
            f"Error: {error.filename or 'writing'}: {error.strerror}; give another path", err=True
        )
        code = WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "Interrupted: what was finished is kept; the same command goes on from there.", err=True
        )
        code = INTERRUPTED
    sys.exit(code)


def show(document: Any, as_json: bool, print_text: Callable[[Any], None]) -> None:
    """``document`` as JSON, or as ``print_text`` prints it for people."""
    if as_json:
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        print_text(document)


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total): a bar with the time left on a terminal, plain
    lines elsewhere.

    All of it goes to stderr: stdout is for results.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn(label),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return

    start = said = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= PLAIN_EVERY_S or done == total:
            said = now
            click.echo(f"{label}: {done} of {total}, {now - start:.0f} s", err=True)

    yield say
