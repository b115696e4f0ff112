"""Tracks hold complete videos only, are identified by everything that changes a feature, and are
safe to open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import TrackIdentity

IDENTITY = TrackIdentity(
    "spatial", spec.parse("net:x=1"), spec.parse("uniform:frames=8"), decoder="d-1"
)


def features(value: float = 1.0, frames: int = 3) -> VideoFeatures:
    arrays = {
        ArrayName("c1/mean"): np.full((frames, 4), value, np.float32),
        ArrayName("c1/std"): np.zeros((frames, 4), np.float32),
    }
    attributes = VideoAttributes("abc", source_size=7, fps=25.0, damage="cut off")
    return VideoFeatures(arrays, np.arange(frames), np.arange(frames) / 2, attributes)


def write(path: Path, **videos: VideoFeatures) -> None:
    with cached.write_track(path, IDENTITY, {}) as track:
        for name, value in videos.items():
            track.write(name, value)


def test_written_features_are_read_back_unchanged(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features(1.5))
    with cached.open_track(tmp_path / "t.h5") as track:
        read = track.read("a")
        assert track.ids == ["a"] and track.identity == IDENTITY
    assert read.arrays["c1/mean"].dtype == np.float16 and (read.arrays["c1/mean"] == 1.5).all()
    assert list(read.frame_index) == [0, 1, 2] and list(read.timestamp) == [0, 0.5, 1]
    assert read.attributes == features().attributes


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_ids_may_be_any_text(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("ids") / "t.h5"
    with cached.write_track(path, IDENTITY, {}) as track:
        track.write(name, features())
    with cached.open_track(path) as track:
        assert track.ids == [name] and name in track


@pytest.mark.parametrize(
    ("field", "another"),
    [
        ("kind", "temporal"),
        ("extractor", spec.parse("net:x=2")),
        ("sampler", spec.parse("fps")),
        ("decoder", "d-2"),
        ("raw", "16x16 yuv420p 30"),
    ],
)
def test_track_of_another_identity_is_refused_with_the_difference(
    field: str, another: Any, tmp_path: Path
) -> None:
    write(tmp_path / "t.h5", a=features())
    other = replace(IDENTITY, **{field: another})
    message = f"(?s){field}: the file has {getattr(IDENTITY, field)}, this run wants {another}"
    with pytest.raises(UsageError, match=message), cached.write_track(tmp_path / "t.h5", other, {}):
        pass
    assert other.digest != IDENTITY.digest


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "not finite"), (np.inf, "not finite"), (7e4, "does not fit")]
)
def test_value_that_cannot_be_stored_is_an_error_and_writes_nothing(
    value: float, reason: str, tmp_path: Path
) -> None:
    with cached.write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        with pytest.raises(VideoError, match=f"c1/mean.*{reason}"):
            track.write("a", features(value))
        assert "a" not in track


def test_video_written_again_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features(1), b=features(2))
    write(tmp_path / "t.h5", a=features(3, frames=5))
    with cached.open_track(tmp_path / "t.h5") as track:
        assert (
            track.read("a").arrays["c1/mean"].shape == (5, 4)
            and (track.read("b").arrays["c1/mean"] == 2).all()
        )


WRITER = """
import sys, numpy as np
from pathlib import Path
from typing import Any
sys.path.insert(0, {tests!r})
from test_track import IDENTITY, features
from vqa_twostage.pipeline.cache import track as cached
with cached.write_track(Path(sys.argv[1]), IDENTITY, {{}}) as track:
    for number in range(100_000):
        track.write(str(number), features(number % 100, frames=400))
        print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 30])
def test_killed_writer_leaves_only_complete_videos(after: int, tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent))
    writer = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "t.h5"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(after):
        assert writer.stdout.readline()
    time.sleep(0.003 * after)
    os.kill(writer.pid, signal.SIGKILL)
    written = after + len(writer.stdout.read().split())
    writer.wait()
    assert cached.verify(tmp_path / "t.h5") == []
    with cached.open_track(tmp_path / "t.h5") as track:
        assert len(track) >= written
        for name in track.ids:
            assert (track.read(name).arrays["c1/mean"] == int(name) % 100).all()
    # writing can continue, whatever the killed writer left incomplete
    write(tmp_path / "t.h5", **{str(len(track_ids(tmp_path / "t.h5"))): features(5)})


def track_ids(path: Path) -> list[str]:
    with cached.open_track(path) as track:
        return track.ids


