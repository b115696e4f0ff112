"""What several test files share: small real videos, and features of them."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from places import REAL

if TYPE_CHECKING:
    from s3_server import S3Service

    from vqa_twostage.fuse.data import Dataset

# of one test with --soak
SOAK_TIMEOUT_S = 1500


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="tests marked soak try as often as docs/reliability.md"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With ``--soak`` a test may take as long as its many tries do."""
    for item in items:
        if config.getoption("--soak") and item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT_S))


@pytest.fixture
def times(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> int:
    """How often a test marked ``soak(short, full)`` tries: ``full`` with ``--soak``."""
    short, full = request.node.get_closest_marker("soak").args
    count = full if request.config.getoption("--soak") else short
    record_property("times", count)
    return count


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """With ``--soak`` what was done: the outcome that docs/reliability.md shows."""
    if not config.getoption("--soak"):
        return
    terminalreporter.section("soak")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if not report.user_properties:
                continue
            done = ", ".join(f"{name} {value}" for name, value in report.user_properties)
            line = f"{outcome}: {done}, {report.duration:.0f} s: {report.nodeid}"
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _interrupts_work() -> Iterator[None]:
    """A shell without job control starts background jobs with Ctrl-C ignored, and their children
    inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _user_cache_is_new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test finds what another run, or the user of this machine, keeps there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user-cache")))
        yield


@pytest.fixture(scope="session")
def own_ray_folder() -> Iterator[None]:
    """Where Ray keeps the address of the cluster that runs here, so that no test joins that of
    another test process. pytest's own folders have longer names than a socket may have.
    """
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-") as folder:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # 15 unless it is said: beside other tests Ray's processes would hardly get on
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="session", autouse=True)
def _tables_have_no_width() -> Iterator[None]:
    """pytest-xdist says in its processes that a terminal is 80 columns wide; tests have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For modules whose tensors are so small that a second thread only waits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real() -> Path:
    """Real clips, labels and features, which no fresh machine has."""
    if not REAL.is_dir():
        pytest.skip("the real material is not here (../shared/real)")
    return REAL


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six one-second videos of different pictures, and ``mos.csv`` with their invented
    labels.
    """
    ffmpeg = pytest.importorskip(
        "imageio_ffmpeg", reason="test videos are made with imageio-ffmpeg"
    ).get_ffmpeg_exe()
    folder = tmp_path_factory.mktemp("clips")
    lines = ["id,path,mos,group"]
    for number, picture in enumerate(
        ["testsrc2", "mandelbrot", "smptebars", "rgbtestsrc", "yuvtestsrc", "testsrc"]
    ):
        command = [
            ffmpeg,
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            f"{picture}=size=128x96:rate=12",
            "-t",
            "1",
        ]
        subprocess.run(
            [*command, "-pix_fmt", "yuv420p", "-threads", "1", folder / f"{picture}.mp4"],
            check=True,
        )
        lines.append(f"00{number},{picture}.mp4,{1 + number / 2},{picture}")
    (folder / "mos.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def own_clips(clips: Path, tmp_path: Path) -> Path:
    """The same folder, for a test that spoils it."""
    return Path(shutil.copytree(clips, tmp_path / "clips"))


@pytest.fixture(scope="session")
def toy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of `toy.make_cache`, to read; who writes to it takes a copy."""
    from toy_cache import make_cache

    return make_cache(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_data(toy_cache: Path) -> Dataset:
    """What is in it, to read as well."""
    from vqa_twostage.fuse.data import load_dataset

    return load_dataset(toy_cache, None, None, None)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Service]:
    """One for all tests, since its client keeps connections."""
    from s3_server import s3_service

    with s3_service() as service:
        yield service


@pytest.fixture
def s3(s3_server: S3Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Service]:
    """An S3 server that the environment points to."""
    from s3fs import S3FileSystem

    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3_server.reset()
    S3FileSystem.clear_instance_cache()
    yield s3_server
    S3FileSystem.clear_instance_cache()
