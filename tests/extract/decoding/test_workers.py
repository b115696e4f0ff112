"""Frames arrive complete and in order from decoding processes, and no file stops a run."""

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
    """The frames of every video by number, or the reason of its failure."""
    frames_or_reason: dict[str, dict[int, np.ndarray] | str] = {}
    for stream in decode_videos(videos, REQUEST, workers=2):
        try:
            _, some_frames = stream.open()
            frames = {}
            for numbers, pixels in some_frames:
                frames |= {
                    int(number): image.copy() for number, image in zip(numbers, pixels, strict=True)
                }
            stream.summary()
            frames_or_reason[stream.id] = frames
        except VideoError as error:
            frames_or_reason[stream.id] = str(error)
    return frames_or_reason


@pytest.mark.parametrize("room", [256 << 20, 1], ids=["all frames fit", "two frames at a time"])
def test_frames_arrive_complete_and_in_the_order_of_the_videos(
    videos: list[tuple[str, Path]], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "RINGS_BYTES", room)
    results = outcomes(videos)
    assert list(results) == [name for name, _ in videos]
    for name, path in videos:
        with open_video(path, "pyav") as video:
            expected = read(video, range(len(video))).pixels
        frames = results[name]
        assert isinstance(frames, dict) and sorted(frames) == [1, 3, 6, 8, 10]
        for number, image in frames.items():
            assert (image == expected[number]).all()


