"""Samplers select the documented frames for even and uneven timestamps and for known videos."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from video_frames import ffmpeg, read

from vqa_twostage.extract.decoding.scan import describe, scan
from vqa_twostage.extract.decoding.video import Video, open_video
from vqa_twostage.extract.samplers.content import CANDIDATES, cover
from vqa_twostage.extract.samplers.motion import motion, strongest
from vqa_twostage.extract.testing import check_sampler
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError, VideoError

imageio_ffmpeg = pytest.importorskip(
    "imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg"
)

RATE = 25
H264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p"
NAMES = sorted(spec.available("extract.samplers"))
LOOKING = ("motion", "content")  # at the frames, and not only at the clock


def sampler(text: str) -> Any:
    return spec.resolve("extract.samplers", text).build()


def clocked(timestamps: Any) -> Any:
    """A video that has only timestamps, without frames."""
    times = np.array(timestamps, np.float64)
    return Clocked(times - times[0])


class Clocked(SimpleNamespace):
    def __init__(self, timestamps: np.ndarray) -> None:
        super().__init__(timestamps=timestamps, id="")

    def __len__(self) -> int:
        return len(self.timestamps)


def even(length: int, rate: float) -> Any:
    return clocked(np.arange(length) / rate)


Video.register(Clocked)  # the signatures ask for one, and are checked while tests run

lengths = st.integers(1, 400)
rates = st.sampled_from([0.2, 1.0, 2.0, 3.0, 7.5, 100.0]) | st.floats(0.1, 60)
gaps = st.lists(st.floats(0.002, 2.0), max_size=60)  # seconds between frames of a variable rate
clocks = st.one_of(
    st.builds(lambda length, rate: np.arange(length) / rate, lengths, st.floats(5, 240)),
    st.builds(lambda steps: np.cumsum([0.0, *steps]), gaps),
)


# --- what all of them promise ---


def test_there_are_five_samplers() -> None:
    assert {"uniform", "fps", "clips", "motion", "content"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sampler_keeps_its_contract(name: str) -> None:
    check_sampler(name)


@pytest.mark.parametrize(
    "wrong",
    [
        *(f"{name}:frames=0" for name in ("uniform", "clips", "motion", "content")),
        *(
            f"{name}:rate={rate}"
            for name in ("fps", "clips")
            for rate in ("0", "-1", "nan", "inf", "1e9")
        ),
        "clips:stride=0",
        f"content:frames={CANDIDATES}",
    ],
)
def test_invalid_option_is_refused_before_any_video_is_opened(wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong.partition(":")[0] + ": "):
        sampler(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_sampler_needs_no_torch_and_is_listed_without_opencv(name: str) -> None:
    code = (
        f"import sys, vqa_twostage.extract.samplers.{name}; "
        "print({'torch', 'cv2', 'av', 'decord'} & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert process.stdout.strip() == "set()"


# --- by the count, and by the clock ---


@settings(deadline=None)
@given(lengths, st.integers(1, 64))
def test_uniform_selects_the_centres_of_equal_windows(length: int, frames: int) -> None:
    numbers = sampler(f"uniform:frames={frames}")(even(length, RATE))
    assert len(numbers) == frames
    for place, number in enumerate(numbers.tolist()):
        centre = Fraction((2 * place + 1) * length, 2 * frames)
        assert number <= centre < number + 1
    # nothing is nearer to one end than to the other, to a frame
    assert abs(numbers[0] - (length - 1 - numbers[-1])) <= 1
    # a video shorter than that is taken in full
    assert len(set(numbers.tolist())) == min(length, frames)


@settings(deadline=None)
@given(clocks, rates)
def test_fps_selects_the_frame_displayed_at_every_moment(clock: np.ndarray, rate: float) -> None:
    numbers = sampler(f"fps:rate={rate}")(clocked(clock))
    times = np.arange(len(numbers)) / rate
    assert len(numbers) >= 1 and numbers[0] == (clock <= 1e-3).sum() - 1
    # it is there already, and no later one is; up to the millisecond that containers round to
    assert (clock[numbers] <= times + 1.001e-3).all()
    following = np.append(clock, np.inf)[numbers + 1]
    assert (following > times + 0.999e-3).all()
    # the last moment is the last that comes before the last frame goes on
    assert times[-1] <= clock[-1] + 1.001e-3 < times[-1] + 1 / rate + 2e-3


@pytest.mark.parametrize("rate", [24, 25, 30, 50, 60, 30000 / 1001, 24000 / 1001])
def test_fps_counts_started_seconds(rate: float) -> None:
    numbers = sampler("fps")(even(int(8 * rate), rate))
    assert len(numbers) == 8 and numbers[0] == 0
    assert np.array_equal(
        numbers, [np.flatnonzero(np.arange(600) / rate <= t + 1e-3)[-1] for t in range(8)]
    )


def test_fps_selects_by_timestamp_and_not_by_frame_number() -> None:
    # four frames in the first second, then one that stays for three, then many
    video = clocked([0, 0.25, 0.5, 0.75, 1.0, *np.arange(4, 5.5, 0.1)])
    assert sampler("fps")(video).tolist() == [0, 4, 4, 4, 5, 15]


def test_timestamps_rounded_to_milliseconds_give_the_same_frames() -> None:
    exact = np.arange(300) / 30
    for rate in (1, 2, 3, 6, 7.5, 15, 30):
        choose = sampler(f"fps:rate={rate}")
        for rounded in (
            exact.round(3),
            np.floor(exact * 1000) / 1000,
            np.ceil(exact * 1000) / 1000,
        ):
            assert np.array_equal(choose(clocked(rounded)), choose(clocked(exact)))


def test_invalid_timestamps_are_an_error_of_their_video() -> None:
    with pytest.raises(VideoError, match="lower rate"):
        sampler("fps")(clocked([0, 0.04, 2**33]))
    with pytest.raises(VideoError, match="lower rate"):
        sampler("clips:rate=1000")(clocked([0, 200]))


def test_clips_of_32_successive_frames_start_every_second() -> None:
    clips = sampler("clips")(even(240, 30))
    assert clips.shape == (8, 32)
    assert np.array_equal(clips[:7], np.arange(7)[:, None] * 30 + np.arange(32))
    # the last second has 30 frames, and the last of them stays
    assert clips[7].tolist() == [*range(210, 240), 239, 239]


@pytest.mark.long
@settings(deadline=None)
@given(clocks, rates, st.integers(1, 40), st.integers(1, 8))
def test_clips_start_at_the_frames_of_fps_and_continue_by_stride(
    clock: np.ndarray, rate: float, frames: int, stride: int
) -> None:
    clips = sampler(f"clips:frames={frames},rate={rate},stride={stride}")(clocked(clock))
    starts = sampler(f"fps:rate={rate}")(clocked(clock))
    assert clips.shape == (len(starts), frames)
    assert np.array_equal(clips[:, 0], starts)
    for clip in clips:
        assert clip.tolist() == [
            min(clip[0] + step * stride, len(clock) - 1) for step in range(frames)
        ]


# --- by what is seen: the choice ---


@settings(deadline=None)
@given(lengths, st.integers(1, 64))
def test_motion_of_a_constant_video_selects_the_centres_of_windows(
    length: int, frames: int
) -> None:
    expected = sampler(f"uniform:frames={frames}")(even(length, RATE))
    assert np.array_equal(strongest(np.zeros(length), frames), expected)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(1, 20))
def test_motion_selects_the_strongest_frame_of_each_window_nearest_to_its_centre(
    values: list[int], frames: int
) -> None:
    strength = np.array(values, float)
    chosen, length = strongest(strength, frames), len(values)
    centres = sampler(f"uniform:frames={frames}")(even(length, RATE))
    for place, (number, centre) in enumerate(zip(chosen, centres, strict=True)):
        start, end = place * length / frames, (place + 1) * length / frames
        window = [frame for frame in range(length) if start <= frame + 0.5 < end] or [centre]
        best = max(strength[window])
        assert number in window and strength[number] == best
        assert abs(number - centre) == min(
            abs(frame - centre) for frame in window if strength[frame] == best
        )
    assert (np.diff(chosen) >= 0).all()


descriptions = st.integers(0, 10_000).map(np.random.default_rng)


@settings(max_examples=50, deadline=None)
@given(descriptions, st.integers(1, 30), st.integers(1, 8))
def test_cover_selects_the_frame_of_greatest_gain(
    generator: np.random.Generator, count: int, most: int
) -> None:
    described = np.sqrt(generator.dirichlet(np.ones(6), count))
    time, weight = np.arange(count) / count, generator.uniform(0.1, 1, count)
    chosen = cover(described, time, weight, most)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, most)
    similar = described @ described.T - 0.05 * abs(time[:, None] - time)

    def stood_for(some: list[int]) -> float:
        return float(np.maximum(similar[some].max(axis=0), 0).sum()) if some else 0.0

    for step in range(len(chosen)):
        before = chosen[:step].tolist()
        gains = [
            (stood_for([*before, c]) - stood_for(before)) * weight[c]
            for c in range(count)
            if c not in before
        ]
        took = (stood_for([*before, int(chosen[step])]) - stood_for(before)) * weight[chosen[step]]
        assert took >= max(gains) - 1e-6


def test_cover_prefers_typical_frames_to_an_outlier() -> None:
    """Two scenes and one black frame: k-centres would select the black one as its second frame."""
    scenes = np.eye(3)[[0] * 20 + [2] + [1] * 20]
    chosen = cover(scenes, np.arange(41) / 41, np.ones(41), 2)
    assert sorted(chosen // 21) == [0, 1] and 20 not in chosen


@settings(max_examples=30, deadline=None)
@given(descriptions, st.integers(4, 64), st.integers(4, 64))
def test_similarity_is_highest_between_equal_frames(
    generator: np.random.Generator, height: int, width: int
) -> None:
    one, other = (generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
    assert describe(one) @ describe(one) == pytest.approx(1)
    assert 0 <= describe(one) @ describe(other) < 1 - 1e-6


# --- by what is seen: videos ---


def encoded(pixels: np.ndarray, path: Path) -> Path:
    """uint8 [N, H, W, 3] as a video."""
    _, height, width, _ = pixels.shape
    raw = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {RATE} -i -"
    ffmpeg(raw, H264, path, standard_input=pixels.tobytes())
    return path


def texture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """A picture of soft blobs, which flow can follow."""
    import cv2

    noise = (
        np.random.default_rng(seed).uniform(0, 255, (height // 8, width // 8, 3)).astype(np.float32)
    )
    return (
        cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        .clip(0, 255)
        .astype(np.uint8)
    )


BURSTS = (4, 27, 33, 58)  # frames of a video of 60 that jump by 6 pixels from the frame before
SHOTS = ("smptebars", "mandelbrot", "testsrc2", "rgbtestsrc")


PATTERN = "testsrc2=s=160x120"
# by file, what ffmpeg makes it of, without the path; bursts.mp4 is drawn here
MADE: dict[str, tuple[str | Path, ...]] = {
    "still.mp4": ("-f lavfi -i mandelbrot=s=160x120:r=25,loop=-1:1 -frames:v 50", H264),
    "one.mp4": (f"-f lavfi -i {PATTERN} -frames:v 1", H264),
    "three.mp4": (f"-f lavfi -i {PATTERN} -frames:v 3", H264),
    "tiny.mp4": ("-f lavfi -i testsrc2=s=16x8:r=25 -frames:v 20", H264),
    # more frames than there may be candidates
    "long.mp4": ("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 1100", H264),
    "turned.mp4": ("-display_rotation 90 -i", Path("bursts.mp4"), "-c copy"),
    # stores no times: its frames are counted
    "counted.avi": ("-i", Path("bursts.mp4"), "-c:v mpeg4 -bf 2 -q:v 2"),
    "whole.mkv": ("-i", Path("bursts.mp4"), "-c copy"),
    "intra.mp4": ("-i", Path("bursts.mp4"), "-c:v libx264 -g 1"),
    # the data of frames 25 to 29 destroyed inside a sound container
    "noise.mp4": (
        "-i",
        Path("intra.mp4"),
        r"-c copy -bsf:v noise=amount=gt(n\,24)*lt(n\,30)",
    ),
}


def bursts() -> np.ndarray:
    """[60, 120, 160, 3]: a picture that jumps at the frames `BURSTS`, and never stands still."""
    picture, at, pixels = texture(0, 120, 260), 0, []
    for number in range(60):
        at += 6 if number in BURSTS else number % 2
        pixels.append(picture[:, at : at + 160])
    return np.stack(pixels)


def shots() -> str:
    """The options of ffmpeg for four `SHOTS` of 5, 30, 5 and 40 frames."""
    parts = [
        f"{picture}=s=160x120:r=25,trim=end_frame={frames},setsar=1,format=yuv420p[s{number}]"
        for number, (picture, frames) in enumerate(zip(SHOTS, (5, 30, 5, 40), strict=True))
    ]
    return f"-f lavfi -i {';'.join(parts)};[s0][s1][s2][s3]concat=n=4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A test video by its name, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("videos")

    def of(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if name == "bursts.mp4":
            encoded(bursts(), path)
        elif name == "shots.mp4":
            ffmpeg(shots(), H264, path)
        elif name == "cut.mkv":
            data = of("whole.mkv").read_bytes()
            path.write_bytes(data[: len(data) * 3 // 4])
        else:
            words = [of(str(word)) if isinstance(word, Path) else word for word in MADE[name]]
            ffmpeg(*words, path)
        return path

    return of


def test_motion_selects_a_burst_in_every_window(made: Callable[[str], Path]) -> None:
    with open_video(made("bursts.mp4")) as video:
        assert sampler("motion:frames=4")(video).tolist() == list(BURSTS)
        frames = motion(video)
    # in pixels of the small frame, which has 96 lines of the 120
    assert frames[list(BURSTS)] == pytest.approx([6 * 96 / 120] * 4, rel=0.2)
    assert frames[0] == 0 and frames[6] < 1.5


@pytest.mark.parametrize("name", ["turned.mp4", "counted.avi"])
def test_motion_does_not_depend_on_rotation_or_container_timestamps(
    name: str, made: Callable[[str], Path]
) -> None:
    with open_video(made(name)) as video:
        assert sampler("motion:frames=4")(video).tolist() == list(BURSTS)


def test_motion_of_a_still_video_selects_the_frames_of_uniform(made: Callable[[str], Path]) -> None:
    with open_video(made("still.mp4")) as video:
        for frames in (1, 3, 8, 70):
            expected = sampler(f"uniform:frames={frames}")(video)
            assert np.array_equal(sampler(f"motion:frames={frames}")(video), expected)


def test_content_covers_a_still_video_evenly_in_time(made: Callable[[str], Path]) -> None:
    with open_video(made("still.mp4")) as video:
        numbers = sampler("content:frames=4")(video)
    assert len(set(numbers.tolist())) == 4
    assert np.diff([0, *numbers, 49]).max() <= 25


def test_content_selects_one_frame_of_each_of_four_shots(made: Callable[[str], Path]) -> None:
    with open_video(made("shots.mp4")) as video:
        assert len(video) == 80
        numbers = sampler("content:frames=4")(video)
        shots = np.searchsorted([5, 35, 40], numbers, side="right")
        assert shots.tolist() == [0, 1, 2, 3]
        # where uniform misses the short ones
        uniform = sampler("uniform:frames=4")(video)
        assert np.searchsorted([5, 35, 40], uniform, side="right").tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize("name", ["uniform", *LOOKING])
def test_short_video_repeats_its_frames(name: str, made: Callable[[str], Path]) -> None:
    with open_video(made("three.mp4")) as video:
        assert sampler(f"{name}:frames=3")(video).tolist() == [0, 1, 2]
        assert sampler(f"{name}:frames=6")(video).tolist() == [0, 0, 1, 1, 2, 2]
        assert sampler(f"{name}:frames=1")(video).tolist() == [1]
    with open_video(made("one.mp4")) as video:
        assert sampler(f"{name}:frames=5")(video).tolist() == [0] * 5


@pytest.mark.parametrize("name", LOOKING)
def test_selected_frames_do_not_depend_on_the_decoder(
    name: str, made: Callable[[str], Path]
) -> None:
    pytest.importorskip("decord", reason="decord is not installed")
    chosen = []
    for decoder in ("decord", "pyav"):
        with open_video(made("shots.mp4"), decoder) as video:
            assert video.decoder == decoder
            chosen.append(sampler(f"{name}:frames=7")(video))
            # and looking does not disturb reading
            assert read(video, chosen[-1]).index.tolist() == chosen[-1].tolist()
    assert np.array_equal(*chosen)


@pytest.mark.parametrize("name", ["uniform", *LOOKING])
def test_damaged_frames_are_not_selected(name: str, made: Callable[[str], Path]) -> None:
    with open_video(made("cut.mkv")) as video:
        assert 10 < len(video) < 60 and video.damage
        numbers = sampler(f"{name}:frames=4")(video)
        assert numbers.max() < len(video)
    if name in LOOKING:
        with open_video(made("noise.mp4")) as video:
            assert len(video) == 55 and video.damage
            numbers = sampler(f"{name}:frames=4")(video)
            assert len(read(video, numbers).index) == 4


@pytest.mark.parametrize("name", LOOKING)
def test_sampler_accepts_a_video_of_very_few_pixels(name: str, made: Callable[[str], Path]) -> None:
    with open_video(made("tiny.mp4")) as video:
        assert len(sampler(f"{name}:frames=4")(video)) == 4


# --- looking at every frame ---


@pytest.mark.parametrize("name", ["bursts.mp4", "turned.mp4", "counted.avi", "shots.mp4"])
def test_scan_gives_every_frame_downscaled_and_upright_with_its_number(
    name: str, made: Callable[[str], Path]
) -> None:
    import cv2

    with open_video(made(name)) as video:
        whole = read(video, range(len(video))).pixels
        small = dict(scan(video, 60))
        assert list(small) == list(range(len(video)))
        assert list(dict(scan(video, 60, every=7))) == list(range(0, len(video), 7))
        height, width = (60, 80) if video.height < video.width else (80, 60)
        for number, image in small.items():
            assert image.shape == (height, width, 3) and image.dtype == np.uint8
            expected = cv2.resize(whole[number], (width, height), interpolation=cv2.INTER_AREA)
            assert abs(image.mean(axis=-1) - expected.mean(axis=-1)).mean() < 5, (
                "alike but for the place of colours"
            )
        # a small video is not made larger
        assert next(iter(scan(video, 500)))[1].shape == whole.shape[1:]


def test_scan_keeps_no_frames_and_stops_with_its_iterator(made: Callable[[str], Path]) -> None:
    import tracemalloc

    def most(name: str) -> int:
        with open_video(made(name)) as video:
            gc.collect()
            tracemalloc.start()
            try:
                for number, _small in scan(video, 48):
                    assert number >= 0
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    # 1100 frames of 64 x 48 are 10 MB
    assert most("long.mp4") < 1_000_000

    folder = Path("/proc/self/fd")
    if folder.exists():
        with open_video(made("long.mp4")) as video:
            before = len(list(folder.iterdir()))
            frames: Iterator[Any] = scan(video, 48)
            next(frames)
            assert len(list(folder.iterdir())) == before + 1
            frames.close()  # type: ignore[attr-defined]
            assert len(list(folder.iterdir())) == before


def test_candidates_of_a_long_video_are_limited_in_number(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vqa_twostage.extract.samplers import content

    seen = 0

    def counted(small: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += 1
        return describe(small)

    monkeypatch.setattr(content, "describe", counted)
    with open_video(made("long.mp4")) as video:
        numbers = sampler("content:frames=8")(video)
    assert CANDIDATES // 2 < seen <= CANDIDATES
    assert (numbers % 3 == 0).all() and len(set(numbers.tolist())) == 8


# --- importance learnt by a run of stage two ---

HEADER = "id,timestamp,spatial,temporal,importance\n"


def run_of(folder: Path, rows: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attention.csv").write_text(HEADER + rows)
    return str(folder)


def test_importance_shifts_the_selection_towards_important_frames(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(
        Path("runs/late"),
        "clip 1,0.0,0,0,0.0\nclip 1,1.4,0,0,0.0\nclip 1,1.5,0,0,0.9\nclip 1,1.96,0,0,0.9\n",
    )
    run_of(Path("runs/even"), "clip 1,0.0,0,0,0.5\nclip 1,1.9,0,0,0.5\n")
    with open_video(made("still.mp4"), id="clip 1") as video:
        plain = sampler("content:frames=4")(video)
        late, even_ = (
            sampler("content:frames=4,importance=runs/late"),
            sampler("content:frames=4,importance=runs/even"),
        )
        assert (video.timestamps[late(video)] > 1.4).all()
        assert np.array_equal(even_(video), plain)
        assert late.importance(video)[[0, 35, 36, 49]] == pytest.approx([0, 0, 0.36, 0.9])
    assert sampler("content:frames=4").digest == ""
    assert late.digest != even_.digest and len(late.digest) == 16
    # the digest is of what is in the file, and not of where it lies
    run_of(Path("runs/copy"), Path("runs/late/attention.csv").read_text()[len(HEADER) :])
    assert sampler("content:importance=runs/copy").digest == late.digest


def test_video_missing_from_the_attention_table_is_an_error_of_that_video(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(Path("runs/one"), "007,0.0,1,1,1\n")
    choose = sampler("content:importance=runs/one")
    for unknown in ("7", ""):
        with (
            open_video(made("still.mp4"), id=unknown) as video,
            pytest.raises(VideoError, match=rf"runs/one.*'{unknown}'.*train"),
        ):
            choose(video)
    with open_video(made("still.mp4"), id="007") as video:
        assert len(choose(video)) == 8


def test_run_without_attention_is_refused_with_the_option_that_adds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/concat").mkdir(parents=True)
    for run in ("runs/concat", "runs/nowhere"):
        with pytest.raises(UsageError, match=rf"importance={run}.*--temporal-encoder attention"):
            sampler(f"content:importance={run}")


@pytest.mark.parametrize(
    "rows", ["a,soon,1,1,1\n", "a,0,1,1,nan\n", "a,0,1,1,-1\n", "a,0,1\n", "a\xff,0,1,1,\n"]
)
def test_damaged_attention_table_is_refused(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(Path("run"), rows)
    with pytest.raises(UsageError, match=r"importance=run.*damaged"):
        sampler("content:importance=run")
    Path("run/attention.csv").write_bytes(b"id,time\n\xff,1\n")
    with pytest.raises(UsageError, match=r"importance=run.*damaged"):
        sampler("content:importance=run")


@settings(deadline=None)
@given(st.integers(1, 12))
def test_importance_is_relative_to_its_maximum(scale: int) -> None:
    generator = np.random.default_rng(scale)
    described, weight = np.sqrt(generator.dirichlet(np.ones(6), 20)), generator.uniform(size=20)
    assume(weight.max() > 0)
    time = np.arange(20) / 20
    assert np.array_equal(
        cover(described, time, weight, 5), cover(described, time, weight * 2.0**scale, 5)
    )
