"""Files written in one step and read with one message: JSON, text, digests.

A sealed document is a JSON object with the SHA-256 of all that it says besides. No bit of its file
can change what is read without being noticed; it is no signature, which strangers could not make.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import UsageError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives a new file beside ``path`` to write to, and puts it in its place at the end.

    Readers see the old file or the new one, never a part; after an exception the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        aside.chmod(0o644)  # mkstemp makes private files; a cache is shared with colleagues
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives a new folder beside ``path`` to fill, and gives it that name at the end.

    There is the whole folder or none; OSError where ``path`` is there already and not empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield aside
        aside.chmod(0o755)  # mkdtemp makes private folders
        aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def require_place(option: str, path: Path, wanted: str) -> None:
    """UsageError where no file can be written to ``path``, the value of ``option``."""
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; give {wanted}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: the folder {path.parent} does not exist")


def write_text(path: Path, text: str) -> None:
    """Writes ``path`` in one step."""
    with replaced(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes ``path`` in one step."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; UsageError where it is missing, unreadable or something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} holds no JSON object")
    return document


SEAL = "sha256"


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the digest of its content as its last field."""
    return {**document, SEAL: _digest_of(document)}


def unsealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document that was sealed; UsageError with the reason where it is another by now."""
    if SEAL not in document:
        raise UsageError(f"it has no {SEAL}: this program did not write it, or an early version")
    content = {key: value for key, value in document.items() if key != SEAL}
    try:
        same = document[SEAL] == _digest_of(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"it holds what cannot be: {error}") from None
    if not same:
        raise UsageError(f"its content does not fit its {SEAL}: it is damaged, or edited by hand")
    return content


def _digest_of(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_text(value: Any) -> bool:
    """Whether a value of a JSON document is a text that files and terminals take: no half of a
    character, and nothing that moves a cursor.
    """
    if not isinstance(value, str):
        return False
    return value.isprintable() or not any(  # most texts are, which is faster to tell
        unicodedata.category(each) in ("Cc", "Cs") and each not in "\t\n" for each in value
    )


def sha256_of(path: Path, first: int | None = None) -> str:
    """Hexadecimal SHA-256 of a file, or of its ``first`` bytes; OSError where it cannot be read."""
    with path.open("rb") as file:
        if first is not None:
            return hashlib.sha256(file.read(first)).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()
