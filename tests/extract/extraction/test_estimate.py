"""An estimate rests on videos of all sizes, is right about these, and says how certain it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import called, document
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.extract.dry_run import dry_run
from vqa_twostage.extract.extraction import estimate
from vqa_twostage.extract.extraction.estimate import Machines, of_all_sizes, pace
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.datasets.loading import load_manifest

OPTIONS = ExtractOptions(spatial="efficientnet_lite0", temporal=(), sampler="uniform:frames=2")
WORDS = ("--spatial", "efficientnet_lite0", "--temporal", "tsm", "--sampler", "uniform:frames=2")


@settings(deadline=None)
@given(st.integers(1, 200), st.data())
def test_every_beginning_of_the_order_is_spread_over_all_sizes(
    count: int, data: st.DataObject
) -> None:
    places = data.draw(st.permutations(range(count)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "_size_of", lambda path: int(path.name))
        videos = [PendingVideo(str(place), Path(str(place)), ()) for place in places]
        sizes = [int(video.id) for video in of_all_sizes(videos)]
    assert sorted(sizes) == list(range(count))
    for some in range(1, count + 1):
        gaps = np.diff([-1, *sorted(sizes[:some]), count])
        assert gaps.max() <= 4 * max(1, count / some) + 1


@settings(deadline=None)
@given(
    st.floats(0.01, 10),
    st.floats(0, 30),
    st.integers(1, 16),
    st.integers(6, 12),
    st.integers(0, 15),
)
def test_rate_is_right_however_many_videos_a_batch_holds(
    seconds: float, start: float, batch: int, batches: int, cut: int
) -> None:
    """Videos of a batch are done at one moment, and trying may end in the middle of a batch."""
    done = [start + seconds * batch * (1 + number // batch) for number in range(batch * batches)]
    found = pace([start, *done[: len(done) - min(cut, batch - 1)]], 10_000)
    assert found.seconds == pytest.approx(seconds)
    assert found.error == pytest.approx(0, abs=1e-6 * seconds) or math.isinf(found.error)
    # the whole of an extraction that goes on like this
    whole = found.start + found.seconds * len(done)
    assert whole == pytest.approx(done[-1], abs=seconds * batch)


def test_interval_holds_the_true_rate_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        times = generator.gamma(2, 0.5, size=64)  # of mean 1, with a long tail
        found = pace([0.0, *np.cumsum(times)], 100_000)
        held += abs(found.seconds - 1) <= found.error
    assert 0.9 <= held / 400 <= 0.98


def test_slow_start_is_counted_once() -> None:
    found = pace([2.0, *(7.0 + number for number in range(40))], 1000)
    assert (found.seconds, found.start) == (pytest.approx(1), pytest.approx(6))


def test_one_video_gives_an_estimate_without_an_interval() -> None:
    found = pace([1.0, 4.0], 9)
    assert (found.seconds, found.start) == (3, 1) and math.isinf(found.error)


def test_trying_ends_when_the_rate_is_known_or_a_minute_is_over() -> None:
    def enough(seconds: float, videos: int, spread: float = 0.0) -> bool:
        generator = np.random.default_rng(0)
        times = seconds * (1 + spread * generator.uniform(-1, 1, size=videos))
        return estimate._is_enough([0.0, *np.cumsum(times)], 10_000)

    assert not enough(0.1, 50)  # five seconds say nothing
    assert enough(0.5, 24) and not enough(0.5, 23)
    assert not enough(0.5, 24, spread=1.0)
    assert enough(0.5, 130, spread=1.0)
    assert enough(15.0, 5) and not enough(15.0, 4)


@pytest.mark.long
def test_estimate_ends_early_and_is_for_so_many_machines(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_is_enough", lambda moments, of: len(moments) == 4)
    manifest = load_manifest(clips / "mos.csv")
    one = dry_run(manifest, tmp_path, OPTIONS).estimate
    two = dry_run(manifest, tmp_path, OPTIONS, Machines(2, 1.5)).estimate
    assert one is not None and two is not None
    assert one.tried == two.tried == 3 and one.bytes == two.bytes
    assert (one.machines, one.price, one.cost) == (1, None, None)
    assert two.machine_hours == pytest.approx(2 * two.seconds / 3600, abs=1e-3)
    assert two.cost == pytest.approx(1.5 * two.machine_hours, abs=1e-3)
    many = dry_run(manifest, tmp_path, OPTIONS, Machines(100, 1.0)).estimate
    assert many is not None  # six machines have a video, the others are not paid for
    assert many.machine_hours == pytest.approx(6 * many.seconds / 3600, abs=1e-3)


@pytest.mark.long
def test_videos_of_which_none_works_say_why_after_a_few(
    own_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_is_enough", lambda moments, of: len(moments) == 3)
    for path in own_clips.glob("*.mp4"):
        path.write_bytes(b"no video")
    found = dry_run(load_manifest(own_clips / "mos.csv"), tmp_path, OPTIONS)
    assert found.estimate is None
    assert found.note.startswith("no estimate: none of 4 videos works: ")


@pytest.mark.long
def test_estimate_is_printed_with_what_it_rests_on(clips: Path, tmp_path: Path) -> None:
    words = ("vqa-extract", "--dataset", clips / "mos.csv", *WORDS, "--dry-run")
    plain = called(*words, cwd=tmp_path)
    assert "measured with 6 of 6 videos, of all file sizes, in " in plain.stdout
    assert "machine hours" not in plain.stdout
    priced = called(*words, "--machines", "3", "--price", "1.25", cwd=tmp_path)
    assert "on 3 machines, each with --shard I/3: " in priced.stdout
    assert " machine hours, which cost " in priced.stdout and "at 1.25 an hour" in priced.stdout
    found = document(called(*words, "--price", "2", "--json", cwd=tmp_path))["estimate"]
    assert (found["tried"], found["machines"], found["price"]) == (6, 1, 2.0)
    assert found["cost"] == pytest.approx(2 * found["machine_hours"], abs=1e-3)


@pytest.mark.parametrize("words", [("--machines", "2"), ("--price", "1.5")])
def test_machines_and_price_without_dry_run_are_refused(
    words: tuple[str, ...], clips: Path, tmp_path: Path
) -> None:
    refused = called("vqa-extract", "--dataset", clips / "mos.csv", *words, cwd=tmp_path)
    assert refused.returncode == 2 and "are for the estimate of --dry-run" in refused.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("price", ["nan", "inf"])
def test_price_that_is_no_amount_is_refused(price: str, clips: Path, tmp_path: Path) -> None:
    words = ("--dataset", clips / "mos.csv", "--dry-run", "--price", price)
    refused = called("vqa-extract", *words, cwd=tmp_path)
    assert refused.returncode == 2 and f"--price {price} is no amount" in refused.stderr


@pytest.mark.long
def test_estimate_is_measured_on_this_machine_whatever_the_engine(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vqa_twostage.pipeline.ray_cluster._connect", lambda *given: pytest.fail("a cluster")
    )
    options = replace(OPTIONS, engine="ray")
    found = dry_run(load_manifest(clips / "mos.csv"), tmp_path, options).estimate
    assert found is not None and found.tried == 6
