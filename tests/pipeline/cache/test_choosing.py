"""A dataset is found by its name and by its file, and never taken for that of another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import manifest_path
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError


def kept(cache: Path, path: Path, mos: int = 1, name: str | None = None) -> str:
    """The file of a dataset that the cache keeps."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"path,mos\na.mp4,{mos}\nb.mp4,2\n")
    save_manifest(cache, load_manifest(path, name=name))
    return str(path)


@pytest.mark.parametrize("ending", [".csv", ".TSV", ".txt"])
def test_dataset_is_found_by_its_file_whatever_it_is_called(ending: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = kept(cache, tmp_path / "one" / f"labels{ending}")
    two = kept(cache, tmp_path / "two" / f"labels{ending}", 3, "second")
    assert [choose_dataset(cache, file) for file in (one, two)] == ["labels", "second"]
    assert [choose_dataset(cache, name) for name in ("labels", "second")] == ["labels", "second"]


def test_dataset_of_a_file_of_the_same_name_is_not_taken(tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other" / "labels.csv"
    first = kept(cache, tmp_path / "one" / "labels.csv")
    kept(tmp_path / "elsewhere", other, 3)
    with pytest.raises(UsageError, match=r"labels of .*one.labels\.csv, not of .*other.*--name"):
        choose_dataset(cache, str(other))
    Path(first).unlink()  # it may have moved
    assert choose_dataset(cache, str(other)) == "labels"


def test_file_of_several_datasets_does_not_say_which_is_meant(tmp_path: Path) -> None:
    cache, path = tmp_path / "cache", tmp_path / "ratings.csv"
    for name in ("one", "two"):
        kept(cache, path, name=name)
    with pytest.raises(UsageError, match=r"several datasets of .*ratings\.csv; .*: one, two"):
        choose_dataset(cache, str(path))
    kept(cache, path)
    assert choose_dataset(cache, str(path)) == "ratings"


def test_damaged_dataset_hides_no_other(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    kept(cache, tmp_path / "one.csv", name="damaged")
    path = kept(cache, tmp_path / "two.csv", name="sound")
    manifest_path(cache, "damaged").write_text("{")
    assert choose_dataset(cache, path) == "sound"
    with pytest.raises(UsageError, match="holds no dataset 'none'; it holds damaged, sound"):
        choose_dataset(cache, "none.csv")
