"""A connection to a Ray cluster, for the commands that have ``--engine ray``."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import UsageError, require, require_installed

log = logging.getLogger(__name__)

ENGINES = ("local", "ray")
CONNECTS_WITHIN_S = 10
PRELOAD = "RAY_preload_python_modules"
ADDRESSES = "'auto' or the HOST:PORT that ray start printed"


@dataclass(frozen=True)
class RayCluster:
    """The cluster at ``address``, as `connected` takes it."""

    address: str | None = None


Workers = int | RayCluster
"""Who works on what can be done side by side: so many processes of this machine, or a cluster."""


def check_address(engine: str, address: object) -> None:
    """UsageError unless ``address`` is None, or written as that of a cluster for ``engine``."""
    if address is None:
        return
    require(
        engine == "ray", f"ray_address {address!r} is for the engine ray; add --engine ray as well"
    )
    if not isinstance(address, str) or not address.strip():
        raise UsageError(f"ray_address must be {ADDRESSES}, not {address!r}")
    require(
        "://" not in address,
        f"ray_address {address!r} is not understood; give {ADDRESSES}, and run this on a machine "
        "of the cluster (ray job submit does)",
    )
    _, _, port = address.rpartition(":")
    require(
        address == "auto" or (":" in address and port.isdecimal()),
        f"ray_address {address!r} is not understood; give {ADDRESSES}",
    )


def require_cluster(address: str | None) -> None:
    """UsageError where Ray is not installed, or nothing answers at ``HOST:PORT``."""
    require_installed("--engine ray", ["ray"], "ray")
    if address in (None, "auto"):
        return
    host, _, port = str(address).rpartition(":")
    try:  # Ray itself would try again and again, for minutes
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECTS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> UsageError:
    where = os.environ.get("RAY_ADDRESS", "this machine") if address is None else address
    return UsageError(
        f"no Ray cluster was found at {where} ({_reason_of(error)}); start one with ray start "
        "--head, and let each machine join with ray start --address HOST:PORT"
    )


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to the cluster at ``address``, for `check_address`.

    None is the cluster that ``$RAY_ADDRESS`` names, else the one that runs on this machine, else
    one that is started here and ends with the block. A program that is connected already stays so.
    UsageError where there is no such cluster.
    """
    require_cluster(address)
    with _connection(address, ()) as ray:
        yield ray


@contextmanager
def _connection(address: str | None, preload: Sequence[str]) -> Iterator[Any]:
    # a cluster that is started here tells nobody, and its work is as urgent as that of this program
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    with _sigterm_as_before(), _quiet_log(), _imported(preload), _few_processes():
        _connect(ray, address)
    try:
        with _messages_are_logged():
            yield ray
    finally:
        ray.shutdown()


@contextmanager
def connecting(address: str | None, preload: Sequence[str]) -> Iterator[Callable[[], Any]]:
    """As `connected`, while the block goes on: it gets a function that waits until the program is
    connected, and gives the module ``ray`` or raises what connecting raised. Processes of a cluster
    that is started here import the modules ``preload`` as they start.
    """
    require_cluster(address)
    found = Future[Any]()
    ended = threading.Event()

    def stay_connected() -> None:
        try:
            with _connection(address, preload) as ray:
                found.set_result(ray)
                # the processes of a cluster end with the thread that started them
                ended.wait()
        except BaseException as error:
            if found.done():
                raise
            found.set_exception(error)  # it is raised where the module is asked for

    thread = threading.Thread(target=stay_connected, name="ray")
    thread.start()
    try:
        yield found.result
    finally:
        ended.set()
        thread.join()


@contextmanager
def _imported(modules: Sequence[str]) -> Iterator[None]:
    """Processes of a cluster that is started meanwhile import ``modules`` as they start."""
    if not modules or PRELOAD in os.environ:
        yield
        return
    os.environ[PRELOAD] = ",".join(modules)
    try:
        yield
    finally:
        del os.environ[PRELOAD]


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(
            address=address, log_to_driver=False, include_dashboard=False, configure_logging=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from None


@contextmanager
def _sigterm_as_before() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what the calling program does on it stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """What Ray says while it connects is about its own settings; errors are raised."""
    log = logging.getLogger("ray")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def _few_processes() -> Iterator[None]:
    """A cluster that is started meanwhile lives as long as this program: it has no use for Ray's
    autoscaler, dashboard and reader of logs, each a Python process that takes a second or two of a
    processor to start.

    There is no public setting for it: where the names have moved, Ray starts them.
    """
    try:
        node = importlib.import_module("ray._private.node").Node
        options = importlib.import_module("ray._private.parameter").RayParams
        before = node.start_api_server, options.__init__
    except (ImportError, AttributeError):
        yield
        return
    node.start_api_server = lambda *_, **__: None
    options.__init__ = partialmethod(before[1], no_monitor=True, include_log_monitor=False)
    try:
        yield
    finally:
        node.start_api_server, options.__init__ = before


@contextmanager
def _messages_are_logged() -> Iterator[None]:
    """Ray prints what it hears of processes and nodes that end on stdout, where documents of
    ``--json`` go; who calls says what it means, so that it is only logged here.

    There is no public setting for it: where the name has moved, Ray prints.
    """
    try:
        from ray._private import worker

        before = worker.print_to_stdstream
    except (ImportError, AttributeError):
        yield
        return
    worker.print_to_stdstream = lambda data, *_, **__: log.info("%s", data.get("lines"))
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def enter(folder: Path) -> None:
    """In a process of the cluster: relative paths mean what they mean to the program that asks,
    where its folder exists.
    """
    with contextlib.suppress(OSError):
        os.chdir(folder)


class LostError(Exception):
    """What worked on a task is gone, with its process or its machine."""


def result_of(ray: Any, reference: Any) -> Any:
    """What a task gave; what it raised is raised here, and LostError where it was lost."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise _original(error) from None
    except ray.exceptions.RayError as error:
        raise LostError(_reason_of(error)) from None


def _reason_of(error: BaseException) -> str:
    """What Ray says of a task that was lost, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__


def _original(error: BaseException) -> BaseException:
    """What a task raised, without what Ray puts around it."""
    cause = getattr(error, "cause", None)
    return _original(cause) if isinstance(cause, BaseException) else error
