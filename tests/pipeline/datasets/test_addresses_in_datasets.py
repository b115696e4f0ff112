"""Datasets whose videos are at addresses: below a root, in a column of a table, or as a release is
published.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import called, document
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_server import S3Service

from vqa_twostage.pipeline.datasets.check import check_dataset
from vqa_twostage.pipeline.datasets.export import write_csv
from vqa_twostage.pipeline.datasets.file_index import FileIndex, remote_entries
from vqa_twostage.pipeline.datasets.loading import load_manifest, missing_files
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.remote_files import RemoteFile, RemoteRoot

names = st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2}){0,3}\.mp4", fullmatch=True)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files_of(manifest: Manifest) -> list[Any]:
    assert manifest.root is not None
    return [manifest.root / path for path in manifest.rows["path"]]


def test_paths_of_a_table_are_found_below_an_address(s3: S3Service, tmp_path: Path) -> None:
    s3.put("rated", {"d/clips/A b.MP4": b"1", "d/c.webm": b"22"})
    table = write(tmp_path / "mos.csv", "path,mos\nclips/a_b.mp4,1\nc,2\nnone.mp4,3\n")
    manifest = load_manifest(str(table), "s3://rated/d")
    # as below a folder of this machine: another case, another extension, or none
    assert [*manifest.rows["path"]] == ["clips/A b.MP4", "c.webm", "none.mp4"]
    assert missing_files(manifest) == ["none.mp4"]
    assert [str(file) for file in files_of(manifest)] == [
        "s3://rated/d/clips/A b.MP4",
        "s3://rated/d/c.webm",
        "s3://rated/d/none.mp4",
    ]
    assert len(s3.asked) == 1


@settings(deadline=None)
@given(there=st.sets(names, min_size=1, max_size=8), others=st.sets(names, max_size=4))
def test_files_at_an_address_are_matched_as_those_in_a_folder(
    there: set[str], others: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("same")
    for name in there:
        write(folder / name, "x")
    files = {f"memory://d/{name}": RemoteFile(f"memory://d/{name}", 1) for name in there}
    local, remote = FileIndex(folder), FileIndex(RemoteRoot("memory://d", files))
    for name in there | others:
        for pattern in (name, name.upper(), name.removesuffix(".mp4"), f"*/{name}"):
            assert sorted(remote.videos(pattern)) == sorted(local.videos(pattern))


def test_entries_of_folders_are_named_once_and_sorted() -> None:
    entries = remote_entries(["b.mp4", "x/y/a.mp4", "x/y/b.mp4", "a.mp4"])
    listed = {
        folder: [(entry.name, entry.is_dir()) for entry in found]
        for folder, found in entries.items()
    }
    assert listed == {
        "": [("a.mp4", False), ("b.mp4", False), ("x", True)],
        "x": [("y", True)],
        "x/y": [("a.mp4", False), ("b.mp4", False)],
    }


def test_table_may_hold_addresses_without_a_root(s3: S3Service, tmp_path: Path) -> None:
    s3.put("one", {"a.mp4": b"1"})
    s3.put("two", {"x/b.mp4": b"22"})
    write(tmp_path / "own.mp4", "333")
    table = write(
        tmp_path / "mos.csv",
        "id,path,mos\na,s3://one/a.mp4,1\nb,s3://two/x/b.mp4,2\nc,own.mp4,3\nd,s3://one/no.mp4,4\n",
    )
    manifest = load_manifest(str(table))
    assert [*manifest.rows["path"]] == [
        *("s3://one/a.mp4", "s3://two/x/b.mp4", "own.mp4", "s3://one/no.mp4")
    ]
    one, two, own, none = files_of(manifest)
    assert (one.size, two.size, own, none.size) == (1, 2, tmp_path / "own.mp4", None)
    assert missing_files(manifest) == ["s3://one/no.mp4"]


def test_table_whose_paths_are_all_absolute_needs_no_root(tmp_path: Path) -> None:
    for name in ("disk1/a.mp4", "disk2/b.mp4"):
        write(tmp_path / name, "x")
    paths = [tmp_path / "disk1" / "a.mp4", tmp_path / "disk2" / "b.mp4", tmp_path / "none.mp4"]
    rows = "".join(f"{path},{n}\n" for n, path in enumerate(paths))
    table = write(tmp_path / "tables" / "mos.csv", f"path,mos\n{rows}")
    manifest = load_manifest(str(table))
    assert files_of(manifest) == paths
    assert missing_files(manifest) == [str(paths[2])]
    frozen = tmp_path / "elsewhere" / "frozen.csv"
    write_csv(manifest, frozen)
    done = called("vqa-data", "export", table, "--output", "frozen.csv", cwd=tmp_path)
    assert done.stdout.endswith("next: vqa-extract --dataset frozen.csv\n"), done.stdout
    assert files_of(load_manifest(str(frozen))) == paths
    with pytest.raises(UsageError, match="is outside .*, the folder of the videos"):
        load_manifest(str(table), tmp_path / "tables")
    # one alone among relative ones is a mistake, or worse
    table.write_text(f"path,mos\n{paths[0]},1\nx.mp4,2\n")
    with pytest.raises(UsageError, match="is outside .*, the folder of the videos"):
        load_manifest(str(table))


def test_absolute_paths_below_the_folder_of_a_table_stay_relative(tmp_path: Path) -> None:
    write(tmp_path / "clips" / "a.mp4", "x")
    table = write(tmp_path / "mos.csv", f"path,mos\n{tmp_path}/clips/a.mp4,1\n")
    assert [*load_manifest(str(table)).rows["path"]] == ["clips/a.mp4"]


def test_address_of_this_machine_in_a_table_is_a_path(tmp_path: Path) -> None:
    write(tmp_path / "disk" / "a.mp4", "x")
    table = write(tmp_path / "t" / "mos.csv", f"path,mos\nfile://{tmp_path}/disk/a.mp4,1\n")
    assert files_of(load_manifest(str(table))) == [tmp_path / "disk" / "a.mp4"]


@pytest.mark.parametrize(
    "cell", ["s3://AKIA:hunter2hunter2@one/a.mp4", "https://h/a.mp4?sig=hunter2hunter2"]
)
@pytest.mark.parametrize("column", ["path", "id", "note"])
def test_secret_in_a_table_is_refused_with_its_row_and_never_told(
    cell: str, column: str, tmp_path: Path
) -> None:
    row = {"id": "a", "path": "a.mp4", "note": ""} | {column: cell}
    table = write(
        tmp_path / "mos.csv", f"id,path,mos,note\n{row['id']},{row['path']},1,{row['note']}\n"
    )
    with pytest.raises(
        UsageError, match=rf"mos\.csv, row 2, column {column}: an address with a user, "
    ) as told:
        load_manifest(str(table))
    assert "hunter2" not in str(told.value)


def test_release_is_read_from_an_address_with_its_labels(s3: S3Service) -> None:
    s3.put(
        "konvid",
        {
            "KoNViD_1k_attributes.csv": b"flickr_id,mos\n111,3.5\n222,2\n",
            "KoNViD_1k_videos/111.mp4": b"1",
            "KoNViD_1k_videos/222.mp4": b"22",
        },
    )
    manifest = load_manifest("konvid", "s3://konvid")
    assert [*manifest.rows["path"]] == ["KoNViD_1k_videos/111.mp4", "KoNViD_1k_videos/222.mp4"]
    s3.put("konvid", {"KoNViD_1k_attributes.csv": b"flickr_id,mos\n111,bad\n"})
    with pytest.raises(UsageError, match=r"KoNViD_1k_attributes\.csv, row 2, column mos: 'bad' is"):
        load_manifest("konvid", "s3://konvid")
    s3.put("empty", {"x.mp4": b""})
    with pytest.raises(UsageError, match=r"the label file s3://empty/KoNViD_1k_attributes\.csv is"):
        load_manifest("konvid", "s3://empty")


def test_vqa_data_names_an_address_of_a_folder_of_datasets(
    s3: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("all", {"konvid/KoNViD_1k_attributes.csv": b"flickr_id,mos\n111,3.5\n"})
    monkeypatch.setenv("VQA_DATA", "s3://all")
    assert str(load_manifest("konvid").root) == "s3://all/konvid"


def test_copies_at_addresses_are_found_without_reading_them(s3: S3Service, tmp_path: Path) -> None:
    s3.put("copies", {"a.mp4": b"same", "b.mp4": b"same", "c.mp4": b"else"})
    table = write(tmp_path / "mos.csv", "path,mos\na.mp4,1\nb.mp4,2\nc.mp4,3\n")
    found = check_dataset(load_manifest(str(table), "s3://copies"), (), lambda _: {})
    assert found.duplicates == (("a.mp4", "b.mp4"),)
    assert s3.downloads == []


def test_table_at_an_address_is_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"^the dataset s3://b/mos\.csv is an address: copy the t"):
        load_manifest("s3://b/mos.csv")


@pytest.mark.parametrize(
    "words",
    [
        ["vqa-extract", "--dataset", "mos.csv", "--cache"],
        ["vqa-fuse", "score", "clip.mp4", "--cache"],
        ["vqa-fuse", "train", "--dataset", "x", "--cache"],
        ["vqa-cache", "info"],
        ["vqa-cache", "merge"],
        ["vqa-cache", "verify"],
        ["vqa-fuse", "report", "run", "--root"],
        ["vqa-fuse", "score", "--watch"],
        ["vqa-data", "check", "mos.csv", "--scratch"],
        ["vqa-extract", "--dataset", "mos.csv", "--scratch"],
    ],
    ids=" ".join,
)
def test_address_in_the_place_of_a_folder_is_refused_in_one_message(
    words: list[str], tmp_path: Path
) -> None:
    done = called(*words, "s3://AKIA:hunter2hunter2@b/c", cwd=tmp_path)
    assert done.returncode == 2
    assert "s3://*** is an address: " in done.stderr, done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not [*tmp_path.iterdir()]


@pytest.mark.long
def test_check_opens_videos_at_addresses(s3: S3Service, own_clips: Path, tmp_path: Path) -> None:
    (own_clips / "testsrc.mp4").write_bytes(b"no video")
    s3.put_folder("checked", own_clips, "d")
    words = [
        "vqa-data",
        "check",
        own_clips / "mos.csv",
        "--json",
        "--scratch",
        tmp_path / "scratch",
    ]
    local = document(called(*words, cwd=tmp_path))
    remote = document(called(*words, "--root", "s3://checked/d", cwd=tmp_path))
    assert len(local["unreadable"]) == 1
    assert remote == local
    assert not [*(tmp_path / "scratch").iterdir()]
