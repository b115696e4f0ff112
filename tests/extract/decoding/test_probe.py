"""Unusable files of a dataset are listed with the reason, even if a decoder hangs or crashes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vqa_twostage.extract.decoding import containers, probe
from vqa_twostage.extract.decoding.containers import check_video
from vqa_twostage.extract.decoding.probe import probe_all
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.limits import Limits
from vqa_twostage.pipeline.raw_format import RawFormat


@pytest.fixture
def videos(clips: Path) -> list[tuple[str, Path]]:
    return [(path.stem, path) for path in sorted(clips.glob("*.mp4"))]


def test_probe_lists_unusable_files_in_the_order_of_the_videos(clips: Path, tmp_path: Path) -> None:
    intact = clips / "testsrc.mp4"
    data = intact.read_bytes()
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("Dear reader,\nthis is not a video.\n")
    (tmp_path / "cut.mp4").write_bytes(
        data[:400]
    )  # cut before the index, which is at the end of the file
    (tmp_path / "whole.yuv").write_bytes(bytes(2 * 16 * 16 * 3 // 2))
    (tmp_path / "short.yuv").write_bytes(bytes(100))
    names = ["cut.mp4", "text.mp4", "short.yuv", "missing.mp4", "whole.yuv", "empty.mp4"]
    progress: list[tuple[int, int]] = []
    reasons = probe_all(
        [("good", intact), *((name, tmp_path / name) for name in names)],
        RawFormat(16, 16, "yuv420p", 30.0),
        workers=2,
        on_progress=lambda done, total: progress.append((done, total)),
    )
    assert list(reasons.items()) == [
        ("cut.mp4", "could not be decoded: its header or index is damaged or cut off"),
        ("text.mp4", "not a video: starts as text"),
        ("short.yuv", "holds no frames"),
        ("missing.mp4", "file is missing"),
        ("empty.mp4", "file is empty"),
    ]
    assert progress == [(done, 7) for done in range(1, 8)]


def test_probe_of_no_videos_lists_none() -> None:
    assert probe_all([], None) == {}


def test_check_decodes_only_the_beginning_of_a_file(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    packets = containers.packets

    def counted_packets(container: Any, stream: Any) -> Iterator[Any]:
        for packet in packets(container, stream):
            sizes.append(packet.size)
            yield packet

    monkeypatch.setattr(containers, "packets", counted_packets)
    check_video(clips / "testsrc.mp4")
    assert 0 < len(sizes) < 6  # of twelve packets, those that the first displayed frame needs


def misbehave(path: Path, raw: RawFormat | None, limits: Limits) -> None:
    """Like `check_video`, but for some files the decoder hangs in native code, crashes, or raises
    an unexpected error.
    """
    if path.stem == "mandelbrot":
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock
    if path.stem == "smptebars":
        os._exit(7)
    if path.stem == "testsrc2":
        raise MemoryError("a frame of 10 terabytes")
    check_video(path, raw, limits)


@pytest.mark.long
def test_decoder_that_hangs_or_crashes_affects_only_its_file(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "check_video", misbehave)
    monkeypatch.setattr(probe, "TIMEOUT_S", 2.0)
    assert probe_all(videos, None, workers=1) == {
        "mandelbrot": "the decoder hung: stopped after 2 s",
        "smptebars": "the decoder crashed (exit code 7)",
        "testsrc2": "the decoder failed (MemoryError: a frame of 10 terabytes)",
    }


def test_ctrl_c_does_not_wait_for_a_hung_decoder(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "check_video", misbehave)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        probe_all(videos, None, workers=2, on_progress=interrupt)
    assert time.monotonic() - start < 60  # the timeout of a decoder is 120 s


def report_torch(path: Path, raw: RawFormat | None, limits: Limits) -> None:
    check_video(path, raw, limits)
    raise VideoError(f"torch is {'' if 'torch' in sys.modules else 'not '}here")


def test_workers_do_not_import_torch(
    videos: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "check_video", report_torch)
    assert probe_all(videos[:1], None) == {videos[0][0]: "torch is not here"}


def test_import_loads_neither_torch_nor_a_decoder() -> None:
    code = (
        "import sys, vqa_twostage.extract.decoding.probe; "
        "print({'torch', 'av', 'decord'} & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert process.stdout.strip() == "set()"
