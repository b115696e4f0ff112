"""Small real videos of many kinds, and what becomes of them in the hands of an attacker or of a
broken disk.

Only bytes: nothing here knows more of a format than where its boxes, elements or chunks begin.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mutations import mutated_bytes
from video_frames import PLAYLIST, ffmpeg

# what nothing may open: beside the mutants, and at an address that nobody listens to
BAIT = "bait.mp4"
ADDRESS = "http://127.0.0.1:9/bait.mp4"

X264 = "-c:v libx264 -preset veryfast -g 6 -bf 2 -pix_fmt yuv420p"
X265 = "-c:v libx265 -preset veryfast -x265-params log-level=error:keyint=6 -pix_fmt yuv420p"
# file -> encoder options; 16 frames of 112 x 80 pixels
SEEDS: dict[str, str] = {
    "h264.mp4": X264,
    "fragments.mp4": X264 + " -movflags frag_keyframe+empty_moov",
    "hevc.mov": X265 + " -tag:v hvc1",
    "mjpeg.mov": "-c:v mjpeg -q:v 9",
    "prores.mov": "-c:v prores_ks -profile:v 0",
    "av1.mp4": "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p",
    "h264.mkv": X264,
    "hevc.mkv": X265,
    "ffv1.mkv": "-c:v ffv1 -level 3 -pix_fmt yuv420p",
    "vp9.webm": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 6 -pix_fmt yuv420p",
    "vp8.webm": "-c:v libvpx -deadline realtime -cpu-used 8 -g 6",
    "mpeg4.avi": "-c:v mpeg4 -bf 2 -g 6 -q:v 6",
    "h264.avi": X264,
    "mpeg2.mpg": "-c:v mpeg2video -bf 2 -g 6 -q:v 8",
    "mpeg1.m1v": "-c:v mpeg1video -bf 2 -g 6 -q:v 8",
    "h264.ts": X264,
    "mpeg2.m2ts": "-c:v mpeg2video -g 6 -q:v 8 -mpegts_m2ts_mode 1",
    "h264.flv": X264,
    "flv1.flv": "-c:v flv1 -q:v 6",
    "wmv2.wmv": "-c:v wmv2 -q:v 6",
    "theora.ogv": "-c:v libtheora -q:v 4",
    "vp9.ivf": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 6 -pix_fmt yuv420p",
    "h264.264": X264 + " -f h264",
    "hevc.265": X265 + " -f hevc",
    "mpeg4.m4v": "-c:v mpeg4 -g 6 -q:v 6 -f m4v",
    "mjpeg.mjpeg": "-c:v mjpeg -q:v 9 -f mjpeg",
    "mpeg2.mxf": "-c:v mpeg2video -g 6 -q:v 8",
    "colours.gif": "-frames:v 8",
    "raw.y4m": "-pix_fmt yuv420p -frames:v 2",
}
NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SCRIPTS = (
    PLAYLIST.replace(b"other.mp4", BAIT.encode()),
    f"#EXTM3U\n#EXTINF:1,\n{ADDRESS}\n#EXT-X-ENDLIST\n".encode(),
    f"ffconcat version 1.0\nfile {BAIT}\n".encode(),
    b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
    f'<?xml version="1.0"?><MPD><BaseURL>{ADDRESS}</BaseURL></MPD>'.encode(),
    f"[Reference]\nRef1={ADDRESS}\n".encode(),
)


@dataclass(frozen=True)
class Mutant:
    """A file that was a video. ``how``: what was done to it, in words."""

    name: str
    data: bytes
    how: str


def make_seeds(folder: Path) -> dict[str, bytes]:
    """The videos, as bytes by their names."""
    folder.mkdir(exist_ok=True)
    seeds = {}
    for name, options in SEEDS.items():
        path = folder / name
        source = "-f lavfi -i testsrc2=s=112x80:r=25"
        frames = "" if "-frames:v" in options else "-frames:v 16"
        ffmpeg(source, frames, options, "-threads 1 -fflags +bitexact -flags:v +bitexact", path)
        seeds[name] = path.read_bytes()
    return seeds


def mutants(seeds: Mapping[str, bytes], count: int, random: Random) -> Iterator[Mutant]:
    """So many, of all seeds in turn; some named as another kind."""
    names = list(seeds)
    for number in range(count):
        origin = names[number % len(names)]
        how = random.choice(list(KINDS_OF_CHANGE))
        data = KINDS_OF_CHANGE[how](seeds[origin], seeds, random)
        suffix = Path(random.choice(names) if random.randrange(10) == 0 else origin).suffix
        yield Mutant(f"{number:05d}-{Path(origin).stem}{suffix}", data, f"{origin}: {how}")


Change = Callable[[bytes, Mapping[str, bytes], Random], bytes]


def _bits(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _head_bits(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    """Where containers say what is in them."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 4))):
        changed[random.randrange(min(len(changed), 800))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _ranges(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    return mutated_bytes(mutated_bytes(data, random) or data, random)


def _cut(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    end = random.choice((random.randrange(len(data)), random.randrange(min(len(data), 2000))))
    return data[:end]


def _without_a_part(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start + random.randrange(1, len(data) // 2) :]


def _sizes(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    """Boxes, elements or chunks that claim another size."""
    changed, places = bytearray(data), list(_size_fields(data))
    for _ in range(random.choice((1, 1, 3))):
        place, kind = random.choice(places)
        old = struct.unpack_from(kind, changed, place)[0]
        limit = 256 ** struct.calcsize(kind) - 1
        new = random.choice((*NUMBERS, old - 1, old + 1, old * 2, old + random.randrange(5000)))
        struct.pack_into(kind, changed, place, min(max(new, 0), limit))
    return bytes(changed)


def _numbers(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    """Numbers in the container's header: sizes of frames, times, counts."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 3))):
        kind = random.choice((">I", "<I", ">H", "<H", ">Q"))
        size = struct.calcsize(kind)
        reach = random.choice((800, len(data)))
        place = random.randrange(max(1, min(reach, len(data)) - size))
        struct.pack_into(kind, changed, place, random.choice(NUMBERS) % 256**size)
    return bytes(changed)


def _another_head(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    other = seeds[random.choice(list(seeds))]
    length = random.choice((4, 12, 64, 512, random.randrange(1, len(other))))
    return other[:length] + data[random.choice((0, length)) :]


def _joined(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    other = seeds[random.choice(list(seeds))]
    return data[: random.choice((len(data), random.randrange(1, len(data))))] + other


def _repeated_part(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    start = random.randrange(len(data))
    part = data[start : start + random.randrange(1, 3000)]
    return data[:start] + part * random.choice((2, 3, 20)) + data[start + len(part) :]


def _reference(data: bytes, seeds: Mapping[str, bytes], random: Random) -> bytes:
    """What would make a reader open something else: a data reference of MP4, or a script behind or
    instead of the head.
    """
    place = data.find(b"url \x00\x00\x00\x01")
    if place >= 4:
        target = random.choice((BAIT, f"file:{BAIT}", f"/etc/{BAIT}", ADDRESS)).encode() + b"\x00"
        box = struct.pack(">I", 12 + len(target)) + b"url \x00\x00\x00\x00" + target
        return _grown(data, place - 4, box)
    script = random.choice(SCRIPTS)
    return random.choice((script, data[:12] + script, script + data, data + script))


def _grown(data: bytes, place: int, box: bytes) -> bytes:
    """MP4 with another box at ``place``, and the sizes of the boxes around it."""
    old = struct.unpack_from(">I", data, place)[0]
    changed = bytearray(data)
    for start, size in _boxes(data, 0, len(data)):
        if start < place < start + size:
            struct.pack_into(">I", changed, start, size + len(box) - old)
    changed[place : place + old] = box
    return bytes(changed)


KINDS_OF_CHANGE: dict[str, Change] = {
    "bits": _bits,
    "bits of the head": _head_bits,
    "ranges": _ranges,
    "cut": _cut,
    "a part missing": _without_a_part,
    "sizes": _sizes,
    "numbers": _numbers,
    "another's head": _another_head,
    "joined": _joined,
    "a part repeated": _repeated_part,
    "reference": _reference,
}


def _size_fields(data: bytes) -> Iterator[tuple[int, str]]:
    """Where sizes stand, and how they are written; of what has none, anywhere."""
    found = []
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
        found = [(start, ">I") for start, _ in _boxes(data, 0, len(data))]
    elif data.startswith(b"\x1a\x45\xdf\xa3"):
        found = [(place, ">B") for place in _element_sizes(data)]
    elif data.startswith(b"RIFF"):
        found = [(place + 4, "<I") for place in _chunks(data, 0, len(data))]
    yield from found or ((place, ">I") for place in range(0, len(data) - 4, 3))


HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"moof", b"traf", b"mvex")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Boxes of MP4: where each begins, and its size."""
    while start + 8 <= end:
        size = struct.unpack_from(">I", data, start)[0]
        if size < 8 or start + size > end:
            return
        yield start, size
        kind = data[start + 4 : start + 8]
        if kind in HOLDERS:
            yield from _boxes(data, start + 8, start + size)
        elif kind == b"dref":
            yield from _boxes(data, start + 16, start + size)
        start += size


def _element_sizes(data: bytes) -> Iterator[int]:
    """Where the sizes of Matroska's elements begin. Those of master elements are entered."""
    masters = (0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0x1C53BB6B)
    place = 0
    while place + 2 < len(data) and data[place]:
        length = 9 - data[place].bit_length()
        name = int.from_bytes(data[place : place + length])
        place += length
        if place >= len(data) or not data[place]:
            return
        yield place
        length = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + length]) & (1 << 7 * length) - 1
        place += length + (0 if name in masters else size)


def _chunks(data: bytes, start: int, end: int) -> Iterator[int]:
    """Where RIFF's chunks begin; lists are entered."""
    while start + 8 <= end:
        yield start
        size = struct.unpack_from("<I", data, start + 4)[0]
        if data[start : start + 4] in (b"RIFF", b"LIST"):
            yield from _chunks(data, start + 12, min(end, start + 8 + size))
        start += 8 + size + size % 2
