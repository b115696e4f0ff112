"""Single bits and ranges of bytes changed in every part of a file, as disks and copies change
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_index import TABLE, TRAILER

# of an overwritten range: a few bytes, a sector of a disk, and a page of memory
LONGEST = (8, 300, 512, 4096)


def parts_of_track(path: Path) -> dict[str, Sequence[int]]:
    """The places of a track's bytes by the part of the file that they lie in.

    Few bytes of a small track were ever written; those that were not are parts of their own.
    """
    content = path.read_bytes()
    trailer = len(content) - TRAILER.size
    _, size, head, _ = TRAILER.unpack(content[trailer:])
    index = trailer - size
    names = ["HDF5's structure" if byte else "never written" for byte in content[:index]]
    with open_track(path) as track:
        columns = track.index.all_columns
    for column in columns:
        name, rows = ("table of videos", track.index.videos)
        if column.name != TABLE:
            name, rows = ("rows", track.index.rows)
        for place in column.chunks.tolist():
            end = place + column.chunk_rows * column.row_bytes
            names[place:end] = ["rest of a chunk"] * (end - place)
        for place, count in column.extents(0, rows):
            names[place : place + count] = [name] * count
    parts: dict[str, Sequence[int]] = {}
    for name in sorted(set(names)):
        parts[name] = [place for place, each in enumerate(names) if each == name]
    parts["head of the index"] = range(index, index + head)
    parts["offsets of the index"] = range(index + head, trailer)
    parts["trailer"] = range(trailer, len(content))
    assert len(parts) == 8 and sum(map(len, parts.values())) == len(content)
    return parts


def parts_of_json(path: Path) -> dict[str, Sequence[int]]:
    """The places of a JSON file's bytes: those of its layout, of its digest, and all others."""
    content = path.read_bytes()
    digest = content.index(b'"sha256"')
    end = content.index(b"\n", digest)
    others = [*range(digest), *range(end, len(content))]
    return {
        "layout": [place for place in others if content[place] in b' \n{}[],:"'],
        "digest": range(digest, end),
        "content": [place for place in others if content[place] not in b' \n{}[],:"'],
    }


def flip(content: bytes, place: int, random: Random) -> bytes:
    """One bit is another."""
    changed = bytearray(content)
    changed[place] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(content: bytes, place: int, random: Random) -> bytes:
    """A range holds zeros, ones, anything, or what belongs elsewhere in the file."""
    count = min(random.randint(1, random.choice(LONGEST)), len(content) - place)
    elsewhere = random.randrange(len(content) - count + 1)
    data = random.choice(
        (
            bytes(count),
            b"\xff" * count,
            random.randbytes(count),
            content[elsewhere : elsewhere + count],
        )
    )
    return content[:place] + data + content[place + count :]


def damages(
    content: bytes,
    parts: Mapping[str, Sequence[int]],
    change: Callable[[bytes, int, Random], bytes],
    times: int,
) -> Sequence[tuple[str, bytes]]:
    """The file ``times`` times, changed in one part after the other, and where that was."""
    random = Random(change.__name__)
    names = list(parts)
    found = []
    for number in range(times):
        name = names[number % len(names)]
        place = random.choice(parts[name])
        found.append(
            (f"{change.__name__} {number} at {place}, {name}", change(content, place, random))
        )
    return found
