"""Raw video, whose size and format the dataset states, is decoded as by the ffmpeg program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8
from video_frames import PLAYLIST, ffmpeg, frames_of_ffmpeg, read

from vqa_twostage.extract.decoding import video as decode
from vqa_twostage.extract.decoding.containers import check_video
from vqa_twostage.extract.decoding.scan import scan
from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.results import Extraction, Failure
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import VideoError
from vqa_twostage.pipeline.raw_format import PIXEL_FORMATS, RawFormat

LENGTH = 12
RAW = RawFormat(64, 48, "yuv420p", 29.97)
FRAME_BYTES = 64 * 48 * 3 // 2


def write_raw(path: Path, raw: RawFormat = RAW) -> Path:
    """A raw file of twelve frames of a test pattern."""
    source = f"testsrc2=s=96x64,format=yuv444p,crop={raw.width}:{raw.height}:exact=1"
    ffmpeg(
        "-f lavfi -i", source, f"-frames:v {LENGTH} -pix_fmt {raw.pixel_format} -f rawvideo", path
    )
    return path


def expected(path: Path, raw: RawFormat = RAW) -> UInt8[np.ndarray, "frames height width 3"]:
    input_options = (
        f"-f rawvideo -video_size {raw.width}x{raw.height} -pixel_format {raw.pixel_format} -i"
    )
    pixels = ffmpeg(input_options, path, "-fps_mode passthrough -pix_fmt rgb24 -f rawvideo -")
    return np.frombuffer(pixels, np.uint8).reshape(-1, raw.height, raw.width, 3)


def read_bytes() -> int:
    """Bytes that this process has read so far, from the page cache or from disk."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("size", [(64, 48), (75, 51)], ids=["even", "odd"])
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_raw_video_gives_the_frames_of_ffmpeg(
    pixel_format: str, size: tuple[int, int], tmp_path: Path
) -> None:
    raw = RawFormat(*size, pixel_format, 30.0)
    path = write_raw(tmp_path / "clip.yuv", raw)
    with open_video(path, raw=raw) as video:
        frames = read(video, range(len(video)))
    assert len(video) == LENGTH and not video.damage and (video.width, video.height) == size
    assert np.array_equal(frames.pixels, expected(path, raw))


@pytest.mark.parametrize("name", ["clip.yuv", "CLIP.YUV", "clip.raw"])
def test_raw_files_are_recognised_by_extension_and_their_timestamps_by_the_frame_rate(
    name: str, tmp_path: Path
) -> None:
    path = write_raw(tmp_path / name)
    with open_video(path, raw=RAW) as video:
        frames = read(video, [7, 11, 0, 7])
    assert np.array_equal(frames.pixels, expected(path)[[7, 11, 0, 7]])
    assert np.array_equal(video.timestamps, np.arange(LENGTH) / 29.97) and video.fps == 29.97
    assert np.array_equal(frames.timestamp, np.array([7, 11, 0, 7]) / 29.97)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="what is read is counted in /proc")
@pytest.mark.parametrize("torn", [0, 1], ids=["whole", "broken off"])
def test_frames_of_a_large_raw_file_are_read_without_the_rest(torn: int, tmp_path: Path) -> None:
    raw = RawFormat(640, 480, "yuv420p", 30.0)
    frame_bytes = 640 * 480 * 3 // 2
    path = tmp_path / "clip.yuv"
    # a sparse file of 400 frames, one of which differs
    with path.open("wb") as file:
        file.seek(300 * frame_bytes)
        file.write(bytes([200]) * frame_bytes)
        file.truncate(400 * frame_bytes + torn)
    check_video(path, raw)  # so that the imports do not count
    before = read_bytes()
    with open_video(path, raw=raw) as video:
        pixels = read(video, [399, 300, 299, 301]).pixels
    assert read_bytes() - before < 12 * frame_bytes
    assert len(video) == 400
    assert [(image != pixels[0]).any() for image in pixels] == [False, True, False, False]


def test_raw_video_is_never_decoded_by_decord(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        decode, "_decord_reader", lambda path: pytest.fail("decord was asked to open raw video")
    )
    pytest.importorskip("decord", reason="decord is not installed")
    with open_video(write_raw(tmp_path / "clip.yuv"), "decord", raw=RAW) as video:
        assert video.decoder == "pyav" and read(video, [3]).pixels.shape == (1, 48, 64, 3)


# --- files that do not match their described format
# --------------------------------------------------------------------------------------------------


def test_truncated_raw_file_gives_its_whole_frames_and_reports_the_damage(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "clip.yuv")
    whole = expected(path)
    path.write_bytes(path.read_bytes()[: 10 * FRAME_BYTES + 1234])
    with open_video(path, raw=RAW) as video:
        assert video.damage == "the file breaks off: 1234 bytes after its last whole frame"
        assert np.array_equal(read(video, range(len(video))).pixels, whole[:10])
        assert [number for number, _ in scan(video, side=16)] == list(range(10))


