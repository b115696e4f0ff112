"""Files at addresses: what a listing says of each, and where they are copied from, through fsspec.

One listing tells size and time of all files below an address: nothing asks for each file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any

from vqa_twostage.pipeline.addresses import (
    checked,
    is_address,
    local_path,
    protocol_of,
    require_local,
    shown,
    without_secrets,
)
from vqa_twostage.pipeline.errors import UsageError

# how file systems call the time of the last change, and the mark of a content, in their listings
CHANGED = ("LastModified", "mtime", "updated", "last_modified", "modified", "Last-Modified")
CREATED = ("created",)  # of those that write a file anew whenever it changes
MARKS = ("sha256", "md5Hash", "content_md5", "Content-MD5", "blob_id", "ETag", "etag", "generation")
# these list nothing: each file is asked for, several at once
WITHOUT_LISTING = ("http", "https")
ASKED_AT_ONCE = 8
EXTRA = 'pip install "vqa-twostage[s3]"'


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address, as its listing describes it.

    ``size`` in bytes, None where there is no such file; ``mtime_ns``: when it was changed, or where
    its store tells no time, a number that stands for its content's mark; ``mark``: what the store
    calls its content, equal for equal ones, or "". ``held``: the digest of its content when
    features of it were taken, where only its time has changed since.
    """

    address: str
    size: int | None = None
    mtime_ns: int = 0
    mark: str = ""
    held: str = ""

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        return PurePosixPath(self.address).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.address).suffix

    def absolute(self) -> RemoteFile:
        """It is, as `Path.absolute` makes a path: the same on every machine."""
        return self

    def is_file(self) -> bool:
        """Whether it was there when it was listed."""
        return self.size is not None


VideoFile = Path | RemoteFile
"""Where a video is: a path of this machine, or an address."""


@dataclass(frozen=True)
class RemoteRoot:
    """What the paths of a manifest are relative to, where some of its files are at addresses.

    ``place``: a folder of this machine or the address of one. ``files``: what was listed, by
    address. ``root / path`` is the file at a path, at an address, or below the place.
    """

    place: Path | str
    files: Mapping[str, RemoteFile] = field(repr=False)

    def __str__(self) -> str:
        return str(self.place)

    def __truediv__(self, path: str) -> VideoFile:
        if isinstance(self.place, Path) and not is_address(path):
            return self.place / path
        address = path if is_address(path) else f"{self.place}/{path}"
        return self.files.get(address, RemoteFile(address))

    def names(self) -> list[str]:
        """The paths of all files below the place, which is an address."""
        begin = f"{self.place}/"
        return [name.removeprefix(begin) for name in self.files if name.startswith(begin)]


Root = Path | RemoteRoot


def root_of(root: str | Path, option: str = "--root") -> Root:
    """The folder of videos that a text or a path names; one at an address is listed.

    UsageError where it cannot be: a library is missing, the address is none, or cannot be reached.
    """
    if not isinstance(root, str):
        require_local(root, option, "give it as text, since pathlib drops a slash of it")
    if not isinstance(root, str) or not is_address(root):
        return Path(root)
    path = local_path(root)
    if path is not None:
        return path
    address = checked(root, option)
    if protocol_of(address) in WITHOUT_LISTING:
        raise UsageError(
            f"{option} {address}: there is no list of the files of a web server; give the address "
            "of each video in the column of paths instead"
        )
    files = files_below(address, option)
    if not files:
        raise UsageError(
            f"{option} {address} holds no file, or does not exist; check the address, whose form "
            "is s3://bucket/folder"
        )
    if address in files:
        raise UsageError(f"{option} {address} is a file; give the folder of the videos")
    return RemoteRoot(address, files)


def files_below(address: str, option: str) -> dict[str, RemoteFile]:
    """All files below an address, or the one that is there, by their addresses.

    UsageError, which begins with ``option``, where it cannot be listed.
    """
    with _named(f"{option} {address} cannot be listed"):
        system, base = opened(address)
        system.invalidate_cache()
        found = system.find(base, detail=True)
    base = base.rstrip("/")
    files = {}
    for name, about in found.items():
        if name != base and not name.startswith(f"{base}/"):
            continue
        if not name.endswith("/"):  # object stores mark empty folders so
            files[address + name[len(base) :]] = _described(address + name[len(base) :], about)
    return files


def files_named(address: str, what: str) -> list[RemoteFile]:
    """The files that an address stands for: a file, all in a folder and its subfolders but hidden
    ones, or those that a pattern with ``*`` matches; sorted.

    UsageError, which begins with ``what``, where there are none or they cannot be listed.
    """
    if protocol_of(address) in WITHOUT_LISTING:
        return [_asked(address, what)]
    if "*" in address:
        fixed = _folder_of(address.partition("*")[0])
        with _named(f"{what} {address} cannot be listed"):
            system, base = opened(fixed)
            system.invalidate_cache()
            begin = f"{base.rstrip('/')}/"
            found = system.glob(begin + address.removeprefix(fixed), detail=True)
        listed = {
            fixed + name.removeprefix(begin): about
            for name, about in found.items()
            if about.get("type") != "directory"
        }
        files = {name: _described(name, about) for name, about in listed.items()}
    else:
        files = files_below(address, what)
    if not files:
        raise UsageError(f"{what} {address}: there is no such file or folder; check the address")
    hidden = {name for name, file in files.items() if file.name.startswith(".")}
    return [files[name] for name in sorted(files.keys() - hidden)]


