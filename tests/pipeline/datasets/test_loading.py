"""`load_manifest`: official label files and plain CSVs give the right rows, and errors name the
file, row and column.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.datasets.export import write_csv
from vqa_twostage.pipeline.datasets.loading import load_manifest, missing_files
from vqa_twostage.pipeline.datasets.manifest import COLUMNS, Manifest
from vqa_twostage.pipeline.datasets.rows import ROUNDED
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.raw_format import RawFormat

ORIGINS = ("rows", "root", "origin")

EXPORTED = "id,path,mos,mos_std,group,split,dataset,title,label,lowest,highest,better,raw\n"
GOOD = """
title = "Own"
scale = [1, 5]
labels = [{ file = "l.csv", columns = { id = "id", mos = "mos" } }]
layouts = [{ name = "flat", videos = "{id}" }]
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_csv_of_paths_and_labels_is_a_dataset(tmp_path: Path) -> None:
    manifest = load_manifest(
        str(write(tmp_path / "mine.csv", "path,mos\na/x.mp4,3.5\nb/y.mkv,1\n"))
    )
    assert (manifest.name, manifest.root, len(manifest)) == ("mine", tmp_path, 2)
    assert list(manifest.rows["id"]) == list(manifest.rows["group"]) == ["a/x.mp4", "b/y.mkv"]
    assert list(manifest.rows["mos"]) == [3.5, 1.0]


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("sub\\x.mp4", "sub/x.mp4"),
        (".\\sub\\x.mp4", "sub/x.mp4"),
        ('" sub/x.mp4 "', "sub/x.mp4"),
        ("x.mp4", " x.mp4"),
        ('" x.mp4"', " x.mp4"),
        ("a\\b.mp4", "a\\b.mp4"),
    ],
)
def test_path_may_have_backslashes_and_blanks_at_either_end(
    written: str, file: str, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"")
    path = write(tmp_path / "mine.csv", f"path,mos\n{written},3\n")
    assert list(load_manifest(str(path)).rows["path"]) == [file]


def test_ids_keep_their_leading_zeros_and_all_their_digits(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "id,path,mos\n007,a.mp4,1\n12345678901234567890,b.mp4,2\n")
    assert list(load_manifest(str(path)).rows["id"]) == ["007", "12345678901234567890"]


@pytest.mark.parametrize("root", [None, "empty"])
def test_missing_dataset_is_an_error_that_says_where_to_get_it_and_how_to_arrange_it(
    root: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VQA_DATA", raising=False)
    with pytest.raises(
        UsageError,
        match=r"(?s)database\.mmsp-kn\.de.*KoNViD_1k_videos/<flickr_id>\.mp4.*--root DIR",
    ):
        load_manifest("konvid", tmp_path / root if root else None)


def test_root_defaults_to_the_folder_of_the_dataset_in_vqa_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path / "demo" / "labels.csv",
        "id,path,mos,group,vmaf,version\na-x,videos/a/x.mp4,3,a,50,x\n",
    )
    monkeypatch.setenv("VQA_DATA", str(tmp_path))
    manifest = load_manifest("demo")
    assert (manifest.root, manifest.label) == (tmp_path / "demo", "pseudo-MOS (VMAF)")


@pytest.mark.parametrize(
    ("root", "problem"), [("file", "is not a folder"), ("no", "does not exist")]
)
@pytest.mark.parametrize("dataset", ["konvid", "d.csv"])
def test_root_that_is_not_a_folder_is_an_error(
    dataset: str, root: str, problem: str, tmp_path: Path
) -> None:
    write(tmp_path / "d.csv", "path,mos\na.mp4,1\n")
    write(tmp_path / "file", "")
    if dataset.endswith(".csv"):
        dataset = str(tmp_path / dataset)
    with pytest.raises(UsageError, match=rf"(?s)/{root} {problem}.*give "):
        load_manifest(dataset, tmp_path / root)


