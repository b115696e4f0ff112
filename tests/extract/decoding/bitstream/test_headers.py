"""Headers say of a packet when its picture is shown, or that this cannot be known without
decoding.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ffmpeg_program import ffmpeg
from benchmarks.odd_videos import CODECS, every_video, source
from vqa_twostage.extract.decoding.bitstream.headers import READERS, headers_of
from vqa_twostage.extract.decoding.bitstream.order import Order

pytest.importorskip("imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg")

MADE = {made.name: made for made in every_video()}


def orders(path: Path) -> tuple[list[Order | None], list[int], int, int]:
    """What headers say of each packet; the packets' times; by how many frames one may overtake
    others; how many frames the decoder shows.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        headers = headers_of(stream.codec_context.name, stream.codec_context.extradata or b"")
        assert headers is not None
        found, times, frames = [], [], 0
        for packet in container.demux(stream):
            if packet.size:
                found.append(headers.order_of(bytes(packet)))
                times.append(packet.pts)
            frames += len(packet.decode())
    return found, times, headers.reorder, frames


@pytest.mark.parametrize(
    "name",
    [
        *(f"{codec}.mp4" for codec in ("h264", "h264_baseline", "h264_pyramid", "hevc", "av1")),
        *("h264.ts", "h264_opengop.mp4", "hevc.ts", "vp8.webm", "vp9.webm", "ffv1.mkv"),
        *("mbaff.mp4", "mbaff.ts", "prores.mov", "vp9_hidden.webm"),
    ],
)
def test_order_of_packets_is_that_in_which_their_frames_are_shown(
    name: str, tmp_path: Path
) -> None:
    MADE[name].make(tmp_path / name)
    found, times, _, frames = orders(tmp_path / name)
    known = [order for order in found if order is not None]
    assert len(known) == len(found) == frames
    assert np.argsort(times).tolist() == sorted(range(len(known)), key=known.__getitem__)


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_headers_say_by_how_many_frames_one_may_overtake(
    codec: str, frames: int, tmp_path: Path
) -> None:
    options = {
        "h264": f"-c:v libx264 -bf {frames} -x264-params b-pyramid=none:b-adapt=0",
        "hevc": f"-c:v libx265 -x265-params log-level=error:bframes={frames}:b-adapt=0:b-pyramid=0",
    }
    ffmpeg(source(), options[codec], tmp_path / "clip.mp4")
    assert orders(tmp_path / "clip.mp4")[2] == min(1, frames)


@pytest.mark.parametrize(
    ("name", "shown"),
    [("paff_top.ts", 0), ("paff_bottom.mp4", 0), ("vp8_hidden.webm", 60), ("av1_split.ivf", 60)],
)
def test_fields_and_frames_that_are_never_shown_are_no_picture(
    name: str, shown: int, tmp_path: Path
) -> None:
    MADE[name].make(tmp_path / name)
    found = orders(tmp_path / name)[0]
    assert sum(order is not None for order in found) == shown < len(found)


def test_hidden_frame_that_shares_a_packet_is_known_by_itself(tmp_path: Path) -> None:
    MADE["vp9_hidden.webm"].make(tmp_path / "clip.webm")
    headers = headers_of("vp9", b"")
    assert headers is not None
    with av.open(str(tmp_path / "clip.webm")) as container:
        divide = BitStreamFilterContext("vp9_superframe_split", container.streams.video[0])
        parts = [
            bytes(part)
            for packet in container.demux(video=0)
            for part in divide.filter(packet if packet.size else None)
        ]
    shown = [headers.order_of(part) is not None for part in parts]
    assert shown.count(True) == 60 and shown.count(False) > 0


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_message_without_a_picture_is_none(codec: str, tmp_path: Path) -> None:
    message = {"h264": b"\x06\x05\x01\x00\x80", "hevc": b"\x4e\x01\x05\x01\x00\x80"}[codec]
    headers = headers_of(codec, b"")
    assert headers is not None and headers.order_of(b"\x00\x00\x01" + message) is None


def test_two_pictures_in_a_packet_are_not_one(tmp_path: Path) -> None:
    ffmpeg(source(), CODECS["h264_baseline"][0], tmp_path / "clip.h264")
    with av.open(str(tmp_path / "clip.h264")) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    headers = headers_of("h264", b"")
    assert headers is not None
    assert headers.order_of(packets[0]) is not None
    assert headers.order_of(packets[1] + packets[2]) is None


def test_codec_that_is_not_read_has_no_headers() -> None:
    assert headers_of("wmv2", b"") is None


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=80), st.lists(st.binary(max_size=200)))
def test_any_bytes_are_read_without_an_error(
    codec: str, extradata: bytes, packets: list[bytes]
) -> None:
    headers = headers_of(codec, extradata)
    assert headers is not None
    for packet in packets:
        headers.order_of(b"\x00\x00\x01" + packet)
    assert headers.reorder >= 0
