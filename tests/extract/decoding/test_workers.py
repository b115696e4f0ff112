"""Frames on their way from decoding processes: none lost, none mixed up, and no file takes the run
down with it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_frames import read

from vqa_twostage.extract.decoding import ring, workers
from vqa_twostage.extract.decoding.ring import ControlBlock, Ring, SharedBuffer
from vqa_twostage.extract.decoding.video import Video, open_video
from vqa_twostage.extract.decoding.workers import (
    DecodeRequest,
    DecodeSummary,
    decode_into,
    decode_videos,
)
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.raw_format import RawFormat

REQUEST = DecodeRequest("uniform:frames=5", "pyav")


@pytest.fixture
def videos(clips: Path) -> list[tuple[str, Path]]:
    return [(path.stem, path) for path in sorted(clips.glob("*.mp4"))]


def outcomes(videos: list[tuple[str, Path]]) -> dict[str, dict[int, np.ndarray] | str]:
    """Every video's frames by number, or the reason why it has none."""
    found: dict[str, dict[int, np.ndarray] | str] = {}
    for stream in decode_videos(videos, REQUEST, workers=2):
        try:
            _, some_frames = stream.open()
            frames = {}
            for numbers, pixels in some_frames:
                frames |= {
                    int(number): image.copy() for number, image in zip(numbers, pixels, strict=True)
                }
            stream.summary()
            found[stream.id] = frames
        except VideoError as error:
            found[stream.id] = str(error)
    return found


@pytest.mark.parametrize("room", [256 << 20, 1], ids=["all frames fit", "two frames at a time"])
def test_frames_arrive_whole_and_in_the_order_of_the_videos(
    videos: list[tuple[str, Path]], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "RINGS_BYTES", room)
    found = outcomes(videos)
    assert list(found) == [name for name, _ in videos]
    for name, path in videos:
        with open_video(path, "pyav") as video:
            expected = read(video, range(len(video))).pixels
        frames = found[name]
        assert isinstance(frames, dict) and sorted(frames) == [1, 3, 6, 8, 10]
        for number, image in frames.items():
            assert (image == expected[number]).all()


