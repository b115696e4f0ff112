"""What a video file is, before its pixels: which files may be opened at all, and which frames
really exist in them.

Dimensions: N frames in the video. pts: presentation time in the stream's own ticks (`time_base`
seconds each).

FFmpeg guesses a file's kind from its content, and some kinds are only lists of other things to
open: a playlist named `clip.mp4` makes it read other files or the network. So the kind is decided
here from the first bytes, and passed to FFmpeg. What a container claims about itself (its frame
count, its duration) is not believed: the packets are counted. Raw video has no container: its
dataset states its format, and the size of the file how many frames there are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.raw_format import RawFormat

# store no presentation times: frames come one a packet, at a fixed rate
UNTIMED = ("avi", "mpegvideo")
HEAD_BYTES = 1024  # bytes: enough for the start of three packets of a transport stream
IMAGE_BRANDS = (b"heic", b"heix", b"mif1", b"avif")  # still images that share MP4's box format
# in upper or lower case; such a file may begin with any bytes, so its name decides
RAW_SUFFIXES = (".yuv", ".raw")

Kind = str | RawFormat  # a demuxer's name in FFmpeg, or what a file without a container is


def _starts(*magics: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics, at)


def _is_transport_stream(head: bytes) -> bool:
    """188 bytes a packet, or 192 with a time code before each (Blu-ray); three packets must begin
    as they should.
    """
    return any(
        len(head) > start + 2 * size and all(head[start + size * k] == 0x47 for k in range(3))
        for start, size in ((0, 188), (4, 192))
    )


# the demuxer's name in FFmpeg, and how its files begin
KINDS: dict[str, Callable[[bytes], bool]] = {
    "mov": _starts(b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", at=4),
    "matroska": _starts(b"\x1a\x45\xdf\xa3"),
    "avi": lambda head: head.startswith(b"RIFF") and head.startswith((b"AVI ", b"AVIX"), 8),
    "flv": _starts(b"FLV\x01"),
    "mpeg": _starts(b"\x00\x00\x01\xba"),
    "mpegvideo": _starts(b"\x00\x00\x01\xb3"),
    "asf": _starts(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
    "ogg": _starts(b"OggS\x00"),
    "ivf": _starts(b"DKIF\x00\x00"),
    "yuv4mpegpipe": _starts(b"YUV4MPEG2 "),
    "mpegts": _is_transport_stream,
}


@contextmanager
def open_regular_file(path: Path) -> Iterator[BufferedReader]:
    """A file opened for reading, or a link to one; VideoError where there is none, it is a folder
    or a pipe, or it cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            raise VideoError("not a regular file")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise VideoError("file is missing", "missing") from error
    except OSError as error:
        raise VideoError(f"file cannot be read: {error.strerror}") from error


def container_kind(path: Path, raw: RawFormat | None = None) -> Kind:
    """The FFmpeg demuxer that a local file's first bytes ask for, e.g. "mov", "matroska", "mpegts".

    Or `raw`, the format of the dataset's files without a container, for a file that is named as
    such (.yuv, .raw). Raises VideoError with a plain reason when `path` is not a regular file (a
    link to one will do) or is no container known here: playlists, concat scripts, session
    descriptions, texts and images among them.
    """
    with open_regular_file(path) as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise VideoError("file is empty")
    named_raw = path.suffix.lower() in RAW_SUFFIXES
    if raw is not None and named_raw:
        return raw
    for kind, begins in KINDS.items():
        if begins(head):
            if kind == "mov" and head.startswith(IMAGE_BRANDS, 8):
                raise VideoError("not a video: starts as a still image")
            return kind
    if named_raw:
        raise VideoError(
            "raw video without a header: its dataset must say its size and format "
            '(raw = "1920x1080 yuv420p 30" in its .toml)'
        )
    if b"\x00" not in head and sum(
        32 <= byte < 127 or byte in b"\t\r\n" for byte in head
    ) > 0.9 * len(head):
        raise VideoError("not a video: starts as text")
    raise VideoError(f"not a video: unknown container (starts with {head[:8].hex(' ')})")


def _metadata_errors() -> dict[str, Any]:
    """How PyAV is told to take metadata that is not UTF-8, before version 19 made that its way."""
    release = metadata.version("av")
    return {"metadata_errors": "replace"} if int(release.partition(".")[0]) < 19 else {}


