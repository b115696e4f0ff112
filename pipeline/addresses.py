"""Addresses of files that are kept elsewhere than on disks: ``s3://bucket/folder``, as fsspec knows
them.

An address holds no password, key or signature: what does is refused, and shown by its protocol
alone. Credentials are the libraries' own, from the environment and their files of configuration.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from vqa_twostage.pipeline.errors import UsageError

# one letter would be a drive of Windows; fsspec joins protocols by "::"
BEGINNING = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+(?:::[A-Za-z0-9+.\-]+)*)://")
# what pathlib makes of one
COLLAPSED = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:/(?!/)\S")
IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.\-:]+://[^\s'\"<>]*")
# of these a name before the @ says who logs in, or which container is meant; elsewhere it is a key
NAMED = ("ssh", "sftp", "ftp", "ftps", "smb", "hdfs", "webhdfs", "abfs", "abfss")
LOCAL = ("file", "local")
USER = r"[A-Za-z0-9_.\-]+@"
# of these a host may have a port; elsewhere what follows a colon is a key
PORTED = (*NAMED, "http", "https", "webdav", "dask", "jlab")
HOST = r"[^\s@:?#]*"
PORT = r"(:[0-9]+)?"
# variables of the environment whose values are never shown
SECRET_VARIABLES = re.compile(r"KEY|SECRET|TOKEN|PASSW|CREDENTIAL|CONNECTION_STRING", re.IGNORECASE)
LEAST_SECRET = 8  # characters; shorter values occur in any text
HIDDEN = "***"
# what to do where a folder is meant, and a cache in particular
FOLDER_ADVICE = "give a folder or a file of this machine, or of a disk that is mounted here"
CACHE_ADVICE = (
    "a cache lies in a folder of this machine, or of a disk that is mounted here. Extract to such "
    "a folder and copy it; caches of several machines are joined by vqa-cache merge"
)


def is_address(text: object) -> bool:
    """Whether ``text`` is written as an address, those of files of this machine (``file://``)
    included.
    """
    return isinstance(text, str) and BEGINNING.match(text) is not None


def protocol_of(address: str) -> str:
    """``s3`` of ``S3://bucket``."""
    match = BEGINNING.match(address)
    assert match, address
    return match[1].lower()


def has_secret(address: str) -> bool:
    """Whether a part of ``address`` may be a password, a key or a signature."""
    whole = BEGINNING.match(address)
    assert whole, address
    host, _, path = address[whole.end() :].partition("/")
    user = f"({USER})?" if protocol_of(address) in NAMED else ""
    port = PORT if protocol_of(address) in PORTED and "@" not in path else ""
    return "?" in address or "#" in address or not re.fullmatch(user + HOST + port, host)


def shown(address: str) -> str:
    """``address``, or its protocol alone where it may hold a secret."""
    return f"{protocol_of(address)}://{HIDDEN}" if has_secret(address) else address


def checked(address: str, where: str) -> str:
    """``address`` as records may hold it, without slashes at its end.

    UsageError, which begins with ``where`` it stands, for one that may hold a secret or that
    nothing can be at; its message does not show what is secret.
    """
    protocol = protocol_of(address)
    if "::" in protocol:
        raise UsageError(
            f"{where}: addresses of several protocols ({protocol}://) are not read; give the one "
            "that the files are kept at"
        )
    if has_secret(address):
        raise UsageError(
            f"{where}: an address with a user, a key, or anything after ? or # in it is refused "
            f"({shown(address)}), since addresses are kept in records. Leave that out; the library "
            "of the protocol finds credentials in the environment and in its own files "
            "(docs/how-to/object-stores.md)"
        )
    if not address.isprintable():
        raise UsageError(f"{where}: {address!r} has characters that cannot be printed")
    whole = BEGINNING.match(address)
    assert whole
    rest = address[whole.end() :]
    if not rest.strip("/"):
        raise UsageError(f"{where}: {address} names no bucket or folder; give one, as in s3://b/f")
    return f"{protocol}://{rest.rstrip('/')}"


def local_path(address: str) -> Path | None:
    """The path of an address that is of this machine, ``file:///videos``; None of others."""
    whole = BEGINNING.match(address)
    assert whole, address
    return Path(address[whole.end() :]) if protocol_of(address) in LOCAL else None


def require_local(path: str | Path, where: str, advice: str) -> None:
    """UsageError where ``path`` is an address, in the place of a folder or file of this machine."""
    text = os.fspath(path)
    address = text
    if isinstance(path, Path) and COLLAPSED.match(text) and not path.exists():
        address = text.replace(":/", "://", 1)
    if is_address(address):
        raise UsageError(f"{where} {shown(address)} is an address: {advice}")


def without_secrets(text: str) -> str:
    """``text`` of a library without what may be secret in it: parts of addresses, and values of the
    environment that are called so.
    """
    found = (os.environ[name] for name in os.environ if SECRET_VARIABLES.search(name))
    for value in sorted((each for each in found if len(each) >= LEAST_SECRET), key=len)[::-1]:
        text = text.replace(value, HIDDEN)
    return IN_TEXT.sub(_without_secret, text)


def _without_secret(match: re.Match[str]) -> str:
    text = match[0]
    if not is_address(text):
        return HIDDEN
    return shown(text)