@pytest.mark.parametrize("moment", ["flush", "move"])
def test_ctrl_c_during_a_write_takes_effect_when_the_video_is_complete(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(h5py.File, moment)

    def press(self: h5py.File, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        original(self, *arguments)

    with cached.write_track(tmp_path / "t.h5", IDENTITY, {}) as track:
        monkeypatch.setattr(h5py.File, moment, press)
        with pytest.raises(KeyboardInterrupt):
            track.write("a", features())
        monkeypatch.undo()
    assert track_ids(tmp_path / "t.h5") == ["a"] and cached.verify(tmp_path / "t.h5") == []


def test_ignored_ctrl_c_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = h5py.File.flush
    monkeypatch.setattr(
        h5py.File, "flush", lambda self: (os.kill(os.getpid(), signal.SIGINT), original(self))
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        write(tmp_path / "t.h5", a=features())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert track_ids(tmp_path / "t.h5") == ["a"]


def test_track_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    with cached.write_track(path, IDENTITY, {}):
        code = (
            "from pathlib import Path\n"
            "from vqa_twostage.pipeline.cache.track import write_track\n"
            "import test_track\n"
        )
        code += f"with write_track(Path({str(path)!r}), test_track.IDENTITY, {{}}): 0"
        second = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parent,
        )
    assert "in use by another process" in second.stderr


def test_files_that_are_not_tracks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    write(tmp_path / "new.h5", a=features())
    with h5py.File(tmp_path / "new.h5", "r+") as file:
        file.attrs["format_version"] = 99
    for name, message in [
        ("missing.h5", "vqa-extract makes it"),
        ("text.h5", "not a readable HDF5"),
        ("other.h5", "not a feature cache"),
        ("new.h5", "format version 99.*update"),
    ]:
        with (
            pytest.raises(UsageError, match=f"{name}.*{message}"),
            cached.open_track(tmp_path / name),
        ):
            pass


@pytest.mark.parametrize("where", ["videos", "videos/evil", "videos/evil/features/c1"])
@pytest.mark.parametrize("link", ["external", "soft", "virtual", "outside", "objects"])
def test_malicious_track_cannot_read_other_files(link: str, where: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((3, 4))
    write(tmp_path / "t.h5", good=features(), evil=features())
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        del file[where]
        if link == "external":
            file[where] = h5py.ExternalLink(str(secret), "/x")
        elif link == "soft":
            file[where] = h5py.SoftLink("/_pending")
        else:
            array = where if where.endswith("c1") else f"{where}/features/x"
            if where == "videos":
                array = "videos/evil/features/x"
            if link == "virtual":
                layout = h5py.VirtualLayout((3, 4), "f4")
                layout[...] = h5py.VirtualSource(str(secret), "x", (3, 4))
                file.create_virtual_dataset(array, layout)
            elif link == "outside":
                file.create_dataset(array, (3, 4), "f4", external=[(str(tmp_path / "raw"), 0, 96)])
            else:
                file.create_dataset(array, data=["text"], dtype=h5py.string_dtype())
    with (
        pytest.raises(UsageError, match=r"is a link|not a plain numeric array"),
        cached.open_track(tmp_path / "t.h5") as track,
    ):
        track.read("evil")


def test_imported_track_keeps_float32_and_non_finite_values(tmp_path: Path) -> None:
    array = np.array([[np.nan, np.inf, 1e30, 0.1]], np.float32)
    video = VideoFeatures(
        {ArrayName("theirs/mean"): array}, np.zeros(1, int), np.zeros(1), VideoAttributes("x")
    )
    with cached.write_track(tmp_path / "t.h5", replace(IDENTITY, source="digest"), {}) as track:
        track.write("a", video)
    with cached.open_track(tmp_path / "t.h5") as track:
        stored = track.read("a").arrays["theirs/mean"]
    assert stored.dtype == np.float32 and np.array_equal(stored, array, equal_nan=True)
    assert cached.verify(tmp_path / "t.h5") == []


def test_verify_reports_non_finite_values_of_an_extracted_track(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features(), b=features())
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        file["videos/b/features/c1/mean"][0, 0] = np.nan
    assert cached.verify(tmp_path / "t.h5") == ["b: c1/mean holds values that are not finite"]


def test_verify_names_the_videos_with_faults(tmp_path: Path) -> None:
    write(tmp_path / "t.h5", a=features(), b=features())
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        del file["videos/b/timestamp"]
        file["videos/b/timestamp"] = [0.0]
    assert [fault.split(":")[0] for fault in cached.verify(tmp_path / "t.h5")] == ["b"]
