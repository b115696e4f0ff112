"""A video that exceeds a limit costs itself alone, and what decodes it reaches nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from video_frames import ffmpeg

from vqa_twostage.extract.decoding import workers
from vqa_twostage.extract.decoding.probe import probe_all
from vqa_twostage.extract.decoding.ring import ControlBlock, SharedBuffer, hold_open, occupied
from vqa_twostage.extract.decoding.workers import (
    DecodeRequest,
    DecodeSummary,
    decode_into,
    decode_videos,
)
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.confinement import not_offered, processor_time
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.limits import Limits
from vqa_twostage.pipeline.processes import start_processes

pytest.importorskip("imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg")

CONFINED = pytest.mark.skipif(bool(not_offered()), reason=f"not confined here: {not_offered()}")
REQUEST = DecodeRequest("uniform:frames=5", "pyav")


def reasons(videos: list[tuple[str, Path]], request: DecodeRequest) -> dict[str, str]:
    """Why each video cannot be used, and of what kind that is; "" for one that was decoded."""
    found = {}
    for stream in decode_videos(videos, request, workers=1):
        try:
            _, some = stream.open()
            for _ in some:
                pass
            stream.summary()
            found[stream.id] = ""
        except VideoError as error:
            found[stream.id] = f"{error.kind}: {error}"
    return found


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(pixels=12_000), "limit: a frame has 12288 pixels (128 x 96); the limit is 12000: "),
        (Limits(frames=11), "limit: has 12 frames; the limit is 11: raise it with --limits "),
        (Limits(duration=1.0), "limit: is 3 s long by its clock; the limit is 1 s: raise it "),
    ],
    ids=["pixels", "frames", "duration"],
)
def test_video_beyond_a_limit_fails_and_the_others_do_not(
    clips: Path, tmp_path: Path, limits: Limits, reason: str
) -> None:
    source = "-f lavfi -i testsrc2=s=64x48"
    ffmpeg(source + ":r=8 -frames:v 8 -pix_fmt yuv420p", tmp_path / "small.mp4")
    ffmpeg(source + ":r=4 -frames:v 11 -pix_fmt yuv420p", tmp_path / "slow.mp4")
    beyond = tmp_path / "slow.mp4" if limits.duration == 1.0 else clips / "testsrc.mp4"
    videos = [("beyond", beyond), ("small", tmp_path / "small.mp4")]
    found = reasons(videos, DecodeRequest("uniform:frames=5", "pyav", limits=limits))
    assert found["beyond"].startswith(reason)
    assert found["small"] == ""


def test_video_that_grows_beyond_the_limit_midway_fails_with_that_reason(tmp_path: Path) -> None:
    with (tmp_path / "grows.m1v").open("wb") as file:
        for size in ("64x48", "320x240"):
            encoded = (
                f"-f lavfi -i testsrc2=s={size}:r=25 -frames:v 5 -c:v mpeg1video -f mpeg1video -"
            )
            file.write(ffmpeg(encoded))
    request = DecodeRequest("uniform:frames=10", "pyav", limits=Limits(pixels=64 * 48))
    found = reasons([("grows", tmp_path / "grows.m1v")], request)["grows"]
    assert found.startswith("limit: a frame has 76800 pixels (320 x 240); the limit is 3072")


def test_check_of_a_dataset_keeps_the_limits_of_frames(clips: Path) -> None:
    videos = [("large", clips / "testsrc.mp4")]
    assert probe_all(videos, None, limits=Limits(pixels=12_288)) == {}
    found = probe_all(videos, None, limits=Limits(pixels=12_287))
    assert found["large"].startswith("a frame has 12288 pixels")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no limit of data")
def test_video_that_takes_too_much_memory_fails_and_the_next_does_not(
    clips: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    still = "-f lavfi -i color=s=8192x8192:r=1 -frames:v 2"
    ffmpeg(still, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -threads 1", large)
    videos = [("large", large), ("small", clips / "testsrc.mp4")]
    found = reasons(videos, DecodeRequest("uniform:frames=2", "pyav", limits=Limits(memory=0.5)))
    assert found == {
        "large": "limit: needs more memory than a decoding process gets, or is damaged; "
        "the limit is 0.5 GB: raise it with --limits memory=1",
        "small": "",
    }


def compute(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """Like `decode_into`, but of one video the frames never end, and each takes a while."""
    if name == "endless":
        control = ControlBlock(buffer)
        with processor_time(request.limits.seconds_for(1)):
            while True:
                control.heartbeat()
    return decode_into(buffer, room, name, path, request)


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of processor time")
def test_video_that_takes_too_much_processor_time_fails_and_the_next_does_not(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", compute)
    videos = [("endless", clips / "testsrc.mp4"), ("small", clips / "testsrc.mp4")]
    found = reasons(videos, DecodeRequest("uniform:frames=5", "pyav", limits=Limits(time=1.0)))
    assert found["endless"].startswith("limit: took more than 1 s of processor time to decode")
    assert found["endless"].endswith("raise it with --limits time=2")
    assert found["small"] == ""


# --- what decoding processes give up ---


def test_video_of_an_unknown_codec_is_refused(clips: Path, tmp_path: Path) -> None:
    unknown = (clips / "testsrc.mp4").read_bytes().replace(b"avc1", b"none")
    (tmp_path / "unknown.mp4").write_bytes(unknown)
    found = reasons([("unknown", tmp_path / "unknown.mp4")], REQUEST)
    assert found == {"unknown": "unreadable: its video has a codec that FFmpeg does not know"}


def reach(buffer: str, room: int, name: str, path: Path, request: DecodeRequest) -> DecodeSummary:
    """Like `decode_into`, but tells what it can open besides."""
    opened = []
    for other in ("/etc/passwd", f"/proc/{os.getppid()}/fd/1", buffer):
        try:
            with open(other, "rb"):
                opened.append(other)
        except OSError:
            continue
    try:
        with open(path, "ab"):
            opened.append(f"{path} to write")
    except OSError:
        pass
    decode_into(buffer, room, name, path, request)
    raise VideoError(f"decoded, and opened {opened}")


@CONFINED
def test_decoding_process_opens_videos_to_read_and_nothing_else(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "decode_into", reach)
    found = reasons([("clip", clips / "testsrc.mp4")], REQUEST)
    assert found == {"clip": "unreadable: decoded, and opened []"}


@CONFINED
def test_confined_process_uses_a_sampler_that_reads_a_file_elsewhere(
    clips: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    rows = [f"clip,{second / 12},1,1,{second}" for second in range(12)]
    table = "\n".join(["id,timestamp,spatial,temporal,importance", *rows])
    (run / "attention.csv").write_text(table)
    sampler = f"content:frames=3,importance={run}"
    digest = spec.resolve("extract.samplers", sampler).build().digest
    request = DecodeRequest(sampler, "pyav", sampler_digest=digest)
    assert reasons([("clip", clips / "testsrc.mp4")], request) == {"clip": ""}


def sleep_on(buffer: str) -> None:
    with occupied(buffer):
        ControlBlock(buffer).heartbeat()
        time.sleep(600)


def test_buffer_is_let_go_when_the_process_that_works_on_it_is_gone() -> None:
    with closing(SharedBuffer()) as buffer:
        assert buffer.is_let_go()
        control = ControlBlock(buffer.path)
        with start_processes(1, hold_open, ([buffer.path],)) as pool:
            future = pool.schedule(sleep_on, (buffer.path,))
            wait_until(lambda: control.progress > 0)
            assert not buffer.is_let_go()
            assert future.cancel()
            wait_until(buffer.is_let_go)


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)