@pytest.mark.parametrize(
    ("size", "reason"),
    [(0, "file is empty"), (1, "holds no frames"), (FRAME_BYTES - 1, "holds no frames")],
)
def test_raw_file_shorter_than_a_frame_is_refused(size: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.yuv"
    path.write_bytes(bytes(size))
    with pytest.raises(VideoError, match=reason), open_video(path, raw=RAW):
        pass
    with pytest.raises(VideoError, match=reason):
        check_video(path, RAW)


@pytest.mark.parametrize(
    "content", [bytes(5000), b"Aa" * 2500], ids=["black", "bytes that could be text"]
)
def test_raw_video_without_a_described_format_is_refused_with_the_next_step(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "clip.YUV"
    path.write_bytes(content)
    with pytest.raises(VideoError) as refusal, open_video(path):
        pass
    assert str(refusal.value) == (
        'raw video without a header: its dataset must say its size and format (raw = "1920x1080 '
        'yuv420p 30" in its '
        ".toml)"
    )


def test_container_in_a_dataset_of_raw_files_is_opened_as_usual(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    ffmpeg("-f lavfi -i testsrc2=s=96x64:r=25 -frames:v 5 -pix_fmt yuv420p", path)
    with open_video(path, raw=RAW) as video:
        assert np.array_equal(read(video, range(len(video))).pixels, frames_of_ffmpeg(path, 96, 64))
        assert video.fps == pytest.approx(25)
    path.write_bytes(PLAYLIST)
    with pytest.raises(VideoError, match="starts as text"), open_video(path, raw=RAW):
        pass


# --- stage one
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["content", "motion"])
def test_samplers_choose_the_same_frames_of_a_raw_file_and_a_container(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "clip.yuv"
    ffmpeg("-f lavfi -i mandelbrot=s=64x48:r=30 -frames:v 40 -pix_fmt yuv420p -f rawvideo", path)
    ffmpeg(
        "-f rawvideo -video_size 64x48 -framerate 30 -i", path, "-c:v ffv1", tmp_path / "clip.mkv"
    )
    sampler = spec.resolve("extract.samplers", f"{name}:frames=5").build()
    with (
        open_video(path, raw=replace(RAW, fps=30.0)) as video,
        open_video(tmp_path / "clip.mkv") as container,
    ):
        assert sampler(video).tolist() == sampler(container).tolist()


def extract(folder: Path, cache: Path, raw: RawFormat | None) -> Extraction:
    manifest = replace(load_manifest(str(folder / "mos.csv")), raw=raw)
    options = ExtractOptions(spatial="efficientnet_lite0", temporal=(), sampler="uniform:frames=4")
    return extract_dataset(manifest, cache, options)


def test_identity_of_a_track_of_raw_files_holds_their_format(
    tmp_path: Path,
) -> None:
    write_raw(tmp_path / "raw.yuv")
    ffmpeg("-f lavfi -i testsrc2=s=96x64:r=25 -frames:v 5 -pix_fmt yuv420p", tmp_path / "box.mp4")
    (tmp_path / "mos.csv").write_text("id,path,mos\n0,raw.yuv,1\n1,box.mp4,2\n2,sub/none.yuv,3\n")
    outcome = extract(tmp_path, tmp_path / "cache", RAW)
    assert (outcome.done, outcome.damaged) == (2, ())
    assert outcome.failed == (Failure("2", "file is missing: sub/none.yuv", "missing"),)
    with cached.open_track(outcome.tracks[0]) as track:
        assert track.identity.raw == "64x48 yuv420p 29.97"
        video = track.read("0")
    attributes = video.attributes
    assert (attributes.width, attributes.height, attributes.frames) == (64, 48, LENGTH)
    assert np.array_equal(video.frame_index, [1, 4, 7, 10])
    assert np.allclose(video.timestamp, np.array([1, 4, 7, 10]) / 29.97)

    without_format = extract(tmp_path, tmp_path / "cache", None)
    assert (
        without_format.done == 1 and "raw video without a header" in without_format.failed[0].reason
    )
    with cached.open_track(without_format.tracks[0]) as other:
        assert other.identity == replace(track.identity, raw="")


def test_raw_files_read_in_another_format_become_another_track(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw.yuv")
    (tmp_path / "mos.csv").write_text("id,path,mos\n0,raw.yuv,1\n")
    tracks = {
        path
        for raw in (RAW, replace(RAW, pixel_format="nv12"))
        for path in extract(tmp_path, tmp_path / "cache", raw).tracks
    }
    assert len(tracks) == 2
