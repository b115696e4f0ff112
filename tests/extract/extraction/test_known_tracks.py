"""What an extraction asks for is remembered with its tracks, so that nothing to do is told without
networks; whatever could change the tracks makes it another request.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plugin_files import install_distribution

from vqa_twostage.extract.extraction import known_tracks as known
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline.cache.layout import TrackPath, extraction_path
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import write_json
from vqa_twostage.pipeline.raw_format import RawFormat

OPTIONS = ExtractOptions(spatial="efficientnet_lite0", temporal=("tsm",))


@pytest.mark.parametrize(
    "options",
    [
        {"spatial": "resnet"},
        {"spatial": "efficientnet_lite0:grid=2"},
        {"temporal": ()},
        {"temporal": ("tsm", "tea")},
        {"sampler": "uniform:frames=4"},
        {"hdr": "clip"},
    ],
    ids=str,
)
def test_options_that_name_tracks_make_another_request(options: dict[str, Any]) -> None:
    other = known.request_of(replace(OPTIONS, **options), None)
    assert other is not None and other != known.request_of(OPTIONS, None)


@pytest.mark.parametrize(
    "options",
    [
        *({"device": "cuda"}, {"decoder": "decord"}, {"batch_size": 3}, {"workers": 2}),
        *({"limit": 5}, {"shard": "2/3"}, {"wait": True}, {"runtime": "torch"}),
    ],
    ids=str,
)
def test_options_that_change_no_feature_make_the_same_request(options: dict[str, Any]) -> None:
    same = known.request_of(replace(OPTIONS, **options), None)
    assert same is not None and same == known.request_of(OPTIONS, None)


def test_raw_format_versions_and_code_make_another_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raw = RawFormat(64, 48, "yuv420p", 25.0)
    requests = [known.request_of(OPTIONS, None), known.request_of(OPTIONS, raw)]
    with monkeypatch.context() as patch:
        patch.setattr(known, "library_versions", lambda: {"torch": "99"})
        requests.append(known.request_of(OPTIONS, None))
    for code in ("VERSION = 1", "VERSION = 2"):
        (tmp_path / "extract").mkdir(exist_ok=True)
        (tmp_path / "extract" / "resize.py").write_text(code)
        with monkeypatch.context() as patch:
            patch.setattr(known, "PROGRAM", tmp_path)
            requests.append(known.request_of(OPTIONS, None))
    assert None not in requests and len(set(requests)) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"spatial": "efficientnet_lite0:weights=/somewhere/w.pth"},
        {"spatial": "efficientnet_lite0:weights=mine"},
        {"sampler": "indices:file=mine"},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_what_files_or_machines_decide_is_not_known(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").touch()
    assert known.request_of(replace(OPTIONS, **options), None) is None
    assert known.known_tracks(tmp_path, "mos", None) == ()


def test_plugins_of_other_distributions_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'other'\nversion = '1'\n"
        "[project.entry-points.'vqa_twostage.extract.samplers']\nmiddle = 'other_middle'\n"
    )
    install_distribution(tmp_path, monkeypatch)
    assert known.request_of(replace(OPTIONS, sampler="middle"), None) is None


def test_spec_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a spec"):
        known.request_of(replace(OPTIONS, spatial="a b"), None)


def record(cache: Path, requests: object) -> None:
    write_json(extraction_path(cache, "mos"), {known.REQUESTS: requests})


def make_file(cache: Path, name: str) -> TrackPath:
    path = cache / "mos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return TrackPath.parse(path)


def test_tracks_of_several_requests_are_remembered_in_their_order(tmp_path: Path) -> None:
    one, two = make_file(tmp_path, "uniform/b.h5"), make_file(tmp_path, "uniform/a.h5")
    requests = known.with_request({}, "x", [one, two])
    requests = known.with_request(requests, "y", [two])
    record(tmp_path, known.with_request(requests, None, [one]))
    assert known.known_tracks(tmp_path, "mos", "x") == (one, two)
    assert known.known_tracks(tmp_path, "mos", "y") == (two,)
    one.path.unlink()
    assert known.known_tracks(tmp_path, "mos", "x") == ()
    assert known.requests_of(tmp_path, "mos") == {"y": ["uniform/a.h5"]}


@pytest.mark.parametrize(
    "requests",
    [
        *(None, [], 3, {"x": None}, {"x": []}, {"x": [1]}, {"x": "uniform/a.h5"}),
        *({"x": ["../other/a.h5"]}, {"x": ["/etc/passwd"]}, {"x": ["a.h5"]}),
        *({"x": ["../a.h5"]}, {"x": ["uniform/a.txt"]}, {"x": ["uniform/gone.h5"]}),
    ],
    ids=json.dumps,
)
def test_record_of_a_stranger_is_no_memory(requests: object, tmp_path: Path) -> None:
    make_file(tmp_path, "uniform/a.h5")
    (tmp_path / "mos" / "a.h5").touch()
    (tmp_path / "a.h5").touch()
    record(tmp_path, requests)
    assert known.known_tracks(tmp_path, "mos", "x") == ()


def test_damaged_record_is_no_memory(tmp_path: Path) -> None:
    make_file(tmp_path, "uniform/a.h5")
    assert known.requests_of(tmp_path, "mos") == {}
    extraction_path(tmp_path, "mos").write_text('{"requests": ')
    assert known.requests_of(tmp_path, "mos") == {}
