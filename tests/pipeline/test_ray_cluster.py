"""Connecting to a Ray cluster, and starting one, while the program does something else."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from vqa_twostage.pipeline import ray_cluster
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.ray_cluster import connected, connecting

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
EARLY = "wsgiref.validate"  # nothing else imports it


def test_what_is_wrong_with_an_address_is_said_before_the_program_goes_on() -> None:
    refused = pytest.raises(UsageError, match="no Ray cluster was found at 127.0.0.1:1 ")
    with refused, connecting("127.0.0.1:1", []):
        pytest.fail("the program went on")


def test_why_the_program_is_not_connected_is_said_where_the_cluster_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise UsageError("no cluster")

    monkeypatch.setattr(ray_cluster, "_connect", refuse)
    with connecting(None, []) as wait:
        went_on = True
        with pytest.raises(UsageError, match="^no cluster$"):
            wait()
    assert went_on and ray_cluster.PRELOAD not in os.environ


def test_error_of_the_program_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_connect", lambda *_: None)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), connecting(None, []):
        raise ZeroDivisionError
    assert threading.active_count() == before


def children() -> dict[int, str]:
    """The command lines of the processes that this one started, and of theirs."""
    found = dict[int, str]()
    parents = {os.getpid()}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended
            continue
        if parent in parents:
            parents.add(int(folder.name))
            found[int(folder.name)] = command
    return found


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cluster_that_is_started_has_what_work_needs_and_ends_with_the_program(
    own_ray_folder: None,
) -> None:
    from ray._private.node import Node

    start = Node.start_api_server
    with connecting(None, [EARLY]) as wait:
        wait()
        with connected(None) as same:

            @same.remote
            def imported_early() -> bool:
                return EARLY in sys.modules

            assert same.get(imported_early.remote())
            commands = list(children().values())
            assert any("raylet" in command for command in commands)
            needless = ("monitor.py", "log_monitor.py", "dashboard.py")
            assert not [each for each in commands for name in needless if name in each]
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert not [each for each in children().values() if "raylet" in each]
    assert Node.start_api_server is start and ray_cluster.PRELOAD not in os.environ
