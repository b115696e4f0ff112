"""What a process gives up that reads files of strangers: the network, other programs, files to
write, files to read that it has no use for, and memory beyond a limit.

By Landlock and seccomp, where Linux offers them (docs/decisions/0017-confinement.md). Whatever a
file makes a parser do is then refused by the kernel. Nothing that was given up comes back, and what
the process has open stays open.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path

from vqa_twostage.pipeline import spec

logger = logging.getLogger(__name__)

PROGRAM = Path(spec.__file__).parents[1]
# an environment variable that turns it off, whatever its value
UNCONFINED = "VQA_UNCONFINED"
# what the C library and numerical libraries look at: shared libraries, and the processor
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/etc/localtime"),
    *("/usr/share/zoneinfo", "/dev/null", "/dev/urandom", "/proc/self", "/proc/cpuinfo"),
    *("/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup"),
)
# calls of the system that open the network, start programs, reach into other processes, or open
# files without being asked for each (io_uring)
REFUSED_CALLS = (
    *("socket", "socketpair", "connect", "bind", "listen"),
    *("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
)


def folders_of(files: Iterable[Path]) -> list[str]:
    """The folders that files really lie in: of one that is a link, where it leads as well."""
    wanted = {str(file) for file in files}
    found = set[str]()
    for folder in {os.path.dirname(file) for file in wanted}:
        # a path that no file can have is a ValueError, and its video fails for it
        with suppress(OSError, ValueError):
            found |= {os.path.realpath(folder), os.path.realpath(os.path.abspath(folder))}
            with os.scandir(folder or ".") as entries:
                links = [entry.name for entry in entries if entry.is_symlink()]
            paths = {os.path.join(folder, link) for link in links} & wanted
            found |= {os.path.dirname(os.path.realpath(path)) for path in paths}
    return sorted(found)


def confine(readable: Sequence[str], memory: float) -> None:
    """Restricts this process for good to what reading files in the folders ``readable`` takes, and
    to ``memory`` bytes, which may be infinite. What the system does not offer is left out
    (`not_offered`).

    The main thread calls it, before it reads any of the files. Modules can still be imported.
    """
    _limit_memory(memory)
    if UNCONFINED in os.environ:
        return
    # asked for first: what is asked starts a program to find the C library
    landlock, seccomp = bool(_landlock_version()), _has_seccomp()
    try:
        if landlock:
            _restrict_files([*readable, *_folders_of_libraries(), *SYSTEM])
        if seccomp:
            _refuse_calls()
    # the policy of a container, or another release of the two libraries: videos are decoded still
    except Exception as error:  # noqa: BLE001
        logger.warning("a process that reads files of strangers is not confined: %s", error)


def not_offered() -> str:
    """What decoding processes could do if a file took them over, because this system cannot refuse
    it, in words; "" where it can refuse all.
    """
    missing = [f"do all that this user can ({UNCONFINED} is set)"] * (UNCONFINED in os.environ)
    if not _landlock_version():
        how = _lacks("landlockpy") or "no Landlock; Linux 5.13 or newer has it"
        missing.append(f"read and write files ({how})")
    if not _has_seccomp():
        how = _lacks("seccompy") or "no seccomp"
        missing.append(f"use the network and start programs ({how})")
    if sys.platform != "linux":
        missing.append("take all memory (no limit of data)")
    return ", ".join(missing)


def _lacks(package: str) -> str:
    """That a package is not installed which every installation on Linux brings, or ""."""
    lacks = sys.platform == "linux" and importlib.util.find_spec(package) is None
    return f"pip install {package}" if lacks else ""


@cache
def tell_what_is_not_offered() -> None:
    """A line in the log, once."""
    if missing := not_offered():
        logger.info(
            "processes that decode videos are not wholly confined here: they can %s", missing
        )


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """The system ends this process (SIGXCPU) where it computes longer than that meanwhile."""
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    before, most = resource.getrlimit(resource.RLIMIT_CPU)
    if math.isfinite(seconds):
        until = math.ceil(time.process_time() + seconds)
        soft = [limit for limit in (until, before, most) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_CPU, (min(soft), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (before, most))


def _limit_memory(memory: float) -> None:
    """Of its own data: libraries and frames on their way, which are shared, do not count. A limit
    of addresses (RLIMIT_AS) would count them, and what threads reserve and never use.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, wanted in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        _, most = resource.getrlimit(what)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        if math.isfinite(limit):
            with suppress(ValueError, OSError):  # macOS has no such limit
                resource.setrlimit(what, (int(limit), most))


def _restrict_files(readable: Iterable[str]) -> None:
    """Only these files and folders can be opened, to read; none can be written, made, removed or
    run, no TCP port reached, and no process outside signalled.
    """
    from landlockpy import AccessFS, Ruleset, Scope

    with Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) as rules:
        for path in dict.fromkeys(readable):
            folder = AccessFS.READ_DIR if os.path.isdir(path) else AccessFS.NONE
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                rules.allow_path(path, AccessFS.READ_FILE | folder)
        rules.restrict()


def _refuse_calls() -> None:
    """As if this user were not allowed to make them; in all threads of the process."""
    from seccompy import Action, Filter, FilterFlag

    calls = Filter(Action.ALLOW, flags=FilterFlag.TSYNC)
    for name in REFUSED_CALLS:
        calls.errno(name, errno.EACCES)
    calls.load()


def _folders_of_libraries() -> Iterator[str]:
    """Where modules are imported from, and the shared libraries that are loaded by now."""
    yield from (os.path.abspath(folder) for folder in sys.path)
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix)
    # in a checkout these are links to elsewhere
    yield from (str(folder) for folder in PROGRAM.iterdir() if folder.is_dir())
    for module in list(sys.modules.values()):  # some are found by a finder of their own
        with suppress(Exception):
            yield from (os.path.realpath(folder) for folder in module.__path__)
    suffixes = tuple(suffix for suffix in all_suffixes() if "." in suffix)
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text().splitlines():
            file = line[line.find("/") :] if "/" in line else ""
            if file.endswith(suffixes) or re.search(r"\.so(\.|$)", file):
                yield os.path.dirname(file)


@cache
def _landlock_version() -> int:
    """Of the system's interface, 0 where there is none."""
    if sys.platform != "linux" or importlib.util.find_spec("landlockpy") is None:
        return 0
    import landlockpy

    with suppress(OSError):
        return int(landlockpy.abi_version())
    return 0


@cache
def _has_seccomp() -> bool:
    if sys.platform != "linux" or importlib.util.find_spec("seccompy") is None:
        return False
    import seccompy

    with suppress(OSError):  # an error of its own for processors that it does not know
        return bool(seccompy.supported())
    return False
