"""`vqa-extract --engine ray` on real clusters of this machine: the same features, whatever ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import pytest
from places import REPOSITORY
from plugin_files import install_distribution
from s3_server import S3Service
from stored_features import attributes_in, stored_in

from vqa_twostage.pipeline.cache.layout import tracks
from vqa_twostage.pipeline.cache.track import open_track

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # the demo, beside other tests

SMALL = (
    *("--spatial", "efficientnet_lite0:resolutions=64", "--temporal", "tsm:resolutions=64"),
    *("--runtime", "torch"),
)
# samplers run in the processes that decode
DEADLY = '''"""Ends its process at one of the videos, or sleeps there."""

import os
import signal
import time

import numpy as np

from vqa_twostage.extract.sampler import Sampler

VERSION = 1


def build(*, sleep: int = 0) -> Sampler:
    return Deadly(sleep)


class Deadly(Sampler):
    def __init__(self, sleep):
        self.sleep = sleep

    def __call__(self, video):
        if "mandelbrot" in str(video.path):
            if not self.sleep:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.sleep)
        return np.arange(2)
'''
PROJECT = """
[project]
name = "deadly"
version = "1.0"
[project.entry-points."vqa_twostage.extract.samplers"]
deadly = "deadly"
"""


@pytest.fixture(scope="module")
def cluster(own_ray_folder: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A node with two CPUs, to which a test may add others, and the plug-in ``deadly``."""
    from ray.cluster_utils import Cluster

    plugin = tmp_path_factory.mktemp("plugin")
    (plugin / "deadly.py").write_text(DEADLY)
    (plugin / "pyproject.toml").write_text(PROJECT)
    with pytest.MonkeyPatch.context() as patch:
        install_distribution(plugin, patch)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]))
        started = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
        )
        yield started
        started.shutdown()


def arguments(dataset: Path, root: Path | str, cache: Path, *options: object) -> list[str]:
    command = [sys.executable, "-m", "vqa_twostage.extract", "--dataset", dataset, "--root", root]
    return [str(part) for part in (*command, "--cache", cache, "--json", *options)]


