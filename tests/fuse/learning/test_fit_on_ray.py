"""`vqa-fuse ablate --engine ray` gives what one machine gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.learning.fit_groups import Fit
from vqa_twostage.fuse.learning.fit_on_ray import fit_on_ray
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import splits
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.ray_cluster import RayCluster

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [
    pytest.mark.usefixtures("own_ray_folder"),
    pytest.mark.long,
    pytest.mark.timeout(1200),
]


def ablate(cache: Path, folder: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "vqa_twostage.fuse", "ablate", "--cache", str(cache)]
    chosen = ["--fusion", "concat,gated", "--baselines", "ridge", "--protocol", "random:n=3"]
    ended = subprocess.run(
        [*command, *chosen, "--epochs", "3", "--output", str(folder), "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def test_ablation_on_a_cluster_is_that_of_one_machine(toy_cache: Path, tmp_path: Path) -> None:
    here = ablate(toy_cache, tmp_path / "here", "--workers", "1")
    there = ablate(toy_cache, tmp_path / "there", "--engine", "ray")
    here_rows, there_rows = (
        [{key: row[key] for key in row.keys() - {"run", "seconds"}} for row in found["rows"]]
        for found in (here, there)
    )
    assert here_rows == there_rows and len(here_rows) == 3
    predictions = sorted((tmp_path / "here").glob("*/predictions.csv"))
    assert len(predictions) == 3
    for path in predictions:
        other = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert other.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("max_ram", [None, 1])
def test_fits_read_tracks_that_travel_and_tracks_that_stay_in_the_cache(
    max_ram: int | None, toy_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy_cache.parent)  # relative paths mean there what they mean here
    data = load_dataset(Path(toy_cache.name), None, None, None, max_ram=max_ram)
    options = TrainOptions(fusion="concat", epochs=1, members=1)
    fits = [Fit(split, options) for split in splits("random:n=4", data.manifest.rows)[1]]
    assert sorted(place for place, _ in fit_on_ray(data, fits, RayCluster())) == [0, 1, 2, 3]


def test_wrong_use_on_a_cluster_is_the_same_message(toy_cache: Path) -> None:
    data = load_dataset(toy_cache, None, None, None)
    options = TrainOptions(baseline="ridge", labels=50)
    fits = [Fit(split, options) for split in splits("random:n=1", data.manifest.rows)[1]]
    broken = [fit._replace(options=TrainOptions(baseline="nothing")) for fit in fits]
    with pytest.raises(UsageError, match="nothing"):
        list(fit_on_ray(data, broken, RayCluster()))