def hang(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """As `decode_into`, but one video hangs in native code, as decord does: nothing but killing
    ends it.
    """
    if name == "mandelbrot":
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock
    return decode_into(buffer, room, name, path, request)


def crash(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """As `decode_into`, but one video's decoder dies at once, and another's after its frames are
    out.
    """
    if name == "mandelbrot":
        os.abort()
    summary = decode_into(buffer, room, name, path, request)
    if name == "smptebars":
        os._exit(7)
    return summary


@pytest.mark.slow
def test_a_decoder_that_hangs_costs_its_video_and_no_other(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", hang)
    monkeypatch.setattr(workers, "TIMEOUT_S", 4.0)  # long enough for a process to start
    start = time.monotonic()
    found = outcomes(videos)
    assert time.monotonic() - start < 60
    assert found["mandelbrot"] == "the decoder hung: stopped after 4 s"
    assert [name for name, frames in found.items() if isinstance(frames, dict)] == [
        name for name, _ in videos if name != "mandelbrot"
    ]


def look_long(
    buffer: str, room: int, name: str, path: Path, request: DecodeRequest
) -> DecodeSummary:
    """As `decode_into`, but it works for longer than a hung decoder is given before the first frame
    is out.
    """
    control = ControlBlock(buffer)
    for _ in range(11):
        time.sleep(0.5)
        control.heartbeat()
    return decode_into(buffer, room, name, path, request)


def fail(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """As `decode_into`, but something unforeseen happens to one file."""
    if name == "mandelbrot":
        raise MemoryError("a frame of 10 terabytes")
    return decode_into(buffer, room, name, path, request)


@pytest.mark.slow
def test_an_unforeseen_error_costs_its_video_and_no_other(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", fail)
    found = outcomes([*videos, ("odd", Path("a\0b.mp4"))])
    failed = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    assert failed["mandelbrot"] == "the decoder failed (MemoryError: a frame of 10 terabytes)"
    assert set(failed) == {"mandelbrot", "odd"}


def open_buffers() -> int:
    """How many files of frames this process holds open, once what nobody needs is gone."""
    gc.collect()
    found = 0
    for handle in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that lists them
            found += "vqa-frames" in os.readlink(f"/proc/self/fd/{handle}")
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_killed_decoders_leave_no_memory_behind(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workers, "RINGS_BYTES", 1
    )  # two frames of five: every decoder waits, and is killed
    before, held = open_buffers(), []
    for stream in decode_videos(videos[:4], REQUEST, workers=1):
        stream.open()
        assert stream.stop()
        held.append(open_buffers())
    assert max(held) == held[0]  # two, and what is mapped of the last video
    del stream
    assert open_buffers() <= before


@pytest.mark.slow
def test_a_sampler_that_looks_at_every_frame_is_not_taken_to_hang(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", look_long)
    monkeypatch.setattr(
        workers, "TIMEOUT_S", 4.0
    )  # long enough for a process to start, and shorter than it looks
    assert isinstance(next(iter(outcomes(videos[:1]).values())), dict)


@pytest.mark.slow
def test_a_decoder_that_crashes_costs_its_video_and_no_other(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", crash)
    found = outcomes(videos)
    failed = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    assert set(failed) == {"mandelbrot", "smptebars"}
    assert "the decoder crashed (exit code -6)" in failed["mandelbrot"]
    assert "the decoder crashed (exit code 7)" in failed["smptebars"]


def test_a_video_is_opened_and_decoded_once(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    real_open, real_stream = workers.open_video, Video.stream
    monkeypatch.setattr(
        workers, "open_video", lambda *a, **o: calls.update(["open"]) or real_open(*a, **o)
    )
    monkeypatch.setattr(Video, "stream", lambda *a: calls.update(["stream"]) or real_stream(*a))
    buffer = SharedBuffer()
    request = DecodeRequest("clips:frames=4,rate=4", "pyav")
    decode_into(buffer.path, 64 << 20, "x", clips / "testsrc.mp4", request)
    assert calls == {"open": 1, "stream": 1}
    buffer.close()


def test_a_pipe_or_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    found = outcomes(
        [("pipe", tmp_path / "pipe.mp4"), ("folder", tmp_path), ("none", tmp_path / "none.mp4")]
    )
    assert found == {
        "pipe": "not a regular file",
        "folder": "not a regular file",
        "none": "file is missing",
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 5), st.lists(st.integers(1, 7), min_size=1))
def test_a_ring_gives_what_was_put_in_whatever_the_turns(
    frames: int, room: int, turns: list[int]
) -> None:
    """One process in both roles: puts while there is room, takes some, to the end."""
    buffer = SharedBuffer()
    writer, taker = (Ring(ControlBlock(buffer.path), 2, 3, frames, room * 18) for _ in range(2))
    capacity = max(ring.LEAST_FRAMES, min(frames, room))
    put, taken = 0, []
    while len(taken) < frames:
        while put < frames and put - len(taken) < capacity:
            writer.put(put * 10, np.full((2, 3, 3), put, np.uint8), alive=lambda: False)
            put += 1
        rows, pixels = taker.take()
        some = turns[len(taken) % len(turns)]
        taken += [
            (int(row), int(image[0, 0, 0]))
            for row, image in zip(rows[:some], pixels[:some], strict=True)
        ]
        taker.release(len(rows[:some]))
    assert taken == [(frame * 10, frame) for frame in range(frames)]
    buffer.close()


def test_a_decoder_whose_run_is_gone_ends() -> None:
    buffer = SharedBuffer()
    writer = Ring(ControlBlock(buffer.path), 1, 1, 2, 6)
    image = np.zeros((1, 1, 3), np.uint8)
    writer.put(0, image, alive=lambda: False)
    writer.put(1, image, alive=lambda: False)
    with pytest.raises(SystemExit):
        writer.put(2, image, alive=lambda: False)
    buffer.close()


def test_the_kind_of_a_failure_survives_the_way_out_of_its_process(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("Dear workers,\nthis is not a video.\n")
    (tmp_path / "short.yuv").write_bytes(bytes(100))
    request = replace(REQUEST, raw=RawFormat(16, 16, "yuv420p", 30.0))
    kinds = {}
    names = ("text.mp4", "short.yuv", "missing.mp4")
    for stream in decode_videos([(name, tmp_path / name) for name in names], request, workers=1):
        with pytest.raises(VideoError) as failure:
            stream.open()
        kinds[stream.id] = failure.value.kind
    assert kinds == {"text.mp4": "unreadable", "short.yuv": "decode", "missing.mp4": "missing"}
