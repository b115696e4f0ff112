"""What a video file is, before its pixels: which files may be opened at all, which of its streams
is the video, and its packets and frames in order.

FFmpeg guesses a file's kind from its content, and some kinds are only lists of other things to
open: a playlist named `clip.mp4` makes it read other files or the network. So the kind is decided
here from the first bytes, and passed to FFmpeg. Which frames there are is a matter of
extract/decoding/index.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.limits import DEFAULTS, Limits
from vqa_twostage.pipeline.raw_format import RawFormat

HEAD_BYTES = 2048  # bytes: enough for the start of several packets of a transport stream
IMAGE_BRANDS = (b"heic", b"heix", b"mif1", b"avif")  # still images that share MP4's box format
PNG = b"\x89PNG\r\n"
# in upper or lower case; such a file may begin with any bytes, so its name decides
RAW_SUFFIXES = (".yuv", ".raw")

# beside a moving picture, these are covers
STILLS = ("mjpeg", "png", "bmp", "gif", "tiff", "webp", "jpeg2000")

Kind = str | RawFormat  # a demuxer's name in FFmpeg, or what a file without a container is


def _starts(*magics: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics, at)


def _is_transport_stream(head: bytes) -> bool:
    """188 bytes a packet, or 192 with a time code before each (Blu-ray), or 204 with a checksum
    after it; a recording may begin in the midst of one. Five packets must begin as they should, or
    three if the first is whole.
    """
    for size in (188, 192, 204):
        for start in range(size):
            begins = head[start::size]
            whole = start == (4 if size == 192 else 0)
            if len(begins) >= (3 if whole else 5) and set(begins) == {0x47}:
                return True
    return False


def _starts_unit(*units: bytes) -> Callable[[bytes], bool]:
    """A stream without a container, whose first unit follows a start code."""
    codes = (b"\x00\x00\x01", b"\x00\x00\x00\x01")
    return _starts(*(code + unit for code in codes for unit in units))


# the demuxer's name in FFmpeg, and how its files begin
KINDS: dict[str, Callable[[bytes], bool]] = {
    "mov": _starts(b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", at=4),
    "matroska": _starts(b"\x1a\x45\xdf\xa3"),
    "avi": lambda head: head.startswith(b"RIFF") and head.startswith((b"AVI ", b"AVIX"), 8),
    "flv": _starts(b"FLV\x01"),
    "mpeg": _starts(b"\x00\x00\x01\xba"),
    "mpegvideo": _starts_unit(b"\xb3"),
    # parameter sets, or what may stand before them
    "h264": _starts_unit(b"\x67", b"\x27", b"\x47", b"\x09", b"\x06"),
    "hevc": _starts_unit(b"\x40\x01", b"\x42\x01", b"\x46\x01", b"\x4e\x01"),
    "m4v": _starts_unit(b"\xb0", b"\xb5", b"\x00", b"\x20"),
    "mjpeg": _starts(b"\xff\xd8\xff"),
    "gif": _starts(b"GIF87a", b"GIF89a"),
    "mxf": _starts(bytes.fromhex("060e2b34020501010d010201")),
    "dv": _starts(b"\x1f\x07\x00"),
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
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise VideoError(
                "is a folder, not a video; make a lossless video of pictures in it first: ffmpeg "
                "-framerate 25 -i %05d.png -c:v ffv1 clip.mkv"
            )
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
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
            if kind in ("mjpeg", "gif") and not _moves(path, kind):
                raise VideoError("not a video: a still image")
            return kind
    if head.startswith(PNG):
        raise VideoError("not a video: a still image")
    if head.startswith(b"RIFF") and head.startswith(b"WEBP", 8):
        raise VideoError(
            "WebP is not read; convert an animated one to a lossless video first, such as FFV1 in "
            "Matroska"
        )
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


def _moves(path: Path, kind: str) -> bool:
    """Whether a file that may be a still image holds a second one."""
    with open_container(path, kind) as (container, stream):
        return len(list(islice(packets(container, stream), 2))) == 2


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
            stream = shown_stream(container)
            stream.thread_count = 1  # frame threads together with torch have hung
            yield container, stream
    except av.error.InvalidDataError as error:
        raise VideoError(
            "could not be decoded: its header or index is damaged or cut off", "decode"
        ) from error
    except av.FFmpegError as error:
        raise VideoError(
            "could not be decoded: its data is damaged or cut off, or FFmpeg cannot read it "
            f"({error.strerror})",
            "decode",
        ) from error


def shown_stream(container: Any) -> Any:
    """The video stream that players show: the one marked as default, then the largest, then the
    first. VideoError where there is none.
    """
    videos = moving_streams(container)
    if not videos and any(stream.codec_context is None for stream in container.streams.video):
        raise VideoError("its video has a codec that FFmpeg does not know")
    if not videos:
        raise VideoError("no video stream")

    def rank(stream: Any) -> tuple[bool, int]:
        codec = stream.codec_context
        is_default = bool(stream.disposition & type(stream.disposition).default)
        return is_default, codec.width * codec.height

    return max(videos, key=rank)


def moving_streams(container: Any) -> list[Any]:
    """The video streams without cover pictures, whether these are marked as such or not, and
    without those of a codec that FFmpeg does not know.
    """
    videos = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None
        and not stream.disposition & type(stream.disposition).attached_pic
    ]
    moving = [stream for stream in videos if stream.codec_context.name not in STILLS]
    return moving or videos


def packets(container: Any, stream: Any, others: bool = False) -> Iterator[Any]:
    """The stream's packets that hold data, from where the container stands to its end; with
    ``others`` those of all streams, each of which names its own (`stream_index`).

    Raises av.error.InvalidDataError where the file breaks off.
    """
    raw = container.format.name == "rawvideo"
    streams = () if others else (stream,)
    try:
        for packet in container.demux(*streams):
            # an empty packet would end the decoder's stream; a part of a raw frame is no frame
            if packet.size and not (raw and packet.is_corrupt):
                yield packet
    except IndexError:
        # PyAV trips at the end of a file in which a stream began that its header had not named
        return


def decoded_from(
    packet: Any, number: int = 0, on_fault: Callable[[int], None] = lambda number: None
) -> Iterator[Any]:
    """The frames that are out of the decoder once it has a packet; none of a damaged one, whose
    ``number`` is told.
    """
    from av.error import InvalidDataError

    try:
        yield from packet.decode()
    except PermissionError:  # FFmpeg's -1: the packet is a header
        return
    except InvalidDataError:
        on_fault(number)


def decoded(
    container: Any,
    stream: Any,
    numbered: bool = False,
    on_fault: Callable[[int], None] = lambda number: None,
) -> Iterator[Any]:
    """Frames from the container's start to its end, as the decoder gives them; damaged packets are
    skipped, and ``on_fault`` is told their number.

    ``numbered``: the time of each frame is then the number of its packet, from 0.
    """
    from av.error import EOFError, InvalidDataError

    try:
        for number, packet in enumerate(packets(container, stream)):
            if numbered:
                packet.pts = number
            yield from decoded_from(packet, number, on_fault)
    except InvalidDataError:
        pass  # the file breaks off here; what is still inside the decoder follows
    try:
        yield from stream.decode(None)
    except (InvalidDataError, EOFError):
        return


def check_video(path: Path, raw: RawFormat | None = None, limits: Limits = DEFAULTS) -> None:
    """Raises VideoError where a file cannot be used at all: its header is read and its first frame
    decoded, no more.
    """
    with limits.memory_named():
        kind = container_kind(path, raw)
        with open_container(path, kind) as (container, stream):
            first = next(decoded(container, stream), None)
            if first is None:
                raise VideoError("holds no frames", "decode")
            limits.check_frame(first.width, first.height)
