"""A page finds the videos of a run where they lie, and none outside of their folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urljoin

import pandas as pd
import pytest
from written_runs import NET

from vqa_twostage.fuse.reporting.video_files import addresses
from vqa_twostage.pipeline.cache.layout import TrackPath, manifest_path
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError

ODD = "a b#?%41é&<'\"/javascript:alert(1).mp4"


@pytest.fixture
def track(tmp_path: Path) -> TrackPath:
    """Of videos in a cache whose manifest has good and bad paths, named after what they are."""
    root = tmp_path / "videos"
    for path in (root / ODD, root / "plain.mp4", tmp_path / "private.mp4"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")
    (root / "link.mp4").symlink_to(tmp_path / "private.mp4")
    paths = {
        "plain": "plain.mp4",
        "odd": ODD,
        "above": "../private.mp4",
        "absolute": str(tmp_path / "private.mp4"),
        "linked": "link.mp4",
        "missing": "missing.mp4",
        "folder": ".",
    }
    rows = pd.DataFrame({"id": list(paths), "path": list(paths.values()), "mos": 3.0})
    rows = rows.assign(mos_std=float("nan"), group=rows["id"], split="")
    save_manifest(tmp_path / "cache", Manifest("clips", "clips", "opinion", (1.0, 5.0), rows))
    return TrackPath.of(tmp_path / "cache", "clips", "net", NET)


def test_page_finds_the_files_below_the_root_and_no_others(
    track: TrackPath, tmp_path: Path
) -> None:
    ids = ["plain", "odd", "above", "absolute", "linked", "missing", "folder", "unknown"]
    found = addresses(track, ids, tmp_path / "videos", tmp_path / "pages" / "report.html")
    assert set(found) == {"plain", "odd"}
    assert found["plain"] == "../videos/plain.mp4"


def test_address_of_any_name_is_the_file_and_nothing_else(track: TrackPath, tmp_path: Path) -> None:
    page = tmp_path / "videos" / "report.html"
    for name in ("plain", "odd"):
        address = addresses(track, [name], tmp_path / "videos", page)[name]
        assert not set(address) & set("#?:<>'\"& ")
        whole = urljoin(page.as_uri(), address)
        assert whole.startswith("file:///")
        assert Path(unquote(whole.removeprefix("file://"))).read_bytes() == b"video"


def test_videos_of_a_cache_that_is_not_here_are_not_played(
    track: TrackPath, tmp_path: Path
) -> None:
    manifest = manifest_path(track.cache, track.dataset)
    manifest.write_text("{")
    with pytest.raises(UsageError, match="cannot be used"):
        addresses(track, ["plain"], tmp_path / "videos", tmp_path / "report.html")
    manifest.unlink()
    assert addresses(track, ["plain"], tmp_path / "videos", tmp_path / "report.html") == {}
