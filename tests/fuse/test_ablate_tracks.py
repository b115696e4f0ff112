"""`vqa-fuse ablate --tracks`: what each track is worth, on the same splits, against all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_cache import make_cache, manifest_of, write_features

from vqa_twostage.fuse.ablate_tracks import MODES, ablate_tracks, only_tracks, validation_srcc
from vqa_twostage.fuse.data import Dataset, load_dataset
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.pipeline.errors import UsageError

OPTIONS = TrainOptions(baseline="ridge", protocol="random:n=3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Two spatial tracks and a temporal one."""
    cache = make_cache(tmp_path_factory.mktemp("cache"), contents=30)
    write_features(cache, manifest_of("toy", 30, 5), "spatial", "othernet")
    return load_dataset(cache, "toy", "all", "all")


def names(result_rows: list) -> set[str]:
    return {row.name for row in result_rows}


@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (
            "leave-one-out",
            {"ridge", "ridge without othernet", "ridge without spatialnet"}
            | {"ridge without temporalnet"},
        ),
        ("each", {"ridge", "ridge on othernet", "ridge on spatialnet", "ridge on temporalnet"}),
    ],
)
def test_rows_are_named_by_the_tracks_and_compared_with_all(
    mode: str, expected: set[str], data: Dataset, tmp_path: Path
) -> None:
    result = ablate_tracks(data, OPTIONS, mode, tmp_path)
    rows = result.comparison.rows
    assert names(rows) == expected and result.comparison.reference == "ridge"
    assert [row.name for row in rows if row.paired is None] == ["ridge"]
    assert (tmp_path / "ablation.csv").read_text().count("\n") == 1 + len(expected)


@pytest.mark.long
def test_forward_adds_the_track_that_helps_the_validation_parts_most(
    data: Dataset, tmp_path: Path
) -> None:
    alone = ablate_tracks(data, OPTIONS, "each", tmp_path).comparison.rows
    of_one = {row.name: validation_srcc(row.run) for row in alone if " on " in row.name}
    rows = ablate_tracks(data, OPTIONS, "forward", tmp_path).comparison.rows
    assert max(of_one, key=of_one.__getitem__) in names(rows)
    path = [validation_srcc(row.run) for row in sorted(rows, key=lambda row: len(row.name))]
    assert len(path) >= 2


@pytest.mark.long
@pytest.mark.parametrize("name", ["ridge on othernet", "ridge on temporalnet"])
def test_run_of_some_tracks_is_reproduced(name: str, data: Dataset, tmp_path: Path) -> None:
    result = ablate_tracks(data, OPTIONS, "each", tmp_path)
    (run,) = [row.run for row in result.comparison.rows if row.name == name]
    assert reproduce_run(run).equal


def test_videos_are_the_same_whatever_tracks_are_left(data: Dataset) -> None:
    for track in data.tracks:
        alone = only_tracks(data, [track.path])
        assert alone.manifest is data.manifest
        assert [side[0].path for side in alone.features] == [track.path, track.path]


@pytest.mark.long
def test_interrupted_ablation_goes_on_with_what_is_missing(data: Dataset, tmp_path: Path) -> None:
    first = ablate_tracks(data, OPTIONS, "each", tmp_path)
    times = {row.run: (row.run / "run.json").stat().st_mtime_ns for row in first.comparison.rows}
    again = ablate_tracks(data, OPTIONS, "leave-one-out", tmp_path)
    kept = [row.run for row in again.comparison.rows if row.run in times]
    assert kept
    assert all((run / "run.json").stat().st_mtime_ns == times[run] for run in kept)


def test_unknown_mode_and_a_single_track_are_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"unknown --tracks 'both'; choose from {MODES[0]}"):
        ablate_tracks(data, OPTIONS, "both", tmp_path)
    alone = only_tracks(data, [data.tracks[0].path])
    with pytest.raises(UsageError, match="needs several tracks, and only .* --spatial all"):
        ablate_tracks(alone, OPTIONS, "each", tmp_path)