@contextmanager
def open_container(path: Path, kind: Kind) -> Iterator[tuple[Any, Any]]:
    """Yield (PyAV container, its video stream) of a file of that kind, and close it after.

    FFmpeg may read local files only, and reads the file as nothing but this kind. Raises
    VideoError when the file cannot be read or holds no video stream.
    """
    import av

    options = {"protocol_whitelist": "file"}
    if isinstance(kind, RawFormat):
        size = f"{kind.width}x{kind.height}"
        options |= {
            "video_size": size,
            "pixel_format": kind.pixel_format,
            "framerate": str(kind.fps),
        }
    demuxer = "rawvideo" if isinstance(kind, RawFormat) else kind
    # "concat:a.mp4" is a file here, and must be no protocol to FFmpeg
    local = os.path.abspath(path)
    try:
        with av.open(
            local, format=demuxer, container_options=options, **_metadata_errors()
        ) as container:
            # a cover picture is a stream too
            shown = [
                s
                for s in container.streams.video
                if not s.disposition & type(s.disposition).attached_pic
            ]
            if not shown:
                raise VideoError("no video stream")
            stream: Any = shown[0]
            stream.thread_count = 1  # frame threads together with torch have hung
            yield container, stream
    except av.error.InvalidDataError as error:
        raise VideoError(
            "could not be decoded: its header or index is damaged or cut off", "decode"
        ) from error
    except av.FFmpegError as error:
        raise VideoError(f"could not be decoded: {error.strerror}", "decode") from error


@dataclass(frozen=True)
class Index:
    """The N frames that exist in a file, in display order.

    pts: int64 [N], ticks; None where the container's times cannot name a frame (AVI has none, some
    streams lack them): frames are then known by their place in the decoder's output. keys: pts of
    the frames that decoding can start at. timestamps: float64 [N], seconds, the first 0. fps:
    frames a second, averaged over those times. damage: "" or what is wrong with the file, in words.
    codec: FFmpeg's name, e.g. "h264". first: the first frame decoded (a PyAV frame). plain:
    undamaged, without edits, with one video stream and trustworthy times. frame_bytes: of each
    frame of a raw file, else 0.
    """

    pts: Int64[np.ndarray, " n"] | None
    keys: Int64[np.ndarray, " keys"]
    timestamps: Float64[np.ndarray, " n"]
    fps: float
    damage: str
    first: Any
    codec: str
    plain: bool
    frame_bytes: int = 0


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets that hold data, from where the container stands to its end.

    Raises av.error.InvalidDataError where the file breaks off.
    """
    raw = container.format.name == "rawvideo"
    try:
        for packet in container.demux(stream):
            # an empty packet would end the decoder's stream; a part of a raw frame is no frame
            if packet.size and not (raw and packet.is_corrupt):
                yield packet
    except IndexError:
        # PyAV trips at the end of a file in which a stream began that its header had not named
        return


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Frames from the container's start to its end, as the decoder gives them; damaged packets are
    skipped.
    """
    from av.error import EOFError, InvalidDataError

    try:
        for packet in packets(container, stream):
            try:
                yield from packet.decode()
            except InvalidDataError:
                continue
    except InvalidDataError:
        pass  # the file breaks off here; what is still inside the decoder follows
    try:
        yield from stream.decode(None)
    except (InvalidDataError, EOFError):
        return


def check_video(path: Path, raw: RawFormat | None = None) -> None:
    """Raises VideoError where a file cannot be used at all: its header is read and its first frame
    decoded, no more.
    """
    with open_container(path, container_kind(path, raw)) as (container, stream):
        if next(decoded(container, stream), None) is None:
            raise VideoError("holds no frames", "decode")


def jump(container: Any, stream: Any, index: Index, key: int) -> None:
    """Seek to the keyframe of number `key` among the index's, so that its packet is the next.

    Raises av.error.FFmpegError. FFmpeg may land earlier or later than that: check the packet's own
    time.
    """
    if index.frame_bytes:  # FFmpeg finds a time in raw video by reading all that lies before it
        container.seek(key * index.frame_bytes, unsupported_byte_offset=True)
    else:
        container.seek(int(index.keys[key]), stream=stream)


@dataclass(frozen=True)
class _Packet:
    """What the container says of a packet. pts, dts: when it is shown and decoded, in ticks, or
    None. is_cut: an edit list leaves it out.
    """

    pts: int | None
    dts: int | None
    is_key: bool
    is_cut: bool


@dataclass(frozen=True)
class _Demuxed:
    """What one pass over a file's packets finds.

    first: the first frame decoded, or None. damage: "" or what is wrong with the packets, in words.
    shortfall: "" or how much the container promised beyond them. tick: seconds. rate: frames a
    second, as the container claims, else 1. delay: frames by which the decoder's output may be
    late. streams: how many video streams there are.
    """

    packets: list[_Packet]
    first: Any
    damage: str
    shortfall: str
    codec: str
    tick: float
    rate: float
    delay: int
    streams: int

    @property
    def shown(self) -> list[int | None]:
        """Times of the packets that are shown."""
        return [packet.pts for packet in self.packets if not packet.is_cut]


