"""The checksum of everything in a track and of small files: XXH3, 64 bits, faster than memory.

It finds accidents, not forgeries; what files are is told by SHA-256 (`pipeline/files.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import xxhash

ENCODED = struct.Struct("<Q")


def checksum(data: bytes | bytearray | memoryview) -> int:
    """Of contiguous bytes, from 0 to 2^64 - 1."""
    return xxhash.xxh3_64_intdigest(data)


def with_checksum(content: bytes) -> bytes:
    """What a small file holds: the checksum, then the content."""
    return ENCODED.pack(checksum(content)) + content


def content_of(written: bytes) -> bytes | None:
    """The content that `with_checksum` was given; None where it is another by now."""
    content = written[ENCODED.size :]
    return content if written[: ENCODED.size] == ENCODED.pack(checksum(content)) else None


def checksum_of_all(parts: Iterable[bytes | memoryview]) -> int:
    """The checksum of the parts one after the other."""
    state = xxhash.xxh3_64()
    for part in parts:
        state.update(part)
    return state.intdigest()
