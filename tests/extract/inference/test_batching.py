"""Batches over videos give every video the features of its own frames, whatever fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from vqa_twostage.extract.decoding.workers import (
    DecodedStream,
    DecodeRequest,
    DecodeSummary,
    Source,
    VideoHeader,
)
from vqa_twostage.extract.extractor import Extractor, View, each_frame
from vqa_twostage.extract.inference import engine
from vqa_twostage.extract.inference.batching import TrackBatcher, VideoInFlight
from vqa_twostage.extract.inference.engine import (
    ExtractedVideo,
    FailedVideo,
    LocalEngine,
    PendingVideo,
)
from vqa_twostage.extract.inference.resizing import Resizer
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.inference.units import UnitLayout
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import VideoError

SomeFrames = tuple[Int64[np.ndarray, " k"], UInt8[np.ndarray, "k H W 3"]]
SIDE = 32
PLAIN = Preprocessing(SIDE, "bilinear", (0.0,) * 3, (1.0,) * 3)
VIEW = View("crop", 0, ())
CPU = Runtime("torch", torch.device("cpu"), "fp32")
SPATIAL = TrackPath(Path("cache"), "mos", "uniform", "spatial")
TEMPORAL = TrackPath(Path("cache"), "mos", "uniform", "temporal")


def header(frames: list[int]) -> VideoHeader:
    index = np.array(frames)[:, None]
    distinct = np.unique(index)
    source = Source(1, 2, "digest")
    return VideoHeader(index, distinct, distinct / 10, source, SIDE, SIDE, 10.0, 100)


def pixels(numbers: list[int]) -> np.ndarray:
    """Frames whose values are all equal to their number."""
    return np.repeat(np.array(numbers, np.uint8), SIDE * SIDE * 3).reshape(-1, SIDE, SIDE, 3)


def batcher(unit_frames: int, batch_frames: int, view: View = VIEW) -> TrackBatcher:
    """A batcher whose network returns each frame unchanged."""

    def maps(frames: Tensor) -> dict[str, Tensor]:
        return {"last": frames}

    extractor = Extractor(nn.Identity(), each_frame(maps), PLAIN, "", unit_frames)
    return TrackBatcher(extractor, view, CPU, batch_frames)


def values(video: ExtractedVideo, track: TrackPath) -> list[int]:
    """The frame numbers that the network received, row by row."""
    return [round(255 * row) for row in video.features[track].arrays["last/mean"][:, 0].tolist()]


class Stream(DecodedStream):
    """A decoder's output, two frames at a time; it fails after ``fails_after`` frames."""

    def __init__(self, frames: list[int], fails_after: int = 1000) -> None:
        self.id, self.header, self.fails_after = "", header(frames), fails_after

    def open(self) -> tuple[VideoHeader, Iterator[SomeFrames]]:
        return self.header, self.some_frames()

    def some_frames(self) -> Iterator[SomeFrames]:
        distinct = self.header.distinct
        for start in range(0, len(distinct), 2):
            if start >= self.fails_after:
                raise VideoError("broken")
            numbers = distinct[start : start + 2]
            yield numbers, pixels(numbers.tolist())

    def summary(self) -> DecodeSummary:
        return DecodeSummary("pyav", 0.5)


def extract(
    monkeypatch: pytest.MonkeyPatch,
    streams: dict[str, Stream],
    batchers: dict[TrackPath, TrackBatcher],
    missing_tracks: dict[str, tuple[TrackPath, ...]] | None = None,
) -> list[ExtractedVideo | FailedVideo]:
    def decode_videos(videos: list, *_: object) -> Iterator[Stream]:
        yield from (streams[video_id] for video_id, _ in videos)

    monkeypatch.setattr(engine, "decode_videos", decode_videos)
    pending = [
        PendingVideo(name, Path(name), (missing_tracks or {}).get(name, tuple(batchers)))
        for name in streams
    ]
    request = DecodeRequest("uniform", "auto")
    return list(LocalEngine(batchers, request, 1, PhaseTimes()).extract(pending))


