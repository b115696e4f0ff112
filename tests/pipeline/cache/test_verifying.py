"""`verify` names the videos with faults and the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_tracks import features, place_of, random_features, write

from vqa_twostage.pipeline.cache import track_writer
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.verifying import verify
from vqa_twostage.pipeline.errors import UsageError


def test_verify_names_the_damaged_video_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, a=features(), b=features())
    content = bytearray(path.read_bytes())
    content[place_of(path, "features/c1/mean", 4)] ^= 1
    path.write_bytes(content)
    (fault,) = verify(path)
    assert fault.startswith("b: c1/mean is damaged") and f"vqa-cache repair {path}" in fault
    with open_track(path) as track:
        track.read("a")
        with pytest.raises(UsageError, match="b: c1/mean is damaged"):
            track.read("b")


def test_verify_reports_a_damaged_structure_that_reading_does_not_need(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    write(path, a=random_features(1))
    content = bytearray(path.read_bytes())
    content[9] ^= 1  # in HDF5's superblock
    path.write_bytes(content)
    (fault,) = verify(path)
    assert "HDF5 structure" in fault and "no video is lost" in fault
    with open_track(path) as track:
        track.read("a")


def test_structure_has_no_heap_without_checksums(tmp_path: Path) -> None:
    """Zeros in one make the HDF5 library look for its end forever."""
    write(tmp_path / "t.h5", a=random_features(1))
    write(tmp_path / "t.h5", **{"a longer name than before": random_features(2)})
    assert b"GCOL" not in (tmp_path / "t.h5").read_bytes()


def test_verify_reports_values_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        track_writer, "_to_stored", lambda name, array, imported: array.astype(np.float16)
    )
    write(tmp_path / "t.h5", a=features(), b=features(np.nan))
    assert verify(tmp_path / "t.h5") == ["b: c1/mean holds values that are not finite"]