def hang(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """Like `decode_into`, but one video hangs in native code, as decord does: only killing the
    process ends it.
    """
    if name == "mandelbrot":
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock
    return decode_into(buffer, room, name, path, request)


def crash(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """Like `decode_into`, but the decoder of one video crashes at once, and that of another after
    its last frame.
    """
    if name == "mandelbrot":
        os.abort()
    summary = decode_into(buffer, room, name, path, request)
    if name == "smptebars":
        os._exit(7)
    return summary


def test_hung_decoder_affects_only_its_video(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", hang)
    monkeypatch.setattr(workers, "TIMEOUT_S", 4.0)  # long enough for a process to start
    start = time.monotonic()
    results = outcomes(videos)
    assert time.monotonic() - start < 60
    assert results["mandelbrot"] == "the decoder hung: stopped after 4 s"
    assert [name for name, frames in results.items() if isinstance(frames, dict)] == [
        name for name, _ in videos if name != "mandelbrot"
    ]


def sample_slowly(
    buffer: str, room: int, name: str, path: Path, request: DecodeRequest
) -> DecodeSummary:
    """Like `decode_into`, but sampling takes longer than the timeout before the first frame."""
    control = ControlBlock(buffer)
    for _ in range(11):
        time.sleep(0.5)
        control.heartbeat()
    return decode_into(buffer, room, name, path, request)


def fail(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """Like `decode_into`, but one video raises an unexpected error."""
    if name == "mandelbrot":
        raise MemoryError("a frame of 10 terabytes")
    return decode_into(buffer, room, name, path, request)


@pytest.mark.long
def test_unexpected_error_affects_only_its_video(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", fail)
    results = outcomes([*videos, ("odd", Path("a\0b.mp4"))])
    failed = {name: reason for name, reason in results.items() if isinstance(reason, str)}
    assert failed["mandelbrot"] == "the decoder failed (MemoryError: a frame of 10 terabytes)"
    assert set(failed) == {"mandelbrot", "odd"}


def open_buffers() -> int:
    """The number of frame buffers that this process holds open, after garbage collection."""
    gc.collect()
    count = 0
    for handle in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the handle of the listing itself
            count += "vqa-frames" in os.readlink(f"/proc/self/fd/{handle}")
    return count


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted in /proc")
def test_killed_decoders_leak_no_shared_memory(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workers, "RINGS_BYTES", 1
    )  # two of five frames: every decoder blocks and is killed
    before, held = open_buffers(), []
    for stream in decode_videos(videos[:4], REQUEST, workers=1):
        stream.open()
        assert stream.stop()
        held.append(open_buffers())
    assert max(held) == held[0]  # two, and the mapping of the last video
    del stream
    assert open_buffers() <= before


@pytest.mark.long
def test_slow_sampler_with_heartbeats_is_not_stopped(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", sample_slowly)
    monkeypatch.setattr(
        workers, "TIMEOUT_S", 4.0
    )  # long enough for a process to start, and shorter than the sampling
    assert isinstance(next(iter(outcomes(videos[:1]).values())), dict)


def test_crashed_decoder_affects_only_its_video(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", crash)
    results = outcomes(videos)
    failed = {name: reason for name, reason in results.items() if isinstance(reason, str)}
    assert set(failed) == {"mandelbrot", "smptebars"}
    assert "the decoder crashed (exit code -6)" in failed["mandelbrot"]
    assert "the decoder crashed (exit code 7)" in failed["smptebars"]


def test_video_is_opened_and_decoded_once(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_neighbours_are_decoded_where_asked_for_and_change_nothing_else(clips: Path) -> None:
    """12 frames, of which five and then the last are sampled."""
    for sampler, index, distinct in [
        ("uniform:frames=5", [1, 3, 6, 8, 10], [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]),
        ("uniform:frames=12", list(range(12)), list(range(12))),
    ]:
        headers = {}
        for neighbours in (False, True):
            request = DecodeRequest(sampler, "pyav", neighbours=neighbours)
            for stream in decode_videos([("x", clips / "testsrc.mp4")], request, workers=1):
                headers[neighbours], frames = stream.open()
                numbers = np.concatenate([some for some, _ in frames])
                assert (numbers == headers[neighbours].distinct).all()
        plain, more = headers[False], headers[True]
        assert plain.index[:, 0].tolist() == more.index[:, 0].tolist() == index
        assert plain.distinct.tolist() == index and more.distinct.tolist() == distinct
        assert np.allclose(more.timestamp, np.array(distinct) / 12)
        assert more.repeated == plain.repeated == 0


@pytest.mark.parametrize(
    ("sampler", "told"),
    [("uniform:frames=12", ""), ("uniform:frames=13", "13"), ("fps:rate=60", "56")],
)
def test_sampler_that_asks_for_more_frames_than_there_are_is_told(
    sampler: str, told: str, clips: Path
) -> None:
    request, notes = DecodeRequest(sampler, "pyav"), []
    for stream in decode_videos([("x", clips / "testsrc.mp4")], request, workers=1):
        header, frames = stream.open()
        notes.append(header.note)
        assert sum(len(numbers) for numbers, _ in frames) == len(header.distinct)
    asks = f"has 12 frames, and the sampler {sampler} asks for {told}: some stand more than once"
    assert notes == [asks if told else ""]


def test_pipe_or_folder_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    results = outcomes(
        [("pipe", tmp_path / "pipe.mp4"), ("folder", tmp_path), ("none", tmp_path / "none.mp4")]
    )
    assert results == {
        "pipe": "not a regular file",
        "folder": "is a folder, not a video; make a lossless video of pictures in it first: ffmpeg "
        "-framerate 25 -i %05d.png -c:v ffv1 clip.mkv",
        "none": "file is missing",
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 5), st.lists(st.integers(1, 7), min_size=1))
def test_ring_buffer_returns_the_frames_in_order_for_any_reads(
    frames: int, room: int, reads: list[int]
) -> None:
    """One process is writer and reader: it writes while there is room, and reads some frames."""
    buffer = SharedBuffer()
    writer, reader = (Ring(ControlBlock(buffer.path), 2, 3, frames, room * 18) for _ in range(2))
    capacity = max(ring.LEAST_FRAMES, min(frames, room))
    written, received = 0, []
    while len(received) < frames:
        while written < frames and written - len(received) < capacity:
            writer.put(written * 10, np.full((2, 3, 3), written, np.uint8), alive=lambda: False)
            written += 1
        rows, pixels = reader.take()
        count = reads[len(received) % len(reads)]
        received += [
            (int(row), int(image[0, 0, 0]))
            for row, image in zip(rows[:count], pixels[:count], strict=True)
        ]
        reader.release(len(rows[:count]))
    assert received == [(frame * 10, frame) for frame in range(frames)]
    buffer.close()


def test_decoder_ends_when_its_run_has_ended() -> None:
    buffer = SharedBuffer()
    writer = Ring(ControlBlock(buffer.path), 1, 1, 2, 6)
    image = np.zeros((1, 1, 3), np.uint8)
    writer.put(0, image, alive=lambda: False)
    writer.put(1, image, alive=lambda: False)
    with pytest.raises(SystemExit):
        writer.put(2, image, alive=lambda: False)
    buffer.close()


def test_kind_of_a_failure_is_passed_between_processes(tmp_path: Path) -> None:
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