def test_paths_may_be_strings(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", "path,mos\na.mp4,1\n")
    assert load_manifest(path, str(tmp_path)).root == load_manifest(str(path)).root == tmp_path


@pytest.mark.parametrize(
    ("header", "unused"),
    [
        ("path,mos,group,id", ""),
        ("Path,MOS,Group,ID", ""),
        ("PATH;Mos;GROUP;Id", ""),
        ("path\tMOS\tgroup\tid", ""),
        ("path,mos,MOS,group,id", "MOS"),
    ],
)
def test_columns_are_found_in_any_letter_case(header: str, unused: str, tmp_path: Path) -> None:
    separator = next(sign for sign in ",;\t" if sign in header)
    cells = ["a.mp4", "1.5", *(["9"] if unused else []), "beach", "first"]
    text = f"{header}\n{separator.join(cells)}\n"
    manifest = load_manifest(str(write(tmp_path / "mine.csv", text)))
    row = manifest.rows.iloc[0]
    assert (row["id"], row["mos"], row["group"]) == ("first", 1.5, "beach")
    assert any(f"not used: {unused}" in note for note in manifest.notes) == bool(unused)


def test_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"unknown dataset 'konvit'; choose from cvd2014, demo, konvid, "
    ):
        load_manifest("konvit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("path,mos\n", "a header but no rows"),
        (
            "path,score\na.mp4,1\n",
            "has no column mos; the columns in its first row are path, score. Name the columns of",
        ),
        (
            "path,MOS,Mos\na.mp4,1,2\n",
            "has no column mos; .* path, MOS, Mos. MOS and Mos differ by letter case",
        ),
        ("path,mos\na.mp4,1\nb.mp4,good\n", "row 3, column mos: 'good' is not a number"),
        ("path,mos\n,1\n", "row 2, column path: the cell is empty"),
        ("id,path,mos\nx,,1\n", "row 2, column path: the cell is empty"),
        (
            "id,path,mos\n1,a.mp4,1\n2,c.mp4,1\n1,b.mp4,2\n",
            "row 2: the id '1' is used again in .*bad.csv, row 4; remove one",
        ),
        ("path,mos,mos_std\na.mp4,1,wide\n", "row 2, column mos_std: 'wide' is not a number"),
        (
            EXPORTED + "a,a.mp4,1,,a,,d,D,MOS,1,5,higher,\nb,b.mp4,2,,b,,d,D,MOS,1,5,lower,\n",
            "row 3, column better: 'lower'",
        ),
        (
            EXPORTED + "a,a.mp4,1,,a,,../../x,D,MOS,1,5,higher,\n",
            "row 2, column dataset: '../../x' is not valid",
        ),
        (
            "id,path,mos\nca\x01fe,a.mp4,1\n",
            "row 2, column id: 'ca.x01fe' contains control characters",
        ),
        (
            'path,mos,note\na.mp4,1,x\nb.mp4,2,"open\nc.mp4,3,x\n',
            "row 3: unexpected end of data; is a quotation mark not closed",
        ),
    ],
)
def test_csv_errors_name_the_file_row_and_column(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "bad.csv", text)
    with pytest.raises(UsageError, match=f"bad.csv.*({message})"):
        load_manifest(str(path))


