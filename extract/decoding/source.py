"""A video file as it was when it was read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from vqa_twostage.extract.decoding.containers import open_regular_file


@dataclass(frozen=True)
class Source:
    """A video file as it was when it was read. ``digest`` is of its bytes."""

    size: int
    mtime_ns: int
    digest: str

    @staticmethod
    def of(path: Path) -> Source:
        """Reads the whole file; VideoError where there is none, or it cannot be read."""
        with open_regular_file(path) as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Source(status.st_size, status.st_mtime_ns, digest)
