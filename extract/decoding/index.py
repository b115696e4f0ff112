"""Which frames really exist in a file, and when they are shown.

Dimensions: N frames in the video. pts: presentation time in the stream's own ticks (`time_base`
seconds each).

What a container claims about itself (its frame count, its duration) is not believed. All packets
are read; where their headers and times leave no doubt, each is a frame, and is named by its time.
Everywhere else what counts is what the decoder shows: all frames are decoded once, and named by
their place. Raw video has no container: its dataset states its format, and the size of the file how
many frames there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from vqa_twostage.extract.decoding.bitstream.headers import headers_of
from vqa_twostage.extract.decoding.bitstream.order import Order
from vqa_twostage.extract.decoding.clock import Packet, corrections, shown_at
from vqa_twostage.extract.decoding.containers import (
    Kind,
    decoded,
    decoded_from,
    moving_streams,
    open_container,
    packets,
)
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.raw_format import RawFormat

# streams without a container
STREAMS = ("mpegvideo", "m4v", "h264", "hevc", "mjpeg")
# store no presentation times: frames come at a fixed rate
UNTIMED = ("avi", "mxf", *STREAMS)
# promise a duration when they were written knowing all of it
PROMISING = ("matroska", "flv")
STARTS_ANEW = 0x0200  # FFmpeg's AVFMT_TS_DISCONT
MOST_FRAMES_A_SECOND = 1000
MOST_REORDERED = 17  # frames: one more than any standard allows
BROKEN_OFF = "the file breaks off"
DAMAGED = "the file has damaged parts"


@dataclass(frozen=True, eq=False)
class Index:
    """The N frames that exist in a file, in display order.

    pts: int64 [N], ticks; None where frames are known by their place in the decoder's output, since
    times cannot name them. keys: pts of the frames that decoding can start at. timestamps: float64
    [N], seconds, the first 0. fps: frames a second, averaged over those times. damage: "" or what
    is wrong with the file, in words. codec: FFmpeg's name, e.g. "h264". first: the first frame
    decoded (a PyAV frame). plain: undamaged, without edits, with one video stream, one set of
    parameters and trustworthy times. frame_bytes: of each frame of a raw file, else 0. note: "" or
    what should be known of how the file is read, in words.
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
    note: str = ""


@dataclass(frozen=True)
class _File:
    """What one pass over a file's packets finds.

    first: the first frame decoded, or None. damage: "" or what is wrong with the packets, in words.
    one_each: whether every packet is surely one frame that is shown. steady: whether its parameters
    stay the same. tick: seconds. rate: frames a second, as the container claims, else 1. delay:
    frames by which the decoder's output may be late. streams: how many video streams there are.
    note: which of several is read. starts_anew: whether the container's clock may.
    """

    packets: list[Packet]
    first: Any
    damage: str
    one_each: bool
    steady: bool
    codec: str
    tick: float
    rate: float
    delay: int
    streams: int
    note: str
    starts_anew: bool

    @cached_property
    def added(self) -> Int64[np.ndarray, " P"]:
        """What corrects the times of each packet, in ticks."""
        return corrections(self.packets, self.tick, self.rate, self.starts_anew)


def read_index(path: Path, kind: Kind, heartbeat: Callable[[], None] = lambda: None) -> Index:
    """Find the frames of a file by reading all its packets, and by decoding it where packets cannot
    tell.

    Of raw video only the first is read. `heartbeat` is called for every packet and frame. Raises
    VideoError: "no video stream", "holds no frames", or "could not be decoded: …".
    """
    if isinstance(kind, RawFormat):
        return _raw_index(path, kind)
    with open_container(path, kind) as (container, stream):
        file = _read_packets(container, stream, kind, heartbeat)
    if file.first is None:
        raise VideoError("holds no frames", "decode")
    if file.one_each and not file.damage:
        if kind in UNTIMED:
            return _index(file, None, _clock_of(file, kind, list(range(len(file.packets)))))
        if (pts := _names(file)) is not None:
            return _index(file, pts, pts * file.tick)
    return _counted(path, kind, file, heartbeat)


def _index(
    file: _File,
    pts: Int64[np.ndarray, " n"] | None,
    seconds: Float64[np.ndarray, " n"],
    damage: str = "",
) -> Index:
    if not len(seconds):
        raise VideoError("holds no frames", "decode")
    seconds = seconds - seconds[0]
    last = float(seconds[-1])
    keys = [packet.pts for packet in file.packets if packet.is_key and packet.pts is not None]
    edited = any(packet.is_cut for packet in file.packets)
    damage = file.damage or damage
    return Index(
        pts,
        np.unique(np.array(keys, np.int64)),
        seconds,
        (len(seconds) - 1) / last if last > 0 else file.rate,
        damage,
        file.first,
        file.codec,
        plain=file.streams == 1 and file.steady and not edited and pts is not None and not damage,
        note=file.note,
    )


