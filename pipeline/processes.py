"""Work in processes of its own: a file that hangs or crashes the library that reads it costs that
file alone.

How they are started is in `pipeline/process_context.py`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, TypeVarTuple

from pebble import ProcessExpired, ProcessPool

# calls until a new process takes a process's place: decord's memory grows over many files
TASKS_PER_PROCESS = 500

Arguments = TypeVarTuple("Arguments")
R = TypeVar("R")


class CrashError(Exception):
    """The process of a call ended without a result."""


def start_processes(
    workers: int,
    prepare: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> ProcessPool:
    """A pool of ``workers`` processes for functions that a module defines, with a time limit for
    each call where the caller sets one.

    Each process first calls ``prepare``, which may not fail. A process whose call is cancelled or
    takes too long is killed, and another takes its place.
    """
    # loky takes a fifth of a second to import, and most commands start no process
    from vqa_twostage.pipeline.process_context import ProcessContext

    return ProcessPool(
        max_workers=workers,
        max_tasks=TASKS_PER_PROCESS,
        initializer=prepare,
        initargs=arguments,
        context=ProcessContext(),
    )


def call_apart(
    function: Callable[[*Arguments], R], *arguments: *Arguments, timeout: float | None = None
) -> R:
    """Calls a function of a module in another process, for files whose parser damage can crash.

    Raises what the function raises, and CrashError where its process ends before it does, or has
    not ended after ``timeout`` seconds.
    """
    try:
        call = (os.getcwd(), function, arguments)
        return _parser().schedule(_call_in, call, timeout=timeout).result()
    except TimeoutError:
        raise CrashError(f"its parser did not end in {timeout:g} seconds") from None
    except ProcessExpired as error:
        raise CrashError(f"its parser crashed, exit code {error.exitcode}") from None


def _call_in(folder: str, function: Callable[..., R], arguments: tuple[Any, ...]) -> R:
    os.chdir(folder)  # relative paths mean what they mean to the caller
    return function(*arguments)


@cache
def _parser() -> ProcessPool:
    """One process, started at the first call and kept."""
    pool = start_processes(1)

    def end() -> None:
        pool.stop()
        pool.join()

    atexit.register(end)
    return pool
