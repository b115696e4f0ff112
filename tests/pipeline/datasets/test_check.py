"""The commands of `vqa-data`: list, check and export, run as processes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from commands import called, document

from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.datasets.schema import names

HEADER = "flickr_id,download_id,file_name,MOS,ti,si,colorfulness,contrast,blur,vniqe\n"


@pytest.fixture
def konvid(clips: Path, tmp_path: Path) -> Path:
    """A copy of KoNViD-1k with valid videos, two equal ones, damaged ones, and missing ones."""
    root = tmp_path / "konvid"
    videos = root / "KoNViD_1k_videos"
    videos.mkdir(parents=True)
    for number, clip in enumerate(("testsrc2", "mandelbrot", "smptebars", "mandelbrot"), 1):
        shutil.copy(clips / f"{clip}.mp4", videos / f"100{number}.mp4")
    (videos / "1005.mp4").write_bytes(b"")
    (videos / "1006.mp4").write_bytes((clips / "testsrc.mp4").read_bytes()[:300])
    labels = {1001: 1.22, 1002: 3, 1003: 4.64, 1004: 3.5, 1005: 2, 1006: 2.5, 1007: 5.5, 1008: 4}
    rows = "".join(
        f"{name},{name},{name}_cut_centercrop_960x540_8s.mp4,{mos},1,1,1,1,1,1\n"
        for name, mos in labels.items()
    )
    (root / "KoNViD_1k_attributes.csv").write_text(HEADER + rows)
    return root


def test_check_finds_videos_that_are_missing_unreadable_or_duplicated_and_labels_out_of_range(
    konvid: Path, tmp_path: Path
) -> None:
    done = called("vqa-data", "check", "konvid", "--root", konvid, "--json", cwd=tmp_path)
    assert done.returncode == 3
    result = document(done)
    expected = {
        "dataset": "konvid",
        "rows": 8,
        "found": 6,
        "mos_min": 1.22,
        "mos_max": 5.5,
        "scale": [1.0, 5.0],
    }
    assert {key: result[key] for key in expected} == expected
    assert result["missing"] == ["KoNViD_1k_videos/1007.mp4", "KoNViD_1k_videos/1008.mp4"]
    reasons = {item["id"]: item["reason"] for item in result["unreadable"]}
    assert (
        reasons["1005"] == "file is empty"
        and "could not be decoded" in reasons["1006"]
        and len(reasons) == 2
    )
    assert result["duplicates"] == [["1002", "1004"]]
    assert result["out_of_range"] == [{"id": "1007", "mos": 5.5}]
    assert result["release_of_labels"] == [
        "8 videos, and known releases have 1200 (KoNViD-1k, agreed on by all papers)"
    ]


def test_check_prints_the_same_for_people_and_lists_all_missing_videos_in_a_file(
    konvid: Path, tmp_path: Path
) -> None:
    done = called("vqa-data", "check", "konvid", "--root", konvid, cwd=tmp_path)
    assert done.returncode == 3
    assert "8 rows, 6 files found, 2 missing, 2 unreadable" in done.stdout
    assert "MOS 1.22 to 5.5 on a scale of 1 to 5, higher is better" in done.stdout
    for finding in (
        "unreadable: 1005: file is empty",
        "the same content: 1002, 1004",
        "1007: 5.5 is not in 1 to 5",
    ):
        assert finding in done.stderr
    assert "1007.mp4 and 1 others; listed in konvid-missing.csv" in done.stderr
    with (tmp_path / "konvid-missing.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1007", "1008"]
    called(
        "vqa-data", "check", "konvid", "--root", konvid, "--missing", "lists/gone.csv", cwd=tmp_path
    )
    assert (tmp_path / "lists" / "gone.csv").read_text() == (
        tmp_path / "konvid-missing.csv"
    ).read_text()


def test_check_of_a_complete_copy_names_its_release_and_writes_no_file(
    clips: Path, tmp_path: Path
) -> None:
    toml = """
        title = "Clips"
        scale = [1, 5]
        layouts = [{ name = "flat", videos = "{path}" }]
        releases = [{ name = "the first", videos = 5 }, { name = "the second", videos = 6 }]
        [[labels]]
        file = "mos.csv"
        columns = { id = "id", mos = "mos", group = "group", path = "path" }
    """
    (tmp_path / "own.toml").write_text(toml)
    done = called("vqa-data", "check", tmp_path / "own.toml", "--root", clips, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "labels: 6 videos, as in the second" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.toml"]


def test_list_shows_every_known_dataset_with_its_scale_splits_and_home_page(
    tmp_path: Path,
) -> None:
    listed = json.loads(called("vqa-data", "list", "--json", cwd=tmp_path).stdout)
    assert [item["name"] for item in listed] == names()
    printed = called("vqa-data", "list", cwd=tmp_path).stdout
    for item in listed:
        assert item["videos"] > 0 and item["citation"] and item["licence"] and item["layouts"]
        assert item["name"] in printed and item["homepage"] in printed
    (lsvq,) = [item for item in listed if item["name"] == "lsvq"]
    assert (lsvq["splits"], lsvq["scale"]) == (["train", "test", "test_1080p"], [0, 100])


def test_export_writes_a_manifest_that_stands_for_its_dataset(konvid: Path, tmp_path: Path) -> None:
    done = called(
        "vqa-data", "export", "konvid", "--root", konvid, "--output", "out/frozen.csv", cwd=tmp_path
    )
    assert done.returncode == 0 and "out/frozen.csv: 8 rows" in done.stdout
    frozen, original = (
        load_manifest(str(tmp_path / "out" / "frozen.csv"), konvid),
        load_manifest("konvid", konvid),
    )
    assert (frozen.name, frozen.title, frozen.scale, frozen.digest) == (
        original.name,
        original.title,
        original.scale,
        original.digest,
    )
    done = called(
        "vqa-data", "export", "konvid", "--root", konvid, "--output", "frozen.json", cwd=tmp_path
    )
    assert done.returncode == 2 and "frozen.json is not a .csv; name it frozen.csv" in done.stderr


def test_manifest_in_a_cache_is_updated_when_the_videos_arrive_under_other_names(
    konvid: Path, tmp_path: Path
) -> None:
    """The path at which a file is expected may differ from where it is."""
    from vqa_twostage.pipeline.cache.layout import load_cached_manifest
    from vqa_twostage.pipeline.cache.same_dataset import save_manifest

    for clip in (konvid / "KoNViD_1k_videos").iterdir():
        clip.rename(clip.with_suffix(".away"))
    save_manifest(tmp_path / "cache", load_manifest("konvid", konvid))
    for clip in (konvid / "KoNViD_1k_videos").iterdir():
        clip.rename(clip.with_suffix(".MOV"))
    save_manifest(tmp_path / "cache", load_manifest("konvid", konvid))
    kept = load_cached_manifest(tmp_path / "cache", "konvid")
    assert kept.rows["path"][0] == "KoNViD_1k_videos/1001.MOV"


@pytest.mark.long
def test_extraction_and_training_use_the_videos_that_exist_and_report_how_many_do(
    konvid: Path, tmp_path: Path
) -> None:
    done = called(
        *(
            "vqa-extract",
            "--dataset",
            "konvid",
            "--root",
            konvid,
            "--cache",
            "cache",
            "--sampler",
            "uniform:frames=2",
        ),
        *("--preset", "offline", "--runtime", "torch", "--workers", "1"),
        cwd=tmp_path,
    )
    assert done.returncode == 3
    assert "8 videos: 4 done, 0 already there, 4 failed" in done.stdout
    assert (
        "missing: 2 of 8 videos, first 1007: file is missing: KoNViD_1k_videos/1007.mp4"
        in done.stderr
    )
    done = called(
        *(
            "vqa-fuse",
            "train",
            "--cache",
            "cache",
            "--fusion",
            "concat",
            "--protocol",
            "random:n=1",
        ),
        *("--epochs", "2", "--members", "1", "--run", "run"),
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "1 splits of N = 4 of 8 videos" in done.stdout
    assert document(called("vqa-fuse", "evaluate", "run", "--json", cwd=tmp_path))["n_dataset"] == 8
