"""What all commands do in the same way on a terminal: exit codes, errors as one message, progress.
It imports neither torch nor pandas.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from vqa_twostage import __version__
from vqa_twostage.pipeline.addresses import CACHE_ADVICE, FOLDER_ADVICE, require_local
from vqa_twostage.pipeline.cache import CACHE_VARIABLE
from vqa_twostage.pipeline.completion import any_preset
from vqa_twostage.pipeline.encoding import any_encoding, escaped
from vqa_twostage.pipeline.errors import (
    DONE,
    INTERRUPTED,
    READER_GONE,
    WRONG_USE,
    UsageError,
)
from vqa_twostage.pipeline.invocation import command_line, started_as
from vqa_twostage.pipeline.limits import DEFAULTS, SCRATCH_GB
from vqa_twostage.pipeline.ray_cluster import ENGINES

as_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON document on stdout, everything else on stderr.",
)

Command = TypeVar("Command", bound=Callable[..., Any])


class LocalPath(click.Path):
    """A file or a folder of this machine; UsageError for an address."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name = "" if param is None else max(param.opts, key=len)
        of_cache = param is not None and param.name in ("cache", "place", "sources")
        advice = CACHE_ADVICE if of_cache else FOLDER_ADVICE
        require_local(value, name, advice)
        return super().convert(value, param, ctx)


def cache_option(help: str) -> Callable[[Command], Command]:
    """``--cache DIR`` of a command that reads or writes a cache."""
    return click.option(
        "--cache",
        type=LocalPath(),
        default=Path("cache"),
        envvar=CACHE_VARIABLE,
        show_default=True,
        show_envvar=True,
        help=help,
    )


preset_option = click.option(
    "--preset",
    shell_complete=any_preset(),
    metavar="NAME|TOML",
    help="A set of options for both stages: a name that vqa-extract --list shows, or a .toml of "
    "your own; options given beside it win.",
)


def scratch_options(function: Command) -> Command:
    """Where a command copies videos at addresses to; None is the default of each."""
    folder = click.option(
        "--scratch",
        metavar="DIR",
        help="Where videos at addresses are copied to while they are read [default: that of "
        "temporary files].",
    )
    size = click.option(
        "--scratch-gb",
        type=click.FloatRange(min=0, min_open=True),
        metavar="GB",
        help=f"What these copies may take at once; a larger video is copied alone [default: "
        f"{SCRATCH_GB:g}].",
    )
    return folder(size(function))


def engine_options(function: Command) -> Command:
    """Where a command works; None is this machine."""
    engine = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        help="local: this machine; ray: the machines of a Ray cluster, on all of their CPUs or "
        f"GPUs [default: {ENGINES[0]}].",
    )
    address = click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="auto or HOST:PORT [default: the cluster that runs here, else one is started here].",
    )
    return engine(address(function))


limits_option = click.option(
    "--limits",
    metavar="KEY=VALUE,…",
    help="What a video may take: pixels of a frame, number of frames, duration in seconds, memory "
    "of a decoding process in GB, processor time in seconds a MB of file; one that exceeds a limit "
    f"fails, and the others go on [default: {str(DEFAULTS).replace(',', ', ')}].",
)
version_option = click.version_option(__version__, message="vqa-twostage %(version)s")

# without a terminal, progress is printed at most this often
PLAIN_EVERY_S = 15.0


def run(command: click.Command) -> None:
    """Runs a command and exits with its exit code: its own, 2 for wrong use, 130 for Ctrl-C, or 141
    where nobody reads what it prints any more. A bug keeps its traceback and exit code 1.

    While the command runs, warnings of the whole process are printed as one line each.
    """
    show_warning, stdout, stderr = warnings.showwarning, sys.stdout, sys.stderr
    warnings.showwarning = _print_warning
    try:
        with any_encoding(), started_as(command_line(sys.argv)):
            code = _exit_code(command)
    except BrokenPipeError:
        code = READER_GONE
    except SystemExit as stop:
        # where a reader is gone, click replaces the streams and exits, and rich exits
        if sys.stdout is stdout and not isinstance(stop.__context__, BrokenPipeError):
            raise
        sys.stdout, sys.stderr = stdout, stderr
        code = READER_GONE
    finally:
        warnings.showwarning = show_warning
    with suppress(KeyboardInterrupt):  # everything is done and printed
        _end_waiting_processes()
    if code == READER_GONE:
        _print_nowhere()
    sys.exit(code)


def _print_nowhere() -> None:
    """What is still in a buffer goes nowhere: Python tries again at its end, and would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        with suppress(OSError):
            os.dup2(nowhere, stream)


def _end_waiting_processes() -> None:
    """Those that joblib keeps for more work: by themselves they take seconds to end, in which a
    command that has printed everything would seem to hang. Not for a library, whose host may have
    work for them.
    """
    if "joblib.externals.loky.reusable_executor" in sys.modules:
        from joblib.externals.loky import get_reusable_executor

        # the first is for processes that an interruption broke
        get_reusable_executor(kill_workers=True).shutdown(kill_workers=True)


def _exit_code(command: click.Command) -> int:
    try:
        return int(command.main(standalone_mode=False) or DONE)
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except UsageError as error:
        click.echo(f"Error: {printable(str(error))}", err=True)
        return WRONG_USE
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        click.echo(f"Error: {error.filename}: {error.strerror}; give another path", err=True)
        return WRONG_USE
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        file = error.filename or "the output"
        click.echo(f"Error: {file}: {error.strerror}; give another path", err=True)
        return WRONG_USE
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "Interrupted: what was finished is kept; run the same command again to continue.",
            err=True,
        )
        return INTERRUPTED


def printable(text: str) -> str:
    """What files say, for a terminal: nothing in it moves the cursor, and it is no book."""
    return escaped(text, kept="\n")


def print_unmatched(
    lacking: str,
    missing: Sequence[str],
    ambiguous: Mapping[str, Sequence[str]],
    unknown: Sequence[str],
) -> None:
    """Of an import, on stderr: the videos that are ``missing`` in the file, whose ``lacking`` says
    what of; its names that may be several videos; and those of no video. Ten of each.
    """
    clear = [f"{name} ({', '.join(ids)})" for name, ids in ambiguous.items()]
    for what, names in (
        (f"no {lacking}", missing),
        ("in the file, and not clear which video", clear),
        ("in the file, but no video", unknown),
    ):
        for name in names[:10]:
            click.echo(printable(f"  {what}: {name}"), err=True)
        if len(names) > 10:
            click.echo(f"  {what}: and {len(names) - 10} more; --json lists all", err=True)


def removal_agreed(removal: object, question: str) -> bool:
    """Shows what is to be removed, as text, and asks. UsageError where nobody can answer."""
    click.echo(f"This removes {removal}", err=True)
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:  # no terminal to answer on
        raise UsageError("nothing was removed; give --yes to remove without a question") from None
    if not agreed:
        click.echo("nothing was removed")
    return agreed


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Warning: {message}", err=True)


def show(document: Any, as_json: bool, print_text: Callable[[Any], None]) -> None:
    """Prints ``document`` as JSON, or for people with ``print_text``."""
    if as_json:
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        print_text(document)


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total). On a terminal it shows a bar and the time that
    is left, elsewhere it prints plain lines.

    Everything goes to stderr, because stdout is for results.
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

    start = last_line = time.monotonic()

    def print_line(done: int, total: int) -> None:
        nonlocal last_line
        now = time.monotonic()
        if now - last_line >= PLAIN_EVERY_S or done == total:
            last_line = now
            click.echo(f"{label}: {done} of {total}, {now - start:.0f} s", err=True)

    yield print_line
