"""Paths of tracks in a cache are parsed and built consistently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forging import write_sealed
from hypothesis import given
from hypothesis import strategies as st
from toy_cache import manifest_of

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
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


def test_manifest_edited_by_hand_is_refused_with_what_to_do(tmp_path: Path) -> None:
    save_manifest(tmp_path, manifest_of("toy", 3, 2))
    path = tmp_path / "toy" / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"mos_std": null', '"mos_std": 1.0', 1))
    with pytest.raises(UsageError, match=r"manifest\.json cannot be used.*edited by hand.*remove"):
        load_cached_manifest(tmp_path, "toy")
    document = json.loads(text)
    path.write_text(json.dumps({key: document[key] for key in document if key != "sha256"}))
    with pytest.raises(UsageError, match="it has no sha256"):
        load_cached_manifest(tmp_path, "toy")
    path.write_text(json.dumps(document))  # other white space is no other content
    assert load_cached_manifest(tmp_path, "toy").digest == manifest_of("toy", 3, 2).digest


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "konvid"])
def test_manifest_that_names_another_folder_is_refused(name: str, tmp_path: Path) -> None:
    save_manifest(tmp_path, manifest_of("toy", 3, 2))
    path = tmp_path / "toy" / "manifest.json"
    write_sealed(path, {**json.loads(path.read_text()), "name": name})
    with pytest.raises(UsageError, match=f"is of a dataset called '{name}'"):
        load_cached_manifest(tmp_path, "toy")
