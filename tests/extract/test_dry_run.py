"""``--dry-run`` tells what is there, what each `auto` means here, and what the rest would take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vqa_twostage.extract.dry_run import dry_run
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.limits import DEFAULTS

OPTIONS = ExtractOptions(spatial="efficientnet_lite0", temporal=(), sampler="uniform:frames=2")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.long
def test_dry_run_counts_what_is_there_and_estimates_the_rest(
    own_clips: Path, tmp_path: Path
) -> None:
    manifest, cache = load_manifest(own_clips / "mos.csv"), tmp_path / "cache"
    first = dry_run(manifest, cache, OPTIONS)
    assert (first.videos, first.pending, first.missing) == (6, 6, 0)
    assert [track.there for track in first.tracks] == [0] and not cache.exists()
    assert first.resolved == replace(
        OPTIONS,
        decoder="pyav",
        device="cpu",
        runtime="torch",
        batch_size=8,
        workers=1,
        limits=str(DEFAULTS),
    )

    extract_dataset(manifest, cache, replace(OPTIONS, limit=2))
    (own_clips / "testsrc.mp4").unlink()
    before = files(cache)
    second = dry_run(manifest, cache, OPTIONS)
    assert (second.videos, second.pending, second.missing) == (6, 3, 1)
    assert [track.there for track in second.tracks] == [2] and files(cache) == before
    assert [track.path for track in first.tracks] == [track.path for track in second.tracks]

    done = extract_dataset(manifest, cache, OPTIONS)
    assert (done.done, done.skipped, done.tracks) == (3, 2, (second.tracks[0].path,))
    # two frames of statistics of six levels, in half precision, and what is known of a video
    assert first.estimate is not None and second.estimate is not None
    row = 2 * (2 * (16 + 24 + 40 + 112 + 320) + 3 * 1280)
    assert 2 * row < second.estimate.bytes / 3 < 2 * row + 1000
    assert second.estimate.bytes == pytest.approx(first.estimate.bytes / 2, rel=0.01)
    assert second.estimate.tried == 3 and first.estimate.tried == 6
    assert second.estimate.seconds >= 0

    third = dry_run(manifest, cache, OPTIONS)
    assert (third.pending, third.estimate, third.note) == (0, None, "")


def test_estimate_that_cannot_be_made_says_why(own_clips: Path, tmp_path: Path) -> None:
    for path in own_clips.glob("*.mp4"):
        path.write_bytes(b"no video")
    found = dry_run(load_manifest(own_clips / "mos.csv"), tmp_path, OPTIONS)
    assert found.pending == 6 and found.estimate is None
    assert found.note.startswith("no estimate: none of 6 videos works: ")


def test_weights_that_are_not_here_are_not_fetched(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vqa_twostage.extract.networks.hub._fetched", lambda *given: pytest.fail("fetched")
    )
    monkeypatch.setattr("vqa_twostage.extract.networks.hub._cached", lambda *given: None)
    found = dry_run(load_manifest(clips / "mos.csv"), tmp_path, replace(OPTIONS, spatial="resnet"))
    assert (found.pending, found.tracks, found.estimate) == (None, (), None)
    assert "are not on this machine yet; vqa-extract fetches them" in found.note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spatial": "nothing"}, "unknown spatial backbone"),
        ({"spatial": "efficientnet_lite0:weights=/gone.pth"}, "/gone.pth"),
        ({"sampler": "uniform:frames=0"}, "frames"),
    ],
    ids=str,
)
def test_what_an_extraction_refuses_is_refused(
    options: dict[str, str], message: str, clips: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        dry_run(load_manifest(clips / "mos.csv"), tmp_path, replace(OPTIONS, **options))
