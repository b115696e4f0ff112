"""A process that is confined reads what it was given and imports modules; files elsewhere, the
network, programs, other processes and more memory are refused to it by the system.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vqa_twostage.pipeline import confinement
from vqa_twostage.pipeline.confinement import folders_of, not_offered, processor_time

OFFERED = pytest.mark.skipif(bool(not_offered()), reason=f"not confined here: {not_offered()}")


def run(code: str, *arguments: str | Path) -> list[str]:
    """What a program prints that knows `attempt`, which prints what became of a call."""
    program = """
        import os, socket, subprocess, sys
        from pathlib import Path
        from vqa_twostage.pipeline.confinement import confine, processor_time
        arguments = [Path(each) for each in sys.argv[1:]]
        def attempt(name, call):
            try:
                call()
                print(name, "done", flush=True)
            except (OSError, MemoryError) as error:
                print(name, type(error).__name__, flush=True)
    """
    text = textwrap.dedent(program) + textwrap.dedent(code)
    words = [sys.executable, "-c", text, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return [*done.stdout.splitlines(), *(["ended"] if done.returncode else [])]


@OFFERED
def test_confined_process_reads_what_it_was_given_and_reaches_nothing_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "videos", tmp_path / "others"
    for folder in (inside, outside):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "file").write_text("text")
    os.mkfifo(inside / "pipe")
    code = """
        inside, outside = arguments
        kept = open(outside / "kept", "w")
        confine([str(inside)], 2e9)
        attempt("read", (inside / "deep" / "file").read_bytes)
        attempt("list", lambda: os.listdir(inside))
        attempt("read elsewhere", (outside / "deep" / "file").read_bytes)
        attempt("read passwords", Path("/etc/passwd").read_bytes)
        attempt("read a process", Path(f"/proc/{os.getppid()}/environ").read_bytes)
        attempt("write", lambda: (inside / "deep" / "file").write_text("other"))
        attempt("make", lambda: (inside / "new").touch())
        attempt("make in the shared memory", lambda: Path("/dev/shm/vqa-new").touch())
        attempt("remove", (inside / "deep" / "file").unlink)
        attempt("write what is open", lambda: (kept.write("text"), kept.flush()))
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                attempt(f"{family.name} {kind.name}", lambda: socket.socket(family, kind))
        attempt("address", lambda: socket.create_connection(("127.0.0.1", 9)))
        attempt("program", lambda: subprocess.run([sys.executable, "--version"]))
        attempt("signal", lambda: os.kill(os.getppid(), 0))
        import sqlite3, vqa_twostage.fuse.reporting.thumbnails
        print("imported")
    """
    assert run(code, inside, outside) == [
        "read done",
        "list done",
        "read elsewhere PermissionError",
        "read passwords PermissionError",
        "read a process PermissionError",
        "write PermissionError",
        "make PermissionError",
        "make in the shared memory PermissionError",
        "remove PermissionError",
        "write what is open done",
        "AF_INET SOCK_STREAM PermissionError",
        "AF_INET SOCK_DGRAM PermissionError",
        "AF_INET6 SOCK_STREAM PermissionError",
        "AF_INET6 SOCK_DGRAM PermissionError",
        "AF_UNIX SOCK_STREAM PermissionError",
        "AF_UNIX SOCK_DGRAM PermissionError",
        "address PermissionError",
        "program PermissionError",
        "signal PermissionError",
        "imported",
    ]
    assert (inside / "deep" / "file").read_text() == "text"
    assert sorted(os.listdir(inside)) == ["deep", "pipe"]


@OFFERED
def test_threads_that_run_already_reach_no_network_either() -> None:
    code = """
        import threading
        started, go = threading.Event(), threading.Event()
        def work():
            started.set()
            go.wait()
            attempt("socket", socket.socket)
        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        confine([], 2e9)
        go.set()
        thread.join()
    """
    assert run(code) == ["socket PermissionError"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no limit of data")
def test_confined_process_gets_no_more_memory_than_its_limit() -> None:
    code = """
        confine([], 1e9)
        attempt("little", lambda: bytearray(500_000_000))
        attempt("much", lambda: bytearray(1_000_000_000))
        attempt("little", lambda: bytearray(500_000_000))
    """
    assert run(code) == ["little done", "much MemoryError", "little done"]


def test_confinement_is_turned_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(confinement.UNCONFINED, "1")
    code = """
        confine([], 2e9)
        attempt("read", Path("/etc/passwd").read_bytes)
        attempt("socket", lambda: socket.socket().close())
    """
    assert run(code) == ["read done", "socket done"]
    assert confinement.UNCONFINED in not_offered()


def test_process_that_computes_too_long_is_ended() -> None:
    code = """
        with processor_time(5.0):
            attempt("short", lambda: sum(range(100_000)))
        with processor_time(0.5):
            while True:
                pass
    """
    assert run(code) == ["short done", "ended"]


def test_processor_time_leaves_no_limit_behind() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_CPU)
    with processor_time(3600.0):
        assert resource.getrlimit(resource.RLIMIT_CPU) != before
        with processor_time(7200.0):  # the narrower one counts
            assert resource.getrlimit(resource.RLIMIT_CPU)[0] <= 3600 + 3600
    with processor_time(float("inf")):
        assert resource.getrlimit(resource.RLIMIT_CPU) == before
    assert resource.getrlimit(resource.RLIMIT_CPU) == before


def test_links_are_readable_where_they_lead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("videos", "store", "linked", "unused"):
        (tmp_path / name).mkdir()
    (tmp_path / "store" / "real.mp4").touch()
    (tmp_path / "videos" / "link.mp4").symlink_to(tmp_path / "store" / "real.mp4")
    (tmp_path / "videos" / "other.mp4").symlink_to(tmp_path / "unused" / "other.mp4")
    (tmp_path / "folder").symlink_to(tmp_path / "linked")
    files = ["videos/link.mp4", "folder/plain.mp4", "none/missing.mp4", "a\0b/odd.mp4"]
    expected = {"videos", "store", "linked", "none"}
    whole = folders_of([tmp_path / file for file in files])
    assert set(whole) == {str(tmp_path.resolve() / name) for name in expected}
    monkeypatch.chdir(tmp_path)
    assert folders_of([Path(file) for file in files]) == whole
    monkeypatch.chdir(tmp_path / "videos")
    assert str(tmp_path.resolve() / "store") in folders_of([Path("link.mp4")])


def test_what_a_system_does_not_offer_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(confinement, "_landlock_version", lambda: 0)
    monkeypatch.setattr(confinement, "_has_seccomp", lambda: False)
    confinement.tell_what_is_not_offered.cache_clear()
    with caplog.at_level(logging.INFO):
        confinement.tell_what_is_not_offered()
        confinement.tell_what_is_not_offered()
    assert len(caplog.records) == 1
    assert "read and write files (" in caplog.text
    assert "use the network and start programs (" in caplog.text
    confinement.tell_what_is_not_offered.cache_clear()


@OFFERED
def test_process_that_the_system_does_not_confine_works_on_and_says_so(
    tmp_path: Path,
) -> None:
    code = """
        import landlockpy
        from vqa_twostage.pipeline import confinement
        def refuse(*_, **__):
            raise landlockpy.LandlockError(1, "not permitted")
        landlockpy.Ruleset.restrict = refuse
        sys.stderr = sys.stdout
        confine([], 2e9)
        attempt("read", Path("/etc/passwd").read_bytes)
    """
    said, read = run(code)
    assert said == "a process that reads files of strangers is not confined: " + (
        "[Errno 1] not permitted"
    )
    assert read == "read done"