def test_csv_in_another_encoding_is_an_error_that_names_the_cell(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,mos\ncafé.mp4,1\n".encode("latin-1"))
    with pytest.raises(
        UsageError, match=r"latin\.csv, row 2, column path: 'caf\\xe9\.mp4' is not UTF-8"
    ):
        load_manifest(str(tmp_path / "latin.csv"))


@pytest.mark.parametrize(
    "name",
    [
        "Clips/A one.mp4",
        "clips/a_one",
        "./clips/A_ONE.mkv",
        "clips//a one.MOV",
        "{root}/clips/a_one.mp4",
    ],
)
def test_file_is_found_in_any_letter_case_and_with_any_extension(name: str, tmp_path: Path) -> None:
    write(tmp_path / "clips" / "A_One.MP4", "video")
    path = write(tmp_path / "d.csv", f"path,mos\n{name.format(root=tmp_path)},1\n")
    assert list(load_manifest(str(path)).rows["path"]) == ["clips/A_One.MP4"]


def test_file_name_may_contain_dots_and_accents_composed_in_another_way(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a_20.0.mp4", "video")
    write(tmp_path / "cafe\u0301.mp4", "video")
    path = write(tmp_path / "d.csv", "path,mos\na_20.0,1\ncaf\u00e9,2\na_20,3\n")
    assert list(load_manifest(str(path)).rows["path"]) == ["a_20.0.mp4", "cafe\u0301.mp4", "a_20"]


def test_file_of_exactly_the_given_name_is_preferred(tmp_path: Path) -> None:
    for name in ("a.mp4", "A.mp4", "a.mkv", "b.bin", "[x]*.mp4"):
        write(tmp_path / name, "video")
    path = write(tmp_path / "d.csv", "path,mos\na.mp4,1\nA.mp4,2\nb.bin,3\n[x]*.mp4,4\n")
    assert list(load_manifest(str(path)).rows["path"]) == ["a.mp4", "A.mp4", "b.bin", "[x]*.mp4"]


def test_row_with_two_candidates_is_an_error_that_lists_both(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", "video")
    write(tmp_path / "A.mp4", "video")
    path = write(tmp_path / "d.csv", "path,mos\na,1\n")
    with pytest.raises(
        UsageError, match=r"d\.csv, row 2: 2 files could be video a below .*\n  A\.mp4\n  a\.mkv\n"
    ):
        load_manifest(str(path))


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        (
            "IMG_1.MOV.mp4",
            ["IMG_1.MOV.mp4", "IMG_1.avi"],
            "IMG_1.MOV.mp4",
        ),  # only the last extension is one
        ("IMG_1.MOV", ["IMG_1.MOV.mp4"], "IMG_1.MOV.mp4"),
        ("a.mp4", ["a", "a.mkv", "a.mp4"], "a.mp4"),
        ("a.mp4", ["A.mp4", "a.mp4"], "a.mp4"),
        ("a*b?[c", ["a*b?[c.mp4", "axb.mp4"], "a*b?[c.mp4"),
    ],
)
def test_file_of_exactly_the_given_name_is_preferred_in_a_toml_too(
    name: str, files: list[str], expected: str, tmp_path: Path
) -> None:
    write(tmp_path / "l.csv", f"id,mos\n{name},3\n")
    for file in files:
        write(tmp_path / file, "video")
    assert list(load_manifest(str(write(tmp_path / "own.toml", GOOD)), tmp_path).rows["path"]) == [
        expected
    ]


def test_video_in_any_folder_is_found_also_by_an_exported_manifest(
    tmp_path: Path,
) -> None:
    write(tmp_path / "l.csv", "id,mos\na,3\nb,2\n")
    write(tmp_path / "one" / "a.mp4", "video")
    (tmp_path / "locked").mkdir(mode=0o000)
    (tmp_path / "loop").symlink_to("loop")
    toml = write(tmp_path / "own.toml", GOOD.replace('"{id}"', '"*/{id}"'))
    manifest = load_manifest(str(toml), tmp_path)
    assert list(manifest.rows["path"]) == ["one/a.mp4", "*/b.mp4"]
    assert missing_files(manifest) == ["*/b.mp4"]
    write_csv(manifest, tmp_path / "frozen.csv")
    write(tmp_path / "two" / "b.mkv", "video")
    assert list(load_manifest(str(tmp_path / "frozen.csv")).rows["path"]) == [
        "one/a.mp4",
        "two/b.mkv",
    ]


def test_link_that_leaves_the_root_is_refused_for_hidden_files_too(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere.mp4", "video")
    path = write(tmp_path / "root" / "d.csv", "path,mos\n.a.mp4,1\n")
    (tmp_path / "root" / ".a.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(UsageError, match="lies outside"):
        load_manifest(str(path))


def test_row_without_split_or_group_is_in_none(tmp_path: Path) -> None:
    write(tmp_path / "l.csv", "id,mos\ntrain_a,3\nb,2\n")
    parts = "(?P<split>train|test)_(?P<group>.)"
    toml = GOOD.replace('file = "l.csv"', f"file = 'l.csv', parts = {{ id = '^{parts}' }}")
    rows = load_manifest(str(write(tmp_path / "own.toml", toml)), tmp_path).rows
    assert list(zip(rows["split"], rows["group"], strict=True)) == [("train", "a"), ("", "b")]


def test_csv_with_some_column_names_of_an_exported_manifest_is_not_taken_for_one(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "my clips (1).csv", "path,mos,title\na.mp4,1,First clip\nb.mp4,2,Second\n"
    )
    manifest = load_manifest(str(path))
    assert (manifest.name, manifest.title) == ("my clips (1)", "my clips (1)")
    write_csv(manifest, tmp_path / "frozen.csv")
    assert load_manifest(str(tmp_path / "frozen.csv")).digest == manifest.digest


def test_name_that_no_file_system_allows_is_a_missing_video(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", f"path,mos\n{'x' * 300}.mp4,1\n")
    assert len(missing_files(load_manifest(str(path)))) == 1


def test_manifest_of_another_dataset_with_the_same_name_is_refused_by_a_cache(
    tmp_path: Path,
) -> None:
    for title in ("Own", "Another"):
        write(tmp_path / title / "l.csv", "id,mos\n1,3\n")
        toml = write(tmp_path / title / "own.toml", GOOD.replace('"Own"', f'"{title}"'))
        manifest = load_manifest(str(toml), tmp_path / title)
        if title == "Own":
            save_manifest(tmp_path / "cache", manifest)
    with pytest.raises(UsageError, match="of another dataset that is also called 'own'"):
        save_manifest(tmp_path / "cache", manifest)


def test_rows_with_the_same_file_are_an_error_unless_both_spell_it_in_the_same_way(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.mp4", "video")
    path = write(tmp_path / "d.csv", "id,path,mos\nx,a.mp4,1\ny,A.mp4,2\n")
    with pytest.raises(
        UsageError, match=r"row 3: video y and video x \(.*row 2\) have the same file, a\.mp4"
    ):
        load_manifest(str(path))
    write(path, "id,path,mos\nx,a.mp4,1\ny,a.mp4,2\n")
    assert list(load_manifest(str(path)).rows["path"]) == ["a.mp4", "a.mp4"]


def test_files_that_macos_leaves_beside_videos_are_not_videos(tmp_path: Path) -> None:
    for name in ("._a.mp4", "a.mp4", "a.mp4.txt", "a.jpg"):
        write(tmp_path / name, "video")
    (tmp_path / "A.mkv").mkdir()
    path = write(tmp_path / "d.csv", "path,mos\na,1\n")
    assert list(load_manifest(str(path)).rows["path"]) == ["a.mp4"]


@pytest.mark.parametrize(
    "video", ["../secret.mp4", "clips/../../secret.mp4", "/etc/passwd", "..", "../root-2/x.mp4"]
)
def test_path_that_leaves_the_root_is_refused(video: str, tmp_path: Path) -> None:
    write(tmp_path / "secret.mp4", "video")
    path = write(tmp_path / "root" / "d.csv", f"path,mos\n{video},1\n")
    with pytest.raises(
        UsageError, match=r"d\.csv, row 2: .* is outside .*root, the folder of the videos"
    ):
        load_manifest(str(path), root=path.parent)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_link_that_leaves_the_root_is_refused_and_one_that_stays_is_not(
    kind: str, tmp_path: Path
) -> None:
    write(tmp_path / "elsewhere" / "a.mp4", "video")
    write(tmp_path / "root" / "videos" / "b.mp4", "video")
    out, stay = ("x/a.mp4", "y/b.mp4") if kind == "folder" else ("x.mp4", "y.mp4")
    outside, inside = tmp_path / "elsewhere", tmp_path / "root" / "videos"
    (tmp_path / "root" / out.split("/")[0]).symlink_to(
        outside if kind == "folder" else outside / "a.mp4"
    )
    (tmp_path / "root" / stay.split("/")[0]).symlink_to(
        inside if kind == "folder" else inside / "b.mp4"
    )
    path = write(tmp_path / "root" / "d.csv", f"path,mos\n{stay},1\n")
    assert list(load_manifest(str(path)).rows["path"]) == [stay]
    write(path, f"path,mos\n{out},1\n")
    with pytest.raises(
        UsageError,
        match=rf"root/{out} leads through a link to .*elsewhere/a\.mp4, which lies outside",
    ):
        load_manifest(str(path))


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("title = ", "is not a TOML file"),
        (
            'title = "x"',
            r"the file lacks scale, labels, layouts; see /.*/data_manifests/konvid\.toml",
        ),
        (
            GOOD.replace("scale", "scales"),
            "the file has the unknown key scales; valid keys are title, scale",
        ),
        (GOOD.replace("[1, 5]", "[5, 1]"), r"scale = \[5.0, 1.0\]"),
        (GOOD.replace("[1, 5]", "5"), "scale must be two numbers"),
        (GOOD.replace(', mos = "mos"', ""), "labels.columns lacks mos"),
        (
            GOOD.replace('file = "l.csv"', 'file = "l.csv", optional = ["mos"]'),
            "labels.optional names mos; only mos_std, group and split",
        ),
        (
            GOOD.replace(
                'mos = "mos" }', 'mos = "mos", group = "g" }, optional = ["group"]'
            ).replace('"{id}"', '"{group}/{id}"'),
            "'{group}/{id}': {group} is unknown",
        ),
        (GOOD.replace("columns", "colums"), "labels has the unknown key colums"),
        (GOOD.replace('"{id}"', '"{name}"'), "'{name}': {name} is unknown; choose from id, mos"),
        (
            GOOD.replace('"{id}"', "3"),
            "layouts.videos must be a string or a list of strings, not 3",
        ),
        (GOOD + 'raw = "big"', "raw = 'big' is not understood; give size, pixel format"),
        (GOOD.replace("[1, 5]", "[1, inf]"), r"scale = \[1.0, inf\]"),
        (
            GOOD.replace('"{id}"', '"{id"'),
            "layouts.videos '{id': the braces do not match; write names as in {id}",
        ),
        (
            GOOD.replace('file = "l.csv"', 'file = "l.csv", constant = { mos = "3" }'),
            "labels.constant cannot define mos; name its column",
        ),
        (
            GOOD.replace('file = "l.csv"', 'file = "l.csv", decimal = "comma"'),
            'decimal = "comma"; choose',
        ),
        (GOOD + 'better = "up"', 'better = "up"; choose "higher" or "lower"'),
        (
            GOOD.replace('file = "l.csv"', 'file = "l.csv", parts = { id = "(" }'),
            "labels.parts.id = .* is not a valid regular expression",
        ),
    ],
)
def test_toml_errors_name_the_key(toml: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"d\.toml.*{message}"):
        load_manifest(str(write(tmp_path / "d.toml", toml)), tmp_path)


def test_toml_of_a_user_is_a_dataset_like_those_of_the_package(tmp_path: Path) -> None:
    write(tmp_path / "l.csv", "id,mos\n7.mp4,3\n")
    write(tmp_path / "7.webm", "video")
    manifest = load_manifest(str(write(tmp_path / "own.toml", GOOD)), tmp_path)
    assert (manifest.name, manifest.title, manifest.scale) == ("own", "Own", (1.0, 5.0))
    assert list(manifest.rows["path"]) == ["7.webm"]


def test_label_file_in_two_copies_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "data.mat", "x")
    write(tmp_path / "LIVE_VQC_data.mat", "x")
    with pytest.raises(
        UsageError, match=r"has 2 label files: data\.mat, LIVE_VQC_data\.mat; move all but one"
    ):
        load_manifest("livevqc", tmp_path)


texts = st.text("abc/é ,;\"'%#*[0", min_size=1).map(str.strip)
rows_of_manifests = st.lists(
    st.tuples(
        texts.filter(
            lambda text: text and not text.startswith("/") and ROUNDED.fullmatch(text) is None
        ),
        st.floats(-1e6, 1e6),
        st.floats(0, 10) | st.just(float("nan")),
        texts.filter(bool),
        st.sampled_from(["", "train", "test_1080p"]),
    ),
    min_size=1,
    unique_by=lambda row: row[0],
)


def described(manifest: Manifest) -> dict[str, Any]:
    """All but the rows, and where they were read from."""
    return {key: value for key, value in vars(manifest).items() if key not in ORIGINS}


@pytest.mark.long
@settings(deadline=None)
@given(rows_of_manifests)
def test_manifest_is_read_back_unchanged_from_a_cache_and_from_an_export(
    rows: list[tuple[Any, ...]],
) -> None:
    of_rows = [
        (name, f"videos/v{i}.mp4", mos, spread, group, split)
        for i, (name, mos, spread, group, split) in enumerate(rows)
    ]
    table = pd.DataFrame(of_rows, columns=COLUMNS)
    manifest = Manifest(
        "d", "D, the first", "MOS", (0.1, 5.0), table, raw=RawFormat(64, 48, "yuv420p", 29.97)
    )
    for better in ("higher", "lower"):
        manifest = replace(manifest, better=better)
        again = Manifest.from_json(manifest.to_json())
        assert (again.digest, again.better) == (manifest.digest, better)
        pd.testing.assert_frame_equal(again.rows, manifest.rows, check_dtype=False)
    with tempfile.TemporaryDirectory() as folder:
        write_csv(manifest, Path(folder) / "frozen.csv")
        again = load_manifest(f"{folder}/frozen.csv")
        assert described(again) == described(manifest)
        pd.testing.assert_frame_equal(again.rows, table, check_dtype=False)
        assert again.digest == manifest.digest
