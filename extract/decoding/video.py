"""The only module that opens a video.

Dimensions: N frames in the video, T frames asked for, H x W pixels after rotation. Times are in
seconds.

Which frames exist, and when they are shown, is always read with PyAV
(extract/decoding/index.py). Their pixels come from decord or PyAV, and are those of the ffmpeg
program; docs/decisions/0003-decoders.md says who decodes what, and why.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from vqa_twostage.extract.decoding.containers import (
    Kind,
    container_kind,
    decoded,
    open_container,
    packets,
)
from vqa_twostage.extract.decoding.hdr import is_hdr, kind_of_hdr
from vqa_twostage.extract.decoding.index import DAMAGED, Index, read_index
from vqa_twostage.extract.decoding.pixels import RGB, display_matrix, upright_size
from vqa_twostage.extract.options import DECODERS, HDRS, check_choice
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.limits import DEFAULTS, Limits
from vqa_twostage.pipeline.raw_format import RawFormat

# Which pixels a file gives. A part of every identity, so raise it when a file gives other pixels
# than before, whatever the reason: a release of FFmpeg among them. The frames in
# tests/data/decoding tell. Releases that change no pixel leave caches as they are
DECODING_VERSION = 2

SEEKABLE = ("mov", "matroska", "mpegts")  # a time found before a jump names the same frame after it
STATEFUL = ("vp8",)  # after damaged data a keyframe does not make it start afresh
# have frames that no other frame depends on
SKIPPABLE = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")

# What decord 0.6.0 was found to decode exactly when read from front to back, which is how it is
# used
DECORD_KINDS = ("mov", "matroska")
# not VP9: it resizes frames of another size otherwise than today's FFmpeg
DECORD_CODECS = ("h264", "hevc")
DECORD_FORMATS = ("yuv420p", "yuvj420p")
DECORD_FRAMES = 1500  # without jumps, a longer video would be decoded for nothing


# row in what was asked for, pixels
Images = Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]]


def decoder_name(choice: str) -> str:
    """The decoder that `choice` ("auto", "decord" or "pyav") stands for; "auto" is "pyav".

    Raises UsageError for any other word, and for decord where it is not installed. Imports neither.
    """
    if choice not in DECODERS:
        raise UsageError(f"unknown decoder {choice!r}; choose one of {', '.join(DECODERS)}")
    if choice == "decord":
        try:
            metadata.version("decord")
        except metadata.PackageNotFoundError:
            raise UsageError(
                "decoder 'decord' is not installed; run: pip install decord; it exists for x86-64 "
                "only, elsewhere choose pyav, which gives the same frames"
            ) from None
    return "pyav" if choice == "auto" else choice


class Video(ABC):
    """An open video of N frames.

    path: the file. kind: its container. index: its frames. id: what the dataset calls it, "" where
    it is in none. decoder: what gives its pixels, "decord" or "pyav". width, height: pixels, after
    rotation, which `matrix` describes. timestamps: float64 [N], seconds, real presentation times in
    display order, the first 0. fps: frames a second, averaged over them. damage: "" or what is
    wrong with the file, e.g. that it breaks off; N counts what is left. Reading frames may find
    more of it. heartbeat: to be called now
    and then by whatever takes long, such as looking at every frame. hdr: what becomes of HDR, one
    of `HDRS` without "refuse". limits: what it may have.
    """

    decoder: str
    limits: Limits = DEFAULTS

    def __init__(
        self,
        path: Path,
        kind: Kind,
        index: Index,
        id: str = "",
        heartbeat: Callable[[], None] = lambda: None,
        hdr: str = "tonemap",
    ) -> None:
        self.path, self.kind, self.index = path, kind, index
        self.id, self.heartbeat, self.hdr = id, heartbeat, hdr
        self.timestamps: Float64[np.ndarray, " N"] = index.timestamps
        self.fps, self.damage = index.fps, index.damage
        self.matrix = display_matrix(index.first)
        self.height, self.width = upright_size(index.first.height, index.first.width, self.matrix)

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def note(self) -> str:
        """What should be known of how it is read, in words; "" for nothing."""
        notes = [self.index.note] if self.index.note else []
        if is_hdr(self.index.first):
            taken = "taken as if it were SDR" if self.hdr == "clip" else "tone-mapped to SDR"
            notes.append(f"is HDR ({kind_of_hdr(self.index.first)}), {taken}")
        return "; ".join(notes)

    def stream(
        self, index: Int64[np.ndarray, " frames"]
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]]:
        """Each of the frames `index` (distinct, ascending) once, with its row in `index`, as they
        are decoded.

        That is in ascending order, except after damage. An image is valid until the next is asked
        for. Raises IndexError for a number outside the video, and VideoError for frames that cannot
        be decoded, after those that can.
        """
        if len(index) and not (index[0] >= 0 and index[-1] < len(self)):
            raise IndexError(f"frame numbers must lie in 0..{len(self) - 1}")
        if len(index):
            yield from self._decode(index)

    @abstractmethod
    def _decode(self, index: Int64[np.ndarray, " frames"]) -> Images:
        """What `stream` promises, of an `index` that is within the video and not empty."""


class PyAVVideo(Video):
    """Decoded by FFmpeg through PyAV, each frame recognised by its time. Holds no file open between
    reads.
    """

    decoder = "pyav"

    def _decode(self, index: Int64[np.ndarray, " frames"]) -> Images:
        pts = self.index.pts
        todo = {int(i if pts is None else pts[i]): row for row, i in enumerate(index)}
        sound = self.kind in SEEKABLE and self.index.codec not in STATEFUL and not self.damage
        if pts is not None and (sound or self.index.frame_bytes):
            yield from self._decode_by_jumps(todo)
        if todo:
            yield from self._decode_in_order(todo)
        if todo:
            raise VideoError(
                f"could not be decoded: {len(todo)} of the {len(index)} frames asked for",
                "decode",
            )

    def _decode_in_order(self, todo: dict[int, int]) -> Images:
        """Take out of `todo` (frame's name -> row) what is found from the start on."""
        with open_container(self.path, self.kind) as (container, stream):
            rgb = RGB(self.height, self.width, self.matrix, hdr=self.hdr, limits=self.limits)
            for place, frame in enumerate(decoded(container, stream)):
                name = place if self.index.pts is None else frame.pts
                if frame.is_corrupt and self.index.pts is not None:
                    self.damage = self.damage or DAMAGED
                if name in todo:
                    yield todo.pop(name), rgb(frame)
                if not todo:
                    return

    def _decode_by_jumps(self, todo: dict[int, int]) -> Images:
        """The same, past all frames that nobody asked for and no other depends on.

        What it cannot vouch for stays in `todo`, and so does everything after any fault: what a
        decoder makes of damaged data depends on all it saw before.
        """
        from av.error import InvalidDataError

        last_wanted: dict[int, int] = {}  # number of the keyframe to start from -> pts
        for pts in sorted(todo):
            place = int(np.searchsorted(self.index.keys, pts, side="right"))
            last_wanted[max(place - 1, 0)] = pts
        with open_container(self.path, self.kind) as (container, stream):
            stream.codec_context.options = {"err_detect": "explode"}
            rgb = RGB(self.height, self.width, self.matrix, hdr=self.hdr, limits=self.limits)
            try:
                for key, last in last_wanted.items():
                    if key > 0:
                        jump(container, stream, self.index, key)
                    for frame in _from_keyframe(container, stream, todo, last):
                        if frame.pts in todo:
                            yield todo.pop(frame.pts), rgb(frame)
            # the last: FFmpeg's word for a jump that it cannot do
            except (InvalidDataError, _Guessed, PermissionError):
                return


def jump(container: Any, stream: Any, index: Index, key: int) -> None:
    """Seek to the keyframe of number `key` among the index's, so that its packet is the next.

    Raises av.error.FFmpegError. FFmpeg may land earlier or later than that: check the packet's own
    time.
    """
    if index.frame_bytes:  # FFmpeg finds a time in raw video by reading all that lies before it
        container.seek(key * index.frame_bytes, unsupported_byte_offset=True)
    else:
        container.seek(int(index.keys[key]), stream=stream)


class _Guessed(Exception):
    """A frame has parts that the decoder could not read and made up."""


def _from_keyframe(container: Any, stream: Any, wanted: Container[int], last: int) -> Iterator[Any]:
    """Frames from the next keyframe to the one of time `last`, as the decoder gives them; some that
    are not `wanted` are left out.

    A frame is kept back until all that it may depend on are out too, some of which are shown after
    it. Raises _Guessed where one of them has parts that are made up.
    """
    codec = stream.codec_context
    entered: int | None = None  # pts of the keyframe that decoding really starts from
    latest: dict[int, int] = {}  # pts of a packet -> the latest of it and of all before it
    kept = deque[Any]()
    for packet in chain(packets(container, stream), [None]):  # None empties the decoder
        if packet is not None and entered is None and packet.is_keyframe:
            entered = packet.pts
        if entered is None:
            continue
        if packet is not None:
            latest[packet.pts] = max(packet.pts, next(reversed(latest.values()), packet.pts))
            if codec.name in SKIPPABLE:
                codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        frames = [frame for frame in stream.decode(packet) if frame.pts is not None]
        at_end = bool(frames) and frames[-1].pts >= last
        if at_end and packet is not None:  # what was decoded comes out, and nothing else is
            frames += stream.decode(None)
        for frame in frames:
            if frame.pts < entered:
                continue
            if frame.is_corrupt:
                raise _Guessed
            kept.append(frame)
            while kept and latest.get(kept[0].pts, frame.pts) <= frame.pts:
                yield kept.popleft()
        if at_end:
            break
    yield from kept


class DecordVideo(PyAVVideo):
    """Decoded by decord from front to back: its own jumps return other frames than those asked for,
    without saying so.

    Only for files that `exact_decord_reader` lets through. One that decord gives up on midway goes
    to PyAV, and `decoder` then says so.
    """

    decoder = "decord"

    def __init__(
        self,
        reader: Any,
        path: Path,
        kind: Kind,
        index: Index,
        id: str = "",
        heartbeat: Callable[[], None] = lambda: None,
        hdr: str = "tonemap",
    ) -> None:
        super().__init__(path, kind, index, id, heartbeat, hdr)
        self._reader = reader  # stands at the first frame; used once

    def _decode(self, index: Int64[np.ndarray, " frames"]) -> Images:
        import decord

        reader, self._reader = self._reader or _decord_reader(self.path), None
        row = 0
        try:
            if reader is None:
                raise RuntimeError("decord opened the file before, and does not now")
            keys = np.array(reader.get_key_indices(), np.int64)
            place = 0
            for number in index.tolist():
                _skip(reader, keys, place, number)
                yield row, reader.next().asnumpy()
                place = number + 1
                row += 1
        except (decord.DECORDError, RuntimeError, StopIteration, ValueError):
            self.decoder = "pyav"
            for late, image in super()._decode(index[row:]):
                yield row + late, image


def _skip(reader: Any, keys: Int64[np.ndarray, " keys"], place: int, to: int) -> None:
    """Moves decord's reader from one frame forward to another, without a jump.

    Skipping across a keyframe would jump to it: it stops one short, and decodes that frame.
    """
    while place < to:
        key = np.searchsorted(keys, place, side="right")
        stop = min(to, int(keys[key]) - 1) if key < len(keys) else to
        if stop > place:
            reader.skip_frames(stop - place)
        else:
            reader.next()
        place = max(stop, place + 1)


def exact_decord_reader(path: Path, kind: Kind, index: Index) -> Any:
    """A reader at the first frame; None unless decord is known to decode such a file exactly and
    agrees on the frames in it.
    """
    first = index.first
    if not (
        kind in DECORD_KINDS
        and index.codec in DECORD_CODECS
        and first.format.name in DECORD_FORMATS
        # else its FFmpeg of 2018 places colour otherwise than today's
        and first.height % 2 == 0
        # it overlooks the rotation of Matroska files, and all mirroring
        and display_matrix(first) is None
        and not is_hdr(first)
        and index.plain
        and len(index.timestamps) <= DECORD_FRAMES
    ):
        return None
    reader = _decord_reader(path)
    if reader is None or len(reader) != len(index.timestamps):
        return None
    shown = np.asarray(reader.get_frame_timestamp(range(len(reader))), np.float64)[:, 0]
    # decord keeps 32-bit floats
    agree = np.allclose(shown - shown[0], index.timestamps, rtol=1e-5, atol=1e-3)
    return reader if agree else None


def _decord_reader(path: Path) -> Any:
    """A fresh reader at the first frame, or None where decord cannot open the file."""
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    except (decord.DECORDError, RuntimeError, AssertionError, ValueError):
        return None


@contextmanager
def open_video(
    path: Path,
    decoder: str = "auto",
    raw: RawFormat | None = None,
    *,
    id: str = "",
    heartbeat: Callable[[], None] = lambda: None,
    hdr: str = "tonemap",
    limits: Limits = DEFAULTS,
) -> Iterator[Video]:
    """Open a local video file for reading frames.

    `raw`: what those files of its dataset are that have no container. `id`: what the dataset calls
    it. `heartbeat`: called now and then by whatever looks at many frames. `hdr`: what becomes of
    HDR, one of `HDRS`. `limits`: beyond them a file is not used. Raises VideoError with a short
    reason when the file cannot be used, UsageError when `decoder` or `hdr` cannot.
    """
    name = decoder_name(decoder)
    check_choice("hdr", hdr, HDRS)
    # "concat:a.mp4" is a file here, and must be no protocol to decord
    path = Path(os.path.abspath(path))
    kind = container_kind(path, raw)
    index = read_index(path, kind, heartbeat)
    limits.check_frame(index.first.width, index.first.height)
    limits.check_length(len(index.timestamps), float(index.timestamps[-1]))
    if hdr == "refuse" and is_hdr(index.first):
        raise VideoError(
            f"is HDR ({kind_of_hdr(index.first)}), which --hdr refuse leaves out; choose --hdr "
            "tonemap to make it SDR"
        )
    reader = exact_decord_reader(path, kind, index) if name == "decord" else None
    video = (
        PyAVVideo(path, kind, index, id, heartbeat, hdr)
        if reader is None
        else DecordVideo(reader, path, kind, index, id, heartbeat, hdr)
    )
    video.limits = limits
    yield video
