"""Paths of tracks in a cache are parsed and built consistently."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity

PARTS = st.text("aB09._+@-", min_size=1, max_size=12).filter(lambda part: part.strip("."))


@given(PARTS, PARTS, PARTS)
def test_track_path_is_parsed_from_its_path(dataset: str, sampler: str, stem: str) -> None:
    place = TrackPath(Path("/some/cache"), dataset, sampler, stem)
    assert TrackPath.parse(place.path) == place


def test_track_path_has_a_name_without_digest_and_can_be_moved_to_another_cache() -> None:
    identity = TrackIdentity("spatial", spec.parse("net"), spec.parse("uniform:frames=8"))
    place = TrackPath.of(Path("cache"), "konvid", "net-x2", identity)
    assert place.name == "net-x2" and place.stem == f"net-x2-{identity.digest}"
    assert str(place) == f"cache/konvid/uniform-frames8/net-x2-{identity.digest}.h5"
    assert place.in_cache(Path("other")).path == Path("other", *place.path.parts[1:])


@pytest.mark.parametrize("path", ["a.h5", "b/a.h5", "c/b/a.txt"])
def test_invalid_track_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="is no track: it must be CACHE/DATASET/SAMPLER/NAME.h5"):
        TrackPath.parse(Path(path))


def test_missing_dataset_in_a_cache_is_reported_with_the_command_that_creates_it(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="manifest.json does not exist; run vqa-extract --cache"):
        load_cached_manifest(tmp_path, "konvid")
