"""Manifests: official label files and plain CSVs are read to the right rows; bad ones are told by file, row, column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import datasets
from pipeline.datasets import Manifest, load_manifest
from pipeline.errors import UsageError

KONVID_HEADER = "flickr_id,download_id,file_name,MOS,ti,si,colorfulness,contrast,blur,vniqe\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_csv_of_paths_and_labels_is_a_dataset(tmp_path: Path) -> None:
    manifest = load_manifest(str(write(tmp_path / "mine.csv", "path,mos\na/x.mp4,3.5\nb/y.mkv,1\n")))
    assert (manifest.name, manifest.root, len(manifest)) == ("mine", tmp_path, 2)
    assert list(manifest.rows["id"]) == list(manifest.rows["group"]) == ["a/x.mp4", "b/y.mkv"]
    assert list(manifest.rows["mos"]) == [3.5, 1.0]


def test_ids_keep_their_leading_zeros_and_all_their_digits(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "id,path,mos\n007,a.mp4,1\n12345678901234567890,b.mp4,2\n")
    assert list(load_manifest(str(path)).rows["id"]) == ["007", "12345678901234567890"]


def test_konvid_is_found_by_the_leading_id_and_not_by_file_name(tmp_path: Path) -> None:
    rows = "8536919744,1015445,8536919744_original_centercrop_960x540_8s.mp4,1.22,4,14,43,20,0.4,21\n"
    write(tmp_path / "KoNViD_1k_attributes.csv", KONVID_HEADER + rows)
    manifest = load_manifest("konvid", tmp_path)
    assert list(manifest.rows["path"]) == ["KoNViD_1k_videos/8536919744.mp4"]
    assert manifest.scale == (1.0, 5.0)


@pytest.mark.real
def test_the_official_konvid_labels_give_1200_rows(real: Path, tmp_path: Path) -> None:
    (tmp_path / "KoNViD_1k_attributes.csv").symlink_to(real / "labels" / "KoNViD_1k_attributes.csv")
    (tmp_path / "KoNViD_1k_videos").symlink_to(real / "clips")
    manifest = load_manifest("konvid", tmp_path)
    assert len(manifest) == 1200
    assert (manifest.rows["mos"].min(), manifest.rows["mos"].max()) == (1.22, 4.64)
    assert len(datasets.missing_files(manifest)) == 1192


@pytest.mark.parametrize("root", [None, "empty"])
def test_a_dataset_that_is_not_here_says_where_it_comes_from_and_how_to_lay_it_out(
    root: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VQA_DATA", raising=False)
    with pytest.raises(UsageError, match=r"(?s)database\.mmsp-kn\.de.*KoNViD_1k_videos/<flickr_id>\.mp4.*--root DIR"):
        load_manifest("konvid", tmp_path / root if root else None)


def test_without_root_the_dataset_is_looked_for_in_vqa_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "demo" / "labels.csv", "id,path,mos,group,vmaf,version\na-x,videos/a/x.mp4,3,a,50,x\n")
    monkeypatch.setenv("VQA_DATA", str(tmp_path))
    manifest = load_manifest("demo")
    assert (manifest.root, manifest.label) == (tmp_path / "demo", "pseudo-MOS (VMAF)")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown dataset 'konvit'; choose from demo, konvid"):
        load_manifest("konvit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,mos\n", "a header and no rows"),
        ("path,score\na.mp4,1\n", "has no column mos; it has path, score"),
        ("path,mos\na.mp4,1\nb.mp4,good\n", "row 3, column mos: 'good' is not a number"),
        ("path,mos\na.mp4,nan\n", "row 2, column mos: 'nan' is not a number"),
        ("path,mos\na.mp4,\n", "row 2, column mos: '' is not a number"),
        ("path,mos\n,1\n", "row 2: id is empty|row 2: path is empty"),
        ("id,path,mos\n1,a.mp4,1\n1,b.mp4,2\n", "id '1' stands in row 2 and again in row 3"),
        ("path,mos,mos_std\na.mp4,1,wide\n", "row 2, column mos_std: 'wide' is not a number"),
    ],
)
def test_bad_labels_are_told_by_file_row_and_column(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.csv", text)
    with pytest.raises(UsageError, match=f"bad.csv.*({message})"):
        load_manifest(str(path))


def test_labels_in_another_encoding_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,mos\ncafé.mp4,1\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.csv cannot be read as CSV in UTF-8"):
        load_manifest(str(tmp_path / "latin.csv"))


@given(
    st.lists(
        st.tuples(st.text("abc/é ,\"'", min_size=1).map(str.strip).filter(bool), st.floats(-1e6, 1e6)),
        min_size=1,
        unique_by=lambda row: row[0],
    )
)
def test_a_manifest_survives_being_kept_in_the_cache(rows: list[tuple[str, float]]) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "id": [name for name, _ in rows],
            "path": [name for name, _ in rows],
            "mos": [mos for _, mos in rows],
            "mos_std": float("nan"),
            "group": [name for name, _ in rows],
            "split": "",
        }
    )
    manifest = Manifest("d", "D", "MOS", (1.0, 5.0), table)
    again = Manifest.from_json(manifest.to_json())
    assert again.digest == manifest.digest
    pd.testing.assert_frame_equal(again.rows, manifest.rows, check_dtype=False)