def extract(dataset: Path, root: Path | str, cache: Path, *options: object) -> dict[str, Any]:
    # with torch, the number of threads decides the last bits
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    ended = subprocess.run(
        arguments(dataset, root, cache, *options),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert ended.returncode in (0, 3), ended.stderr
    assert "Traceback" not in ended.stderr and "raylet" not in ended.stderr, ended.stderr
    return dict(json.loads(ended.stdout))


def check_equal(one: Path, other: Path, dataset: str, videos: int) -> None:
    """The tracks of two caches hold the same arrays, to the last bit, and the same attributes."""
    ours = tracks(one, dataset)
    theirs = [place.in_cache(other) for place in ours]
    assert stored_in(ours) == stored_in(theirs)
    assert attributes_in(ours) == attributes_in(theirs)
    assert len(attributes_in(ours)) == videos * len(ours) > 0


def test_features_are_those_of_one_machine_and_a_file_that_is_no_video_costs_itself(
    cluster: Any, clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(clips, folder)
    (folder / "smptebars.mp4").write_bytes(b"no video" * 100)
    here = extract(folder / "mos.csv", folder, tmp_path / "here", *SMALL)
    there = extract(
        *(folder / "mos.csv", folder, tmp_path / "there", *SMALL),
        *("--engine", "ray", "--ray-address", cluster.address),
    )
    assert there["failed"] == here["failed"] and len(there["failed"]) == 1
    assert (there["done"], there["frames"]) == (5, here["frames"])
    assert {"load networks", "forward", "write"} <= there["phases"].keys()
    check_equal(tmp_path / "here", tmp_path / "there", "mos", 5)
    again = extract(
        *(folder / "mos.csv", folder, tmp_path / "there", *SMALL),
        *("--engine", "ray", "--ray-address", cluster.address),
    )
    assert (again["done"], again["skipped"], len(again["failed"])) == (0, 5, 1)


def test_videos_in_a_bucket_are_fetched_by_the_machines_that_decode_them(
    s3: S3Service, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster of its own, whose processes find the credentials in their environment."""
    s3.put_folder("cluster", clips, "d")
    scratch = tmp_path / "scratch"
    words = [*SMALL, "--scratch", scratch, "--engine", "ray"]
    extract(clips / "mos.csv", clips, tmp_path / "here", *SMALL)
    with TemporaryDirectory(prefix="ray-") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        there = extract(clips / "mos.csv", "s3://cluster/d", tmp_path / "there", *words)
        assert (there["done"], there["failed"]) == (6, [])
        assert len(s3.downloads) == len(set(s3.downloads)) == 6
        assert not [*scratch.rglob("*.mp4")]
        ours, theirs = (tracks(tmp_path / name, "mos") for name in ("here", "there"))
        assert stored_in(ours) == stored_in(theirs)
        s3.asked.clear()
        again = extract(clips / "mos.csv", "s3://cluster/d", tmp_path / "there", *words)
    assert (again["done"], again["skipped"]) == (0, 6)
    assert not s3.downloads


def test_video_that_crashes_its_decoder_costs_itself_alone(
    cluster: Any, clips: Path, tmp_path: Path
) -> None:
    found = extract(
        *(clips / "mos.csv", clips, tmp_path / "cache", *SMALL, "--sampler", "deadly"),
        *("--engine", "ray", "--ray-address", cluster.address),
    )
    assert [failure["id"] for failure in found["failed"]] == [id_of("mandelbrot", clips)]
    assert "crash" in found["failed"][0]["reason"] and found["done"] == 5


def test_video_whose_actor_is_killed_is_tried_alone_and_then_costs_itself(
    cluster: Any, clips: Path, tmp_path: Path
) -> None:
    """As the kernel does where memory is short: whenever no other video is left, the process of Ray
    that decodes the sleeping one is killed.
    """
    command = arguments(
        *(clips / "mos.csv", clips, tmp_path, *SMALL, "--sampler", "deadly:sleep=600"),
        *("--engine", "ray", "--ray-address", cluster.address),
    )
    ended = Event()
    killer = Thread(target=kill_actors, args=("ray::DecodingActor", ended))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        killer.start()
        assert driver.stdout is not None
        said = driver.stdout.read()
        ended.set()
    killer.join()
    assert driver.returncode == 3
    found = json.loads(said)
    assert [failure["id"] for failure in found["failed"]] == [id_of("mandelbrot", clips)]
    assert "was lost 3 times" in found["failed"][0]["reason"]
    assert found["done"] == 5


def kill_actors(name: str, ended: Event) -> None:
    """Every so often, those that have hardly used the processor since the last look."""
    used: dict[int, int] = {}
    while not ended.wait(6.0):
        found = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=False)
        now = {int(pid): ticks_of(int(pid)) for pid in found.stdout.split()}
        for pid, ticks in now.items():
            if pid in used and ticks - used[pid] < 20:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        used = now


def ticks_of(pid: int) -> int:
    """Of the processor, a hundredth of a second each."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
    except OSError:
        return 0


def id_of(picture: str, clips: Path) -> str:
    lines = (clips / "mos.csv").read_text().splitlines()
    (found,) = (line.split(",")[0] for line in lines if picture in line)
    return found


def test_cluster_that_loses_a_node_and_its_driver_ends_with_the_demos_features(
    cluster: Any, tmp_path: Path
) -> None:
    demo_cache = Path(os.environ.get("VQA_DEMO_CACHE") or REPOSITORY / "cache")
    demo = demo_cache.parent / "demo"
    if not (demo / "labels.csv").exists() or not tracks(demo_cache, "demo"):
        pytest.skip("the demo is not here: make demo, or give its cache as VQA_DEMO_CACHE")
    node = cluster.add_node(num_cpus=1)
    command = [
        *(sys.executable, "-m", "vqa_twostage.extract", "--dataset", "demo", "--root", str(demo)),
        *("--preset", "offline", "--cache", str(tmp_path)),
        *("--engine", "ray", "--ray-address", cluster.address),
    ]
    first = watch(command, until=60, then=lambda driver: driver.send_signal(signal.SIGKILL))
    assert first == -signal.SIGKILL
    with open_track(tracks(tmp_path, "demo")[0]) as track:
        kept = len(track)
    assert 0 < kept < 391
    second = watch(
        command, until=200, then=lambda _: cluster.remove_node(node, allow_graceful=False)
    )
    assert second == 0
    record = json.loads((tmp_path / "demo" / "extraction.json").read_text())
    assert record["skipped"] >= kept and not record["failed"]
    check_equal(tmp_path, demo_cache, "demo", 391)


def watch(command: list[str], until: int, then: Any) -> int:
    """Runs a command until its progress is so far, does something, and gives its exit code."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr is not None
        done = False
        for line in driver.stderr:
            progress = re.search(r"(\d+) of \d+", line)
            if not done and progress and int(progress[1]) >= until:
                then(driver)
                done = True
    assert done, "it ended before"
    return driver.returncode


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "ray", "--ray-address", "127.0.0.1:1"), "no Ray cluster was found at"),
        (("--engine", "ray", "--ray-address", "ray://host:10001"), "ray job submit"),
        (("--engine", "ray", "--ray-address", "host"), "'auto' or the HOST:PORT"),
        (("--ray-address", "auto"), "add --engine ray"),
        (("--engine", "ray", "--device", "cuda:1"), "names a GPU of one machine"),
        (("--engine", "spark"), "'local', 'ray'"),
    ],
)
def test_wrong_address_is_one_message(
    options: tuple[str, ...], message: str, clips: Path, tmp_path: Path
) -> None:
    ended = subprocess.run(
        arguments(clips / "mos.csv", clips, tmp_path, *SMALL, *options),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2 and message in ended.stderr, ended.stderr
    assert "Traceback" not in ended.stderr