@pytest.mark.parametrize("batch_frames", [1, 2, 3, 7, 100])
def test_batches_of_any_size_give_every_video_its_own_frames(
    batch_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = {"a": Stream([1, 2, 3, 4, 5]), "b": Stream([9]), "c": Stream([6, 6, 7, 8])}
    batchers = {SPATIAL: batcher(1, batch_frames), TEMPORAL: batcher(2, batch_frames)}
    results = {video.id: video for video in extract(monkeypatch, streams, batchers)}
    assert results.keys() == streams.keys()
    for name, frames in {"a": [1, 2, 3, 4, 5], "b": [9], "c": [6, 6, 7, 8]}.items():
        video = results[name]
        assert isinstance(video, ExtractedVideo)
        for track in batchers:
            assert values(video, track) == frames
            assert video.features[track].frame_index.tolist() == frames
            assert np.allclose(video.features[track].timestamp, np.array(frames) / 10)
        assert video.features[SPATIAL].attributes.runtime == "torch"
        assert video.features[SPATIAL].attributes.seconds == 0.5
    assert results["c"].frames == 3  # type: ignore[union-attr]  # distinct frames


def test_failing_video_does_not_affect_others_of_its_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = {"a": Stream([1, 2, 3]), "bad": Stream([4, 5, 6, 7], fails_after=2), "c": Stream([8])}
    first, second, third = extract(monkeypatch, streams, {SPATIAL: batcher(1, 5)})
    assert isinstance(first, FailedVideo) and (first.id, str(first.error)) == ("bad", "broken")
    assert isinstance(second, ExtractedVideo) and values(second, SPATIAL) == [1, 2, 3]
    assert isinstance(third, ExtractedVideo) and values(third, SPATIAL) == [8]


def test_video_is_returned_as_soon_as_its_missing_tracks_are_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streams = {"a": Stream([1, 2]), "b": Stream([3, 4])}
    batchers = {SPATIAL: batcher(1, 2), TEMPORAL: batcher(2, 100)}
    results = extract(monkeypatch, streams, batchers, {"b": (SPATIAL,)})
    assert [video.id for video in results] == ["b", "a"]
    assert isinstance(results[0], ExtractedVideo) and set(results[0].features) == {SPATIAL}


def test_frames_are_released_when_no_unit_needs_them() -> None:
    layouts = {
        SPATIAL: UnitLayout(1, of_clips=False, preprocessings=(PLAIN,)),
        TEMPORAL: UnitLayout(2, of_clips=False, preprocessings=(PLAIN,)),
    }
    video = VideoInFlight("a", header([1, 2, 3]), layouts)
    resizer = Resizer(header([1, 2, 3]), layouts.values())
    buffered = video._frames[PLAIN.geometry]
    for number, expected in [(1, {1}), (2, set()), (3, set())]:
        video.receive(resizer.resize(np.array([number]), pixels([number])))
        units = list(video.ready_units())
        assert set(buffered) == expected
    # the last unit of two frames is padded with the last frame
    assert [(unit.track, unit.number, len(unit.frames[0])) for unit in units] == [
        (SPATIAL, 2, 1),
        (TEMPORAL, 1, 2),
    ]


def test_residuals_go_to_the_rows_of_their_sampled_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames are as bright as their number is: each differs from the next by one, and of the last
    frame of the video, 99, the neighbour is the one before.
    """
    stream = Stream([1, 2, 5, 99])
    sampled = stream.header
    distinct = np.array([1, 2, 3, 5, 6, 98, 99])
    stream.header = replace(sampled, distinct=distinct, timestamp=distinct / 10)
    batchers = {
        SPATIAL: batcher(1, 3),
        TEMPORAL: batcher(2, 4, replace(VIEW, of="residual")),
    }
    (video,) = extract(monkeypatch, {"a": stream}, batchers)
    assert isinstance(video, ExtractedVideo)
    assert values(video, SPATIAL) == [1, 2, 5, 99] and values(video, TEMPORAL) == [1, 1, 1, 1]
    for track in batchers:
        assert video.features[track].frame_index.tolist() == [1, 2, 5, 99]
        assert np.allclose(video.features[track].timestamp, [0.1, 0.2, 0.5, 9.9])
    assert video.frames == 7


def test_views_of_one_size_do_not_share_their_frames() -> None:
    views = [VIEW, View("fragments", 0, ()), View("fragments", 0, (), seed=1)]
    layouts = {
        TrackPath(Path("cache"), "mos", "uniform", str(number)): UnitLayout(
            1, of_clips=False, preprocessings=(view.applied_to(PLAIN),)
        )
        for number, view in enumerate(views)
    }
    video = VideoInFlight("a", header([1]), layouts)
    noise = np.random.default_rng(0).integers(0, 256, (1, 100, 90, 3)).astype(np.uint8)
    video.receive(Resizer(header([1]), layouts.values()).resize(np.array([1]), noise))
    seen = [unit.frames[0][0] for unit in video.ready_units()]
    assert len(seen) == 3
    assert not any(torch.equal(seen[one], seen[two]) for one, two in [(0, 1), (0, 2), (1, 2)])


def test_draws_of_a_frame_are_rows_below_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames as bright as their number, so that each draw of one gives the same; in units of two
    frames, and in two resolutions, which stand side by side.
    """
    view = View("fragments", 0, (32, 64), crops=3)
    batchers = {SPATIAL: batcher(1, 2, view), TEMPORAL: batcher(2, 4, view)}
    (video,) = extract(monkeypatch, {"a": Stream([1, 2, 5])}, batchers)
    assert isinstance(video, ExtractedVideo)
    for track in batchers:
        assert values(video, track) == [1, 1, 1, 2, 2, 2, 5, 5, 5]
        features = video.features[track]
        assert features.arrays["last/mean"].shape == (9, 6)
        assert features.frame_index.tolist() == [1, 1, 1, 2, 2, 2, 5, 5, 5]
        assert np.allclose(features.timestamp, np.repeat([0.1, 0.2, 0.5], 3))
        assert features.attributes.repeated == 0


def test_draws_are_numbered_and_a_network_is_loaded_once_for_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = []

    def load(self: Runtime, *arguments: object) -> tuple[str, None]:
        loaded.append(arguments[1])
        return "torch", None

    monkeypatch.setattr(Runtime, "load", load)
    layout = batcher(1, 4, View("fragments", 0, (32, 64), crops=2)).layout
    numbered = [(item.draw, item.size) for item in layout.preprocessings]
    assert numbered == [(0, 32), (0, 64), (1, 32), (1, 64)]
    assert [item.size for item in loaded] == [32, 64]


@pytest.mark.parametrize(
    ("rows_per_unit", "expected"), [(4, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4]), (1, [0, 4])]
)
def test_rows_of_features_have_the_index_of_their_first_frame(
    rows_per_unit: int, expected: list[int]
) -> None:
    layout = UnitLayout(4, of_clips=False, preprocessings=(PLAIN,))
    assert layout.units(header([0, 1, 2, 3, 4, 5])).tolist() == [[0, 1, 2, 3], [4, 5, 5, 5]]
    assert layout.rows(header([0, 1, 2, 3, 4, 5]), rows_per_unit).tolist() == expected
    with pytest.raises(ValueError, match="3 rows for 4 frames of a unit"):
        layout.rows(header([0, 1, 2, 3]), 3)


def test_times_of_a_phase_are_added_even_if_the_phase_fails() -> None:
    times = PhaseTimes()
    times.add("decode", 1.25)
    times.add("decode", 0.5)
    with pytest.raises(KeyError), times.measure("write"):
        raise KeyError
    assert times.to_json() == {"decode": 1.75, "write": 0.0}


def test_features_say_what_ran_the_network_where_openvino_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network whose way depends on its input, which is not seen when it is converted."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")

    def maps(frames: Tensor) -> dict[str, Tensor]:
        return {"last": frames if float(frames.sum()) >= 0 else -frames}

    extractor = Extractor(nn.Identity(), each_frame(maps), PLAIN, "", 1)
    with pytest.warns(UserWarning, match="torch runs a network that OpenVINO cannot"):
        fallen_back = TrackBatcher(extractor, VIEW, replace(CPU, name="openvino"), 2)
    (video,) = extract(monkeypatch, {"a": Stream([1, 2, 3])}, {SPATIAL: fallen_back})
    assert isinstance(video, ExtractedVideo) and values(video, SPATIAL) == [1, 2, 3]
    assert video.features[SPATIAL].attributes.runtime == "torch"