# --- packets ----------------------------------------------------------------------------------


def _read_packets(container: Any, stream: Any, kind: str, heartbeat: Callable[[], None]) -> _File:
    """Reads all packets, and decodes until there is a first frame."""
    from av.error import InvalidDataError

    codec = stream.codec_context
    headers = headers_of(codec.name, bytes(codec.extradata or b""))
    seen: list[Packet] = []
    order: list[Order | None] = []
    first, damage, steady = None, "", True
    faults: list[int] = []
    end = 0.0  # of everything in the file, in seconds
    try:
        for packet in packets(container, stream, others=kind in PROMISING):
            if packet.pts is not None:
                time = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
                end = max(end, time)
            heartbeat()
            if packet.stream_index != stream.index:
                continue
            seen.append(
                Packet(
                    packet.pts,
                    packet.dts,
                    packet.duration or 0,
                    packet.is_keyframe,
                    packet.is_discard,
                    packet.is_corrupt,
                )
            )
            steady = steady and not packet.has_sidedata("new_extradata")
            order.append(headers.order_of(bytes(packet)) if headers and steady else None)
            if first is None:
                first = next(decoded_from(packet, on_fault=faults.append), None)
        if first is None:
            first = next(iter(stream.decode(None)), None)
    except InvalidDataError:
        damage = BROKEN_OFF
    starts_anew = bool(container.format.flags & STARTS_ANEW)
    if faults and not starts_anew:  # a recording may begin anywhere, and then loses nothing
        damage = damage or DAMAGED
    reorder = 0 if headers is None else headers.reorder
    return _File(
        seen,
        first,
        _shortfall(container, stream, kind, len(seen), end) or damage,
        _is_one_each(seen, order, reorder),
        steady and headers is not None and headers.steady,
        codec=codec.name,
        tick=float(stream.time_base),
        rate=_rate(stream, kind),
        delay=int(bool(codec.has_b_frames)),
        streams=len(container.streams.video),
        note=_note(container, stream),
        starts_anew=starts_anew,
    )


def _note(container: Any, stream: Any) -> str:
    """Which of several video streams is read; "" where there is one, besides covers."""
    videos = moving_streams(container)
    if len(videos) == 1:
        return ""
    size = f"{stream.codec_context.width}x{stream.codec_context.height}"
    number = [item.index for item in videos].index(stream.index) + 1
    return f"holds {len(videos)} video streams; number {number}, {size}, is the one used"


def _rate(stream: Any, kind: str) -> float:
    """Frames a second, as the file claims; of a stream without a container, as its own headers do,
    and FFmpeg's 25 where they do not.
    """
    claimed = float(stream.codec_context.framerate or 0) if kind in STREAMS else 0.0
    if 0 < claimed <= MOST_FRAMES_A_SECOND:  # MPEG-4 may give its ticks
        return claimed
    return float((stream.guessed_rate if kind in STREAMS else stream.average_rate) or 0) or 1.0


def _is_one_each(seen: list[Packet], order: list[Order | None], reorder: int) -> bool:
    """Whether every packet is surely one frame that is shown, and times say in which order.

    ``order`` is what their headers say, which let one overtake ``reorder`` frames.
    """
    known = [place for place in order if place is not None]
    if len(known) < len(order) or any(packet.is_corrupt for packet in seen):
        return False
    if _overtaken(known) > reorder:
        return False
    times = [packet.pts for packet in seen if packet.pts is not None]
    if len(times) < len(seen):
        return True
    by_time = sorted(range(len(seen)), key=times.__getitem__)
    return all(known[one] < known[next_one] for one, next_one in pairwise(by_time))


def _overtaken(order: list[Order]) -> int:
    """How many frames at most one overtakes that comes later in the file and is shown earlier."""
    return max(
        (
            sum(other > own for other in order[max(0, place - MOST_REORDERED) : place])
            for place, own in enumerate(order)
        ),
        default=0,
    )


def _names(file: _File) -> Int64[np.ndarray, " n"] | None:
    """The times of the frames, where each packet is one and times name them; else None."""
    # frames before the first one decoded depend on frames that were cut off
    first = file.first.pts
    shown = [packet.pts for packet in file.packets if not packet.is_cut]
    if first is None or None in shown or file.added.any():
        return None
    pts = np.unique(np.array(shown, np.int64))
    return pts[pts >= first] if len(pts) == len(shown) else None


def _shortfall(container: Any, stream: Any, kind: str, packets: int, end: float) -> str:
    """How much is missing at the file's end, in words, where it was written knowing all of it; else
    "". ``end``: when the last packet of any stream is over, in seconds.
    """
    if kind == "mov" and packets < stream.frames:
        # an edit list may leave packets out; what lies beyond the file's end is lost
        entries = stream.index_entries
        if any(item.pos + item.size > container.size for item in entries):
            return f"{BROKEN_OFF} after {packets} of {stream.frames} frames"
    claimed = (container.duration or 0) / 1e6
    if kind in PROMISING and end < 0.9 * claimed:
        return f"{BROKEN_OFF}: its streams end after {end:.1f} of {claimed:.1f} s"
    return ""