def read_index(path: Path, kind: Kind) -> Index:
    """Find the frames of a file by reading all its packets, and by decoding it where packets cannot
    tell.

    Of raw video only the first is read. Raises VideoError: "no video stream", "holds no frames", or
    "could not be decoded: …".
    """
    if isinstance(kind, RawFormat):
        return _raw_index(path, kind)
    with open_container(path, kind) as (container, stream):
        file = _demux(container, stream, kind)
    if file.first is None:
        raise VideoError("holds no frames", "decode")
    times = file.shown
    named = kind not in UNTIMED and file.first.pts is not None and _are_names(times)
    if file.damage or not (named or kind in UNTIMED):
        with open_container(path, kind) as (container, stream):
            times = [frame.pts for frame in decoded(container, stream)]
        named = named and _are_names(times)
    if named:
        # frames before the first one decoded depend on frames that were cut off
        shown = [time for time in times if time is not None and time >= file.first.pts]
        pts = np.sort(np.array(shown, np.int64))
        seconds = pts * file.tick
    else:
        pts = None
        seconds = _clock_without_names(file, kind, len(times))
    if not len(seconds):
        raise VideoError("holds no frames", "decode")
    seconds = seconds - seconds[0]
    fps = (len(seconds) - 1) / float(seconds[-1]) if len(seconds) > 1 else file.rate
    keys = [packet.pts for packet in file.packets if packet.is_key and packet.pts is not None]
    edited = any(packet.is_cut for packet in file.packets)
    damage = file.shortfall or file.damage
    return Index(
        pts,
        np.unique(np.array(keys, np.int64)),
        seconds,
        fps,
        damage,
        file.first,
        file.codec,
        plain=file.streams == 1 and not edited and named and not damage,
    )


def _demux(container: Any, stream: Any, kind: str) -> _Demuxed:
    """Reads all packets, and decodes until there is a first frame."""
    from av.error import InvalidDataError

    seen: list[_Packet] = []
    first, damage, end = None, "", 0
    try:
        for packet in packets(container, stream):
            seen.append(_Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard))
            end = max(end, (packet.pts or 0) + (packet.duration or 0))
            if packet.is_corrupt:
                damage = "the file has damaged parts"
            if first is None:
                try:
                    first = next(iter(packet.decode()), None)
                except InvalidDataError:
                    damage = "the file has damaged parts"
        if first is None:
            first = next(iter(stream.decode(None)), None)
    except InvalidDataError:
        damage = "the file breaks off"
    tick = float(stream.time_base)
    return _Demuxed(
        seen,
        first,
        damage,
        _shortfall(container, stream, kind, len(seen), end * tick),
        codec=stream.codec_context.name,
        tick=tick,
        rate=float(stream.average_rate or 0) or 1.0,
        delay=int(bool(stream.codec_context.has_b_frames)),
        streams=len(container.streams.video),
    )


def _are_names(times: list[int | None]) -> bool:
    """Whether a frame can be recognised by its time."""
    return None not in times and len(set(times)) == len(times)


def _clock_without_names(file: _Demuxed, kind: str, frames: int) -> Float64[np.ndarray, " n"]:
    """Seconds at which so many frames are shown whose times cannot name them: at a fixed rate, but
    for AVI that leaves frames out.
    """
    times = [packet.dts for packet in file.packets if packet.dts is not None]
    if kind == "avi" and not file.damage and len(times) == len(file.packets):
        # a frame is shown when it is decoded, or one step later if others may overtake it
        times = times[file.delay :] + [times[-1] + 1] * file.delay
        if (np.diff(times) > 0).all():
            return np.array(times) * file.tick
    return np.arange(frames) / file.rate


def _raw_index(path: Path, raw: RawFormat) -> Index:
    """The N whole frames that a raw file has room for; FFmpeg's time of a frame is its number."""
    with open_container(path, raw) as (container, stream):
        packet = next(packets(container, stream), None)
        if packet is None:
            raise VideoError("holds no frames", "decode")
        frame_bytes, first = packet.size, packet.decode()[0]
    length, rest = divmod(path.stat().st_size, frame_bytes)
    damage = f"the file breaks off: {rest} bytes after its last whole frame" if rest else ""
    pts = np.arange(length, dtype=np.int64)
    return Index(pts, pts, pts / raw.fps, raw.fps, damage, first, "rawvideo", False, frame_bytes)


def _shortfall(container: Any, stream: Any, kind: str, packets: int, end: float) -> str:
    """How much is missing at the video's end, in words, where the container was written knowing all
    of it; else "". ``end``: when the last packet's time is over, in seconds.
    """
    if kind == "mov" and packets < stream.frames:
        return f"the file breaks off after {packets} of {stream.frames} frames"
    claimed, real = (
        (container.duration or 0) / 1e6,
        end - (container.start_time or 0) / 1e6,
    )  # seconds
    if kind in ("matroska", "flv") and real < 0.9 * claimed:
        return f"the file breaks off: its video ends after {real:.1f} of {claimed:.1f} s"
    return ""
