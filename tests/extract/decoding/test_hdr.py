"""HDR video becomes SDR by the ITU's formulas, checked against their published values and the
ffmpeg program's zscale filter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_frames import read

from benchmarks.ffmpeg_program import ffmpeg
from vqa_twostage.extract.decoding.hdr import (
    HLG,
    PEAK,
    PQ,
    WHITE,
    compressed,
    light_of,
    pq_code,
    pq_light,
    to_sdr,
)
from vqa_twostage.extract.decoding.scan import scan
from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.pipeline.errors import UsageError, VideoError

pytest.importorskip("imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg")

NAMES = {PQ: "smpte2084", HLG: "arib-std-b67"}


def grey(code: float) -> np.ndarray:
    return np.full((1, 1, 3), round(65535 * code), np.uint16)


@pytest.mark.parametrize(
    # ITU-R BT.2408, table 1: white, a grey card of 18 %, and the peak
    ("transfer", "code", "light"),
    [(PQ, 0.58, 203), (PQ, 0.38, 26), (PQ, 0.75, 1000), (HLG, 0.75, 203), (HLG, 0.38, 26)],
)
def test_light_of_levels_is_that_of_bt_2408(transfer: int, code: float, light: float) -> None:
    assert light_of(grey(code), transfer)[0, 0, 0] == pytest.approx(light, rel=0.05)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_light_is_that_of_zscale(transfer: int) -> None:
    random = np.random.default_rng(0)
    rgb = random.integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    if transfer == HLG:  # of colours zscale takes each channel by itself, not as BT.2100
        rgb = np.repeat(rgb[..., :1], 3, axis=-1)
    graph = (
        f"setparams=color_primaries=bt2020:color_trc={NAMES[transfer]}:colorspace=gbr:range=pc,"
        "zscale=transfer=linear:npl=1000:primaries=bt2020:matrix=gbr,format=gbrpf32le"
    )
    planes = np.stack([rgb[..., 1], rgb[..., 2], rgb[..., 0]]).tobytes()
    raw = ffmpeg(
        "-f rawvideo -pixel_format gbrp16le -video_size 16x16 -i - -vf", graph, "-f rawvideo -",
        standard_input=planes,
    )  # fmt: skip
    green, blue, red = np.frombuffer(raw, np.float32).reshape(3, 16, 16) * 1000
    expected = np.stack([red, green, blue], axis=-1)
    assert np.allclose(light_of(rgb, transfer), expected, rtol=2e-3, atol=2e-2)


@settings(deadline=None)
@given(st.floats(0, 10000))
def test_pq_codes_and_reads_the_same_light(light: float) -> None:
    assert pq_light(pq_code(np.array([light])))[0] == pytest.approx(light, rel=1e-6, abs=1e-4)


def test_compression_keeps_darkness_rises_and_ends_at_white() -> None:
    light = np.linspace(0, PEAK, 2000)
    mapped = compressed(light)
    assert np.allclose(mapped[light < 40], light[light < 40], rtol=1e-6)
    assert (np.diff(mapped) >= 0).all() and (mapped <= light + 1e-6).all()
    assert mapped[-1] == pytest.approx(WHITE, rel=1e-6)
    assert compressed(np.array([4000.0]))[0] == pytest.approx(WHITE, rel=1e-6)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_grey_stays_grey_and_the_peak_is_white(transfer: int) -> None:
    codes = np.linspace(0, 65535, 200).astype(np.uint16)
    shown = to_sdr(np.repeat(codes[None, :, None], 3, axis=-1), transfer)[0].astype(int)
    assert np.ptp(shown, axis=-1).max() <= 1  # the matrix of BT.2087 is rounded
    assert (np.diff(shown[:, 0]) >= 0).all() and shown[0, 0] == 0 and shown[-1, 0] == 255


@pytest.fixture(scope="module", params=[PQ, HLG])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same light in HDR, as ffmpeg codes it."""
    path = tmp_path_factory.mktemp("hdr") / f"{NAMES[request.param]}.mp4"
    graph = (
        "testsrc2=s=96x64:r=25:d=0.4,format=gbrp,"
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc,"
        "zscale=npl=203:transfer=linear,format=gbrpf32le,"
        f"zscale=npl=203:primaries=bt2020:transfer={NAMES[request.param]}:matrix=bt2020nc:"
        "range=limited,format=yuv420p10le"
    )
    ffmpeg(
        "-f lavfi -i", graph, "-c:v libx265 -x265-params log-level=error -color_primaries bt2020",
        f"-color_trc {NAMES[request.param]} -colorspace bt2020nc", path,
    )  # fmt: skip
    return path


def test_hdr_is_tone_mapped_and_said(clip: Path) -> None:
    with open_video(clip) as video, open_video(clip, hdr="clip") as clipped:
        mapped, taken = read(video, [0, 5]).pixels, read(clipped, [0, 5]).pixels
        assert "is HDR" in video.note and "tone-mapped" in video.note
        assert "as if it were SDR" in clipped.note
    assert np.abs(mapped.astype(int) - taken).mean() > 5

    # what was SDR red before is red again, and not the paler red of the wide gamut
    def saturation(pixels: np.ndarray) -> float:
        return float(np.ptp(pixels.astype(int), axis=-1).mean())

    assert saturation(mapped) > saturation(taken)


def test_samplers_look_at_tone_mapped_frames_too(clip: Path) -> None:
    with open_video(clip) as video, open_video(clip, hdr="clip") as clipped:
        (_, mapped), (_, taken) = next(scan(video, 32)), next(scan(clipped, 32))
        assert not np.array_equal(mapped, taken)


def test_hdr_may_be_refused(clip: Path) -> None:
    with pytest.raises(VideoError, match="is HDR .*choose --hdr tonemap"):
        open_video(clip, hdr="refuse").__enter__()


def test_sdr_is_the_same_whatever_becomes_of_hdr(tmp_path: Path) -> None:
    ffmpeg("-f lavfi -i testsrc2=s=96x64:d=0.2 -c:v libx264", tmp_path / "sdr.mp4")
    frames = []
    for hdr in ("tonemap", "clip", "refuse"):
        with open_video(tmp_path / "sdr.mp4", hdr=hdr) as video:
            frames.append(read(video, range(len(video))).pixels)
            assert video.note == ""
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(frames[0], frames[2])


def test_unknown_treatment_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown hdr 'pq'; choose from tonemap, clip, refuse"):
        open_video(tmp_path / "any.mp4", hdr="pq").__enter__()