# --- frames that were counted -----------------------------------------------------------------


def _counted(path: Path, kind: str, file: _File, heartbeat: Callable[[], None]) -> Index:
    """Every frame that the decoder shows, in its order."""
    numbers, faults = _decode_all(path, kind, heartbeat)
    damage = DAMAGED if faults or _lost_bytes(path, kind, file, heartbeat) else ""
    return _index(file, None, _clock_of(file, kind, numbers), damage)


def _decode_all(
    path: Path, kind: str, heartbeat: Callable[[], None], strict: bool = False
) -> tuple[list[int | None], list[int]]:
    """The number of the packet that each frame is of, and those of packets that fail.

    ``strict``: the decoder fails where else it would conceal that something is missing.
    """
    numbers: list[int | None] = []
    faults: list[int] = []
    with open_container(path, kind) as (container, stream):
        if strict:
            stream.codec_context.options = {"err_detect": "explode"}
        for frame in decoded(container, stream, numbered=True, on_fault=faults.append):
            numbers.append(frame.pts)
            heartbeat()
        starts_anew = bool(container.format.flags & STARTS_ANEW)
    if starts_anew:
        # a recording may begin anywhere: what comes before its first picture is not missing
        begun = min((number for number in numbers if number is not None), default=0)
        faults = [number for number in faults if number > begun]
    return numbers, faults


def _lost_bytes(path: Path, kind: str, file: _File, heartbeat: Callable[[], None]) -> bool:
    """Whether something is missing where the demuxer noticed a break. Recordings that were joined
    have breaks and lose nothing: what follows such a break can be decoded by itself.
    """
    seen = file.packets
    broken = [place for place, packet in enumerate(seen) if packet.is_corrupt]
    if not broken:
        return False
    # FFmpeg marks the packet before the break, or the one before that
    after = [seen[place + 1 : place + 3] for place in broken]
    joined = all(len(pair) < 2 or any(packet.is_key for packet in pair) for pair in after)
    return (
        not (joined and file.starts_anew)
        or _has_holes(file)
        or bool(_decode_all(path, kind, heartbeat, strict=True)[1])
    )


def _has_holes(file: _File) -> bool:
    """Whether the clock leaves out a frame at a break."""
    added = file.added
    for place, packet in enumerate(file.packets[:-1]):
        after = file.packets[place + 1]
        if (packet.is_corrupt or after.is_corrupt) and None not in (packet.dts, after.dts):
            step = (after.dts + added[place + 1] - packet.dts - added[place]) * file.tick
            if step > 1.5 / file.rate:
                return True
    return False


def _clock_of(file: _File, kind: str, numbers: list[int | None]) -> Float64[np.ndarray, " n"]:
    """Seconds at which frames are shown that are of those packets, in the decoder's order."""
    if kind == "avi":
        return _avi_clock(file, numbers)
    if kind in UNTIMED:
        return np.arange(len(numbers)) / file.rate
    added, seen = file.added, file.packets
    times = [
        None if number is None or seen[number].pts is None else seen[number].pts + added[number]
        for number in numbers
    ]
    return shown_at([None if time is None else time * file.tick for time in times], file.rate)


def _avi_clock(file: _File, numbers: list[int | None]) -> Float64[np.ndarray, " n"]:
    """AVI stores no times but places, some of which may hold no frame: at a fixed rate, with those
    left out.
    """
    shown = sorted({number for number in numbers if number is not None})
    times = [time for number in shown if (time := file.packets[number].dts) is not None]
    if times and not file.damage and len(times) == len(numbers):
        # a frame is shown when it is decoded, or one step later if others may overtake it
        times = times[file.delay :] + [times[-1] + 1] * file.delay
        if (np.diff(times) > 0).all():
            return np.array(times) * file.tick
    return np.arange(len(numbers)) / file.rate


def _raw_index(path: Path, raw: RawFormat) -> Index:
    """The N whole frames that a raw file has room for; FFmpeg's time of a frame is its number."""
    with open_container(path, raw) as (container, stream):
        packet = next(packets(container, stream), None)
        if packet is None:
            raise VideoError("holds no frames", "decode")
        frame_bytes, first = packet.size, packet.decode()[0]
    length, rest = divmod(path.stat().st_size, frame_bytes)
    damage = f"{BROKEN_OFF}: {rest} bytes after its last whole frame" if rest else ""
    pts = np.arange(length, dtype=np.int64)
    return Index(pts, pts, pts / raw.fps, raw.fps, damage, first, "rawvideo", False, frame_bytes)
