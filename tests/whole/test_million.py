"""The simulation of a large extraction gives what can be computed by hand, and repeats itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import million
from benchmarks.million import HOUR, Assumptions, Measured, simulated

EVEN = Measured("by hand", [2.0], file_bytes=1e6, cache_bytes=1e5, start_s=10.0)
UNEVEN = replace(EVEN, seconds=[0.5, 1.0, 4.5])  # the same mean
CALM = Assumptions(
    videos=7200, machines=4, mtbf_h=1e12, stragglers=0.0, failing=0.0, price=2.0, merge_mb_s=100.0
)


def test_equal_machines_without_failures_take_what_can_be_computed_by_hand() -> None:
    found = simulated(EVEN, CALM)
    assert found.hours * HOUR == pytest.approx(10 + 1800 * 2)
    assert found.hours_merged * HOUR == pytest.approx(3610 + 7.2)  # 720 MB at 100 MB/s
    assert found.machine_hours * HOUR == pytest.approx(4 * 3610 + 7.2)
    assert found.cost == pytest.approx(2 * found.machine_hours)
    assert found.cache_gb == pytest.approx(0.72) and found.held_by == "processors"
    assert (found.machine_failures, found.failed_videos) == (0, 0)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3000),
    st.integers(1, 40),
    st.integers(0, 200),
    st.integers(0, 9),
    st.floats(0, 1),
)
def test_no_video_is_lost_and_nothing_is_faster_than_all_machines_together(
    videos: int, machines: int, shards: int, seed: int, stragglers: float
) -> None:
    assumed = replace(
        CALM, videos=videos, machines=machines, shards=shards, seed=seed, stragglers=stragglers
    )
    found = simulated(EVEN, assumed)
    working = min(machines, shards or machines, videos)
    assert found.hours * HOUR >= 2.0 * videos / working + EVEN.start_s - 1e-6
    assert found.shortest_h <= found.hours <= found.machine_hours
    assert found.one_writer_hours * HOUR >= 2.0 * videos / working - 1e-6
    assert simulated(EVEN, assumed) == found  # equal seeds, equal results


def test_failures_cost_what_they_last() -> None:
    assumed = replace(CALM, mtbf_h=0.5, restart_s=100.0, lost_s=1.0, machines=100, videos=180_000)
    calm = simulated(EVEN, replace(assumed, mtbf_h=1e12))
    found = simulated(EVEN, assumed)
    # two in an hour of work each, and a few more while machines begin again
    assert found.machine_failures == pytest.approx(200 * 1.06, rel=0.2)
    more = (found.machine_hours - calm.machine_hours) * HOUR
    assert more == pytest.approx(found.machine_failures * 111)


def test_one_slow_machine_holds_up_shards_that_are_dealt_once_and_smaller_ones_less() -> None:
    slow = replace(CALM, videos=72_000, machines=20, stragglers=0.2, straggling=3.0)
    once, small = simulated(EVEN, slow), simulated(EVEN, replace(slow, shards=400))
    quick = simulated(EVEN, replace(slow, stragglers=0.0))
    assert once.hours == pytest.approx(3 * quick.hours, rel=0.01)
    assert small.hours < 0.6 * once.hours


def test_uneven_videos_make_uneven_shards_and_the_same_sum() -> None:
    assumed = replace(CALM, videos=400, machines=40)
    even, uneven = simulated(EVEN, assumed), simulated(UNEVEN, assumed)
    assert even.shortest_h == pytest.approx(even.hours)
    assert uneven.shortest_h < 0.8 * uneven.hours
    many = replace(CALM, videos=1_000_000, machines=40)
    assert simulated(UNEVEN, many).machine_hours == pytest.approx(
        simulated(EVEN, many).machine_hours, rel=0.005
    )


@pytest.mark.parametrize(
    ("limit", "held_by", "seconds"),
    [
        ({"link_mb_s": 0.25}, "network", 4.0),
        ({"link_mb_s": 5.0, "file_mb": 20.0}, "network", 4.0),
        ({"storage_mb_s": 0.4}, "storage", 10.0),
        ({"writer_videos_s": 0.1}, "processors", 2.0),
    ],
)
def test_narrowest_part_decides(limit: dict[str, float], held_by: str, seconds: float) -> None:
    found = simulated(EVEN, replace(CALM, **limit))
    assert found.held_by == held_by
    assert found.hours * HOUR == pytest.approx(10 + 1800 * seconds)
    if "writer_videos_s" in limit:
        assert found.one_writer_hours == pytest.approx(7200 / 0.1 / HOUR)


def test_simulation_of_a_measured_extraction_comes_to_its_time(
    toy_cache: Path, tmp_path: Path
) -> None:
    cache = Path(shutil.copytree(toy_cache, tmp_path / "cache"))
    record = cache / "toy" / "extraction.json"
    record.write_text(json.dumps({"phases": {"load networks": 3.0}}))
    measured = million.measured_in(cache, seconds=63.0, how="toy")
    assert np.mean(measured.seconds) == pytest.approx(1.0, rel=1e-3)  # of 60 videos
    found = simulated(measured, replace(CALM, videos=60, machines=1))
    assert found.hours * HOUR == pytest.approx(63.0, rel=0.01)


def test_every_assumption_is_an_option_and_is_printed() -> None:
    runner = CliRunner()
    words = ["--videos", "1e6", "--machines", "3", "--shards", "9"]
    done = runner.invoke(million.main, words)
    assert done.exit_code == 0, done.output
    names = [field.name.replace("_", "-") for field in fields(Assumptions)]
    assert len(names) == 18 and all(f"  --{name} " in done.output for name in names)
    assert "--videos 1,000,000" in done.output
    changed = runner.invoke(million.main, [*words, "--price", "3", "--json"])
    document = json.loads(changed.output)
    assert document["assumed"] == asdict(
        Assumptions(videos=1_000_000, machines=3, shards=9, price=3.0)
    )
    assert document["outcome"]["cost"] == pytest.approx(3 * document["outcome"]["machine_hours"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "none"], "choose from"),
        (["--videos", "1.5"], "no whole number"),
        (["--videos", "0"], "at least 1"),
        (["--measured", "cache"], "needs --seconds"),
    ],
)
def test_wrong_assumptions_are_refused(words: list[str], message: str) -> None:
    done = CliRunner().invoke(million.main, words)
    assert done.exit_code != 0 and message in done.output