def files_at(addresses: Iterable[str], where: str) -> dict[str, RemoteFile]:
    """Those of ``addresses`` that are there: a listing of each of their folders, or where there is
    no such listing a request of each.

    UsageError, which begins with ``where``, where one cannot be listed.
    """
    wanted = dict.fromkeys(addresses)
    alone = [name for name in wanted if protocol_of(name) in WITHOUT_LISTING]
    folders = dict.fromkeys(_folder_of(name) for name in wanted if name not in set(alone))
    found: dict[str, RemoteFile] = {}
    for folder in folders:
        found |= _files_in(folder, where)
    if alone:
        with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
            answers = threads.map(lambda name: _asked(name, where), alone)
            found |= {file.address: file for file in answers}
    return {name: found[name] for name in wanted if name in found}


def _folder_of(address: str) -> str:
    """Of a file, with a slash at its end unless it is the whole of a file system."""
    protocol, _, path = address.partition("://")
    folder, slash, _ = path.rpartition("/")
    return f"{protocol}://{folder}{slash}"


def _files_in(folder: str, where: str) -> dict[str, RemoteFile]:
    """The files in a folder, without those of its subfolders; none where there is no folder."""
    with _named(f"{where}: {folder} cannot be listed"):
        system, base = opened(folder)
        system.invalidate_cache()
        try:
            entries = system.ls(base, detail=True)
        except (FileNotFoundError, NotADirectoryError) as error:
            if "NoSuchBucket" in repr(error.__cause__) or "bucket does not exist" in str(error):
                raise
            return {}
    begin = f"{base.rstrip('/')}/"
    files = {}
    for about in entries:
        name = str(about["name"])
        if about.get("type") != "directory" and name.startswith(begin):
            address = folder + name.removeprefix(begin)
            files[address] = _described(address, about)
    return files


def _asked(address: str, where: str) -> RemoteFile:
    with _named(f"{where}: {address} cannot be asked for"):
        system, path = opened(address)
        try:
            return _described(address, system.info(path))
        except FileNotFoundError:
            return RemoteFile(address)


def copied_to(file: RemoteFile, folder: Path) -> Path:
    """A small file, such as one of labels, copied into a folder; UsageError where it cannot be."""
    path = folder / file.name
    with _named(f"{file.address} cannot be copied"):
        system, place = opened(file.address)
        system.get_file(place, str(path))
    return path


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and what it calls the address; UsageError where the library of
    its protocol is missing or the protocol is unknown.

    Each thread has its own, since some have one connection.
    """
    protocol = protocol_of(address)
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations
    except ImportError:
        raise UsageError(f"{shown(address)}: {protocol}:// needs fsspec; run: {EXTRA}") from None
    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        advice = EXTRA if protocol in ("s3", "s3a") else str(error)
        raise UsageError(
            f"{shown(address)}: {protocol}:// needs a package that is not installed: {advice}"
        ) from None
    except ValueError as error:
        if "rotocol not known" not in str(error):
            raise
        known = ", ".join(sorted(name for name in known_implementations if "+" not in name))
        raise UsageError(
            f"{shown(address)}: unknown protocol {protocol}; fsspec knows {known}"
        ) from None
    return system, path


@contextmanager
def _named(what: str) -> Iterator[None]:
    """What a library raises is one message, without secrets."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  each library has its own kinds
        raise UsageError(f"{what}: {reason_of(error)}") from None


BROKEN_OFF = ("Payload", "Disconnect", "IncompleteRead", "ConnectionReset", "BrokenPipe", "Aborted")
REASONS: tuple[tuple[Callable[[str], bool], str], ...] = (
    (
        lambda kind: "Credential" in kind or "Token" in kind,
        "no credentials were found that its library takes; set them in the environment or in its "
        "file of configuration",
    ),
    (
        lambda kind: "Permission" in kind or "Auth" in kind or "Forbidden" in kind,
        "no permission; check the credentials of the environment, and what they may read",
    ),
    (
        lambda kind: any(part in kind for part in BROKEN_OFF),
        "the connection broke off",
    ),
    (
        lambda kind: "Connect" in kind or "gaierror" in kind or "Timeout" in kind,
        "it cannot be reached; check the network and the address of the service",
    ),
    (
        lambda kind: "FileNotFound" in kind or "NotFound" in kind or "NoSuch" in kind,
        "there is nothing at this address; check its bucket and folder",
    ),
)


def reason_of(error: BaseException) -> str:
    """What a library of a protocol ended with, in words and without secrets."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    said = " ".join(without_secrets(str(error)).split())
    said = f" ({type(error).__name__}{': ' if said else ''}{said})"
    for fits, reason in REASONS:
        if any(map(fits, kinds)):
            return reason + said
    return f"its library fails{said}"


def _described(address: str, about: Mapping[str, Any]) -> RemoteFile:
    """What a listing says of a file."""
    size = about.get("size")
    lfs = about.get("lfs")  # of the Hugging Face hub, which knows the digest of large files
    mark = str(getattr(lfs, "sha256", "") or "")
    of_web = protocol_of(address) in WITHOUT_LISTING  # whose ETags may be of size and time alone
    for name in MARKS[: MARKS.index("ETag") if of_web else None]:
        mark = mark or str(about.get(name) or "").strip('"')
    times = (_nanoseconds(about[name]) for name in (*CHANGED, *CREATED) if about.get(name))
    changed = next((time for time in times if time), 0)
    if not changed and mark:
        changed = int.from_bytes(hashlib.sha256(mark.encode()).digest()[:7])
    return RemoteFile(address, None if size is None else int(size), changed, mark)


def _nanoseconds(value: Any) -> int:
    """Since 1970, of a time as a library writes it; 0 where it is none."""
    if isinstance(value, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                value = read(value)
                break
            except ValueError:
                continue
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        since = aware - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
        return round(value * 1e9)
    return 0
