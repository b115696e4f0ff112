"""Label files of every kind are read cell by cell, and errors name the file, row and column."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openpyxl
import pytest
import scipy.io
import scipy.sparse
from scipy.io.matlab import MatlabObject

from vqa_twostage.pipeline.datasets.label_files import long_cells, read_table
from vqa_twostage.pipeline.datasets.rows import read_rows
from vqa_twostage.pipeline.datasets.schema import LabelFile
from vqa_twostage.pipeline.errors import UsageError

COLUMNS = {"id": "name", "mos": "mos"}
ROWS = [("007", 1.5), ("12345678901234567890", 4.0), ("café, crème", 2.25)]


def read(
    path: Path, columns: dict[str, str] | None = None, **options: Any
) -> list[tuple[str, float]]:
    label = LabelFile((path.name,), columns or COLUMNS, **options)
    rows, _ = read_rows(read_table(path, label, list(label.columns.values())), label)
    return [(row.id, row.mos) for row in rows]


def cells(*texts: str) -> np.ndarray:
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def write_sheet(path: Path, table: list[list[Any]], sheet: str = "MOS") -> None:
    book = openpyxl.Workbook()
    book.active.title = "about"
    page = book.create_sheet(sheet)
    for row in table:
        page.append(row)
    book.save(path)


def write_matlab_73(path: Path, variables: dict[str, Any]) -> None:
    """Writes a file like MATLAB's ``save -v7.3``: axes reversed, text as UTF-16 code units, cells
    as references.
    """

    def store(group: h5py.Group, name: str, value: Any) -> h5py.Dataset:
        if isinstance(value, dict):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, item in value.items():
                store(inner, key, item)
            return inner
        if isinstance(value, str):
            item = group.create_dataset(
                name, data=np.frombuffer(value.encode("utf-16-le"), np.uint16).reshape(-1, 1)
            )
            item.attrs["MATLAB_class"] = np.bytes_("char")
        elif isinstance(value, list):
            inside = [
                store(file["#refs#"], f"{name}{i}", entry).ref for i, entry in enumerate(value)
            ]
            item = group.create_dataset(name, (1, len(value)), h5py.ref_dtype)
            item[0, :] = inside
            item.attrs["MATLAB_class"] = np.bytes_("cell")
        else:
            item = group.create_dataset(name, data=np.asarray(value).T)
            item.attrs["MATLAB_class"] = np.bytes_("double")
        return item

    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, value in variables.items():
            store(file, name, value)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [".", ","])
def test_text_is_read_with_any_separator_and_decimal_mark(
    separator: str, mark: str, tmp_path: Path
) -> None:
    rows = [f'"{name}"{separator}"{str(mos).replace(".", mark)}"' for name, mos in ROWS]
    text = "\n".join([f"name{separator}mos", *rows]) + "\n"
    (tmp_path / "labels.csv").write_text(text)
    assert read(tmp_path / "labels.csv") == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_text_is_read_with_any_encoding_line_ending_and_empty_cells_that_programs_write(
    encoding: str, ending: str, tmp_path: Path
) -> None:
    lines = [
        "",
        "name,other,mos,,",
        "007, x ,1.5,,",
        ",,,,",
        '"12345678901234567890",,4',
        '"café, crème","y",2.25',
        "",
    ]
    (tmp_path / "labels.csv").write_bytes(ending.join(lines).encode(encoding))
    assert read(tmp_path / "labels.csv") == ROWS


def test_text_in_another_encoding_is_read_if_the_schema_names_it(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("name,mos\ncafé,3\n".encode("latin-1"))
    assert read(tmp_path / "labels.csv", encoding="latin-1") == [("café", 3.0)]


def test_text_without_a_header_is_read_by_the_names_in_the_schema(tmp_path: Path) -> None:
    """The labels.txt of FAST-VQA and DOVER; -1 stands for an unknown duration or frame rate."""
    (tmp_path / "labels.txt").write_text(
        "clips/A001.mp4, -1, -1, 80.232\nclips/A002.mp4, 10.0, 29.97, 6.2\n"
    )
    columns, header = {"id": "path", "mos": "mos"}, ("path", "duration", "fps", "mos")
    assert read(tmp_path / "labels.txt", columns, header=header) == [
        ("clips/A001", 80.232),
        ("clips/A002", 6.2),
    ]
    with pytest.raises(
        UsageError, match=r"labels\.txt, row 1 has 4 cells, but there are 3 columns"
    ):
        read(tmp_path / "labels.txt", columns, header=("path", "fps", "mos"))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_text_without_a_header_may_have_decimal_commas(mark: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"A001.mp4{mark}3,5\nA002.mp4{mark}4,5\n")
    assert read(tmp_path / "labels.txt", header=("name", "mos")) == [("A001", 3.5), ("A002", 4.5)]


def test_text_with_two_possible_separators_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("A001.mp4 3,5\nA002.mp4 4,5\n")
    with pytest.raises(
        UsageError, match=r"labels\.txt: the separator could be ',' or ' '; give it as separator"
    ):
        read(tmp_path / "labels.txt", header=("name", "mos"))
    assert read(tmp_path / "labels.txt", header=("name", "mos"), separator=" ") == [
        ("A001", 3.5),
        ("A002", 4.5),
    ]


def test_text_uses_the_separator_that_excel_declares(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("sep=;\nname;mos\nx;1,5\n")
    assert read(tmp_path / "labels.csv") == [("x", 1.5)]


def test_columns_that_are_not_wanted_may_be_repeated_or_have_long_cells(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"name,x,x,mos\na,1,2,3\nb,{'y' * 200_000},2,3\n")
    assert read(tmp_path / "labels.csv") == [("a", 3.0), ("b", 3.0)]


def test_long_cells_do_not_change_the_limit_of_csv_for_others(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"name,mos\n{'y' * 200_000},3\n")
    limit = csv.field_size_limit()
    assert len(read(tmp_path / "labels.csv")[0][0]) == 200_000
    (tmp_path / "labels.csv").write_text('name,mos\n"y,3\n')
    with pytest.raises(UsageError, match="is a quotation mark not closed"):
        read(tmp_path / "labels.csv")
    assert csv.field_size_limit() == limit


def test_long_cells_in_overlapping_blocks_restore_the_limit_of_csv_at_the_end() -> None:
    limit = csv.field_size_limit()
    first, second = long_cells(), long_cells()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert csv.field_size_limit() > limit
    second.__exit__(None, None, None)
    assert csv.field_size_limit() == limit


def test_ids_with_an_extension_may_look_like_rounded_numbers(
    tmp_path: Path,
) -> None:
    (tmp_path / "labels.csv").write_text("name,mos\n5e123456.mp4,1\n")
    assert read(tmp_path / "labels.csv") == [("5e123456", 1.0)]


def test_standard_deviations_may_be_missing_but_not_negative(tmp_path: Path) -> None:
    label_file = LabelFile(("a.csv",), COLUMNS | {"mos_std": "std"})
    (tmp_path / "a.csv").write_text("name,mos,std\nx,1,NaN\ny,2,0.5\nz,2,\n")
    rows, _ = read_rows(
        read_table(tmp_path / "a.csv", label_file, ["name", "mos", "std"]), label_file
    )
    assert [row.mos_std for row in rows[1:2]] == [0.5] and np.isnan(
        [rows[0].mos_std, rows[2].mos_std]
    ).all()
    (tmp_path / "a.csv").write_text("name,mos,std\nx,1,-1\n")
    with pytest.raises(UsageError, match="row 2, column std: '-1' is negative"):
        read_rows(read_table(tmp_path / "a.csv", label_file, ["name", "mos", "std"]), label_file)


def test_sheet_keeps_ids_of_cells_of_any_type(tmp_path: Path) -> None:
    table = [[None, None], ["name", "mos"], [8536919744, 4], ["007", 1.5], [None, None], [3.5, 2]]
    write_sheet(tmp_path / "labels.xlsx", table)
    assert read(tmp_path / "labels.xlsx", sheet="MOS") == [
        ("8536919744", 4.0),
        ("007", 1.5),
        ("3.5", 2.0),
    ]
    with pytest.raises(
        UsageError,
        match=r"labels\.xlsx has several sheets; give one .* sheet under labels .* about, MOS",
    ):
        read(tmp_path / "labels.xlsx")


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_matlab_files_of_versions_5_and_7_3_are_read(version: str, tmp_path: Path) -> None:
    names, mos = [name for name, _ in ROWS], np.array([[mos] for _, mos in ROWS])
    columns = {"id": "data.names", "mos": "scores"}
    if version == "5":
        scipy.io.savemat(
            tmp_path / "labels.mat",
            {"data": {"names": cells(*names)}, "scores": mos, "other": np.eye(3)},
        )
    else:
        write_matlab_73(
            tmp_path / "labels.mat", {"data": {"names": names}, "scores": mos, "other": np.eye(3)}
        )
    assert read(tmp_path / "labels.mat", columns) == ROWS
    with pytest.raises(
        UsageError,
        match=r"labels\.mat has no column data\.mos; the columns are (.*)data\.names.*other",
    ):
        read(tmp_path / "labels.mat", {"id": "data.names", "mos": "data.mos"})


def test_matlab_struct_arrays_are_read(tmp_path: Path) -> None:
    info = np.array([("a", 1.0), ("b", 2.0)], dtype=[("name", object), ("mos", object)])
    scipy.io.savemat(tmp_path / "labels.mat", {"info": info})
    assert read(tmp_path / "labels.mat", {"id": "info.name", "mos": "info.mos"}) == [
        ("a", 1.0),
        ("b", 2.0),
    ]


def test_matlab_text_beyond_the_basic_plane_is_read(tmp_path: Path) -> None:
    write_matlab_73(tmp_path / "labels.mat", {"name": ["x😀", "café"], "mos": [[1.0], [2.0]]})
    assert read(tmp_path / "labels.mat") == [("x😀", 1.0), ("café", 2.0)]


def test_matlab_file_with_hdf5_strings_is_refused_and_they_are_not_taken_for_references(
    tmp_path: Path,
) -> None:
    with h5py.File(tmp_path / "labels.mat", "w") as file:
        file["mos"] = [[1.0]]
        file["name"] = np.array(["mos"], dtype=h5py.string_dtype())
    with pytest.raises(UsageError, match="name contains HDF5 strings, which MATLAB does not write"):
        read(tmp_path / "labels.mat")


def test_matlab_cells_that_are_nested_exponentially_are_refused_at_once(tmp_path: Path) -> None:
    write_matlab_73(tmp_path / "labels.mat", {"mos": [[1.0]]})
    with h5py.File(tmp_path / "labels.mat", "r+") as file:
        cell = file["#refs#"].create_dataset("end", data=np.zeros((1, 1)))
        for level in range(30):
            above = file["#refs#"].create_dataset(f"level{level}", (1, 2), h5py.ref_dtype)
            above[0, :] = [cell.ref, cell.ref]
            above.attrs["MATLAB_class"] = np.bytes_("cell")
            cell = above
        file["name"] = cell
    with pytest.raises(UsageError, match="is nested too deeply"):
        read(tmp_path / "labels.mat")


def test_matlab_info_file_of_vsfa_is_read(tmp_path: Path) -> None:
    index = np.array([[1, 3, 2], [2, 1, 3]])
    info = {
        "video_names": ["a/1.mp4", "b/2.mp4", "c/3.mp4"],
        "scores": [[1.0], [2.0], [3.5]],
        "ref_ids": [[1.0]] * 3,
    }
    write_matlab_73(tmp_path / "info.mat", {**info, "index": index})
    columns = {"id": "video_names", "mos": "scores", "group": "ref_ids"}
    assert read(tmp_path / "info.mat", columns) == [("a/1", 1.0), ("b/2", 2.0), ("c/3", 3.5)]
    with pytest.raises(UsageError, match="video_names has 3 entries, index has 6 entries"):
        read(tmp_path / "info.mat", {"id": "video_names", "mos": "index"})


@pytest.mark.parametrize(
    "document",
    [
        [{"name": name, "mos": mos, "frames": [1, 2]} for name, mos in ROWS],
        {"annotations": [{"name": [name], "mos": mos} for name, mos in ROWS]},
        {"name": [name for name, _ in ROWS], "mos": [mos for _, mos in ROWS]},
    ],
)
def test_json_may_be_a_list_of_objects_or_an_object_of_lists(document: Any, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(document))
    assert read(tmp_path / "labels.json") == ROWS


def test_json_may_have_a_key_or_a_line_for_each_video(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(dict(ROWS)))
    assert read(tmp_path / "a.json", {"id": "key", "mos": "value"}) == ROWS
    (tmp_path / "b.json").write_text(json.dumps({name: {"mos": mos} for name, mos in ROWS}))
    assert read(tmp_path / "b.json", {"id": "key", "mos": "mos"}) == ROWS
    (tmp_path / "d.json").write_text(json.dumps({"a.mp4": {"mos": 3, "key": "other"}}))
    assert read(tmp_path / "d.json", {"id": "key", "mos": "mos"}) == [("a", 3.0)]
    lines = [
        json.dumps({"name": name, "mos": mos, "note": "a\u2028b"}, ensure_ascii=False)
        for name, mos in ROWS
    ]
    (tmp_path / "c.jsonl").write_text("\n\n".join(lines), encoding="utf-16")
    assert read(tmp_path / "c.jsonl") == ROWS


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"a\.csv is empty"),
        ("a.csv", b"\n;;\n", r"a\.csv is empty"),
        ("a.csv", b"name,mos\n", r"a\.csv has a header but no rows"),
        (
            "a.csv",
            b"name;score\nx;1\n",
            r"a\.csv has no column mos; the columns in its first row are name, score",
        ),
        ("a.csv", b"name,mos,mos\nx,1,2\n", r"a\.csv has the column mos twice"),
        (
            "a.csv",
            b"name,mos\nx,1\n\ny,good\nz,bad\n",
            r"row 4, column mos: 'good' is not a number \(2 such rows\)",
        ),
        ("a.csv", b"name,mos\nx,nan\n", r"row 2, column mos: 'nan' is not a number"),
        ("a.csv", b"name,mos\nx,\n", r"row 2, column mos: '' is not a number"),
        ("a.csv", b"name,mos\nx,inf\n", r"row 2, column mos: 'inf' is not a number"),
        (
            "a.csv",
            b"name;mos\nx;1,5\ny;2.5\n",
            r"row 3, column mos: '2\.5' is not a number with a decimal comma",
        ),
        ("a.csv", b"name,mos\n,1\n", r"row 2, column name: the cell is empty"),
        (
            "a.csv",
            b"name,mos\n8.53692E+09,1\n",
            r"row 2, column name: '8\.53692E\+09' .* spreadsheet has rounded",
        ),
        (
            "a.csv",
            b"name,mos\nx,1\nbad, name,2\n",
            r"row 3 has 3 cells, but there are 2 columns \(name, mos\)",
        ),
        (
            "a.csv",
            b"name,mos\nx,1\ncaf\xe9,2\n",
            r"row 3, column name: 'caf\\xe9' is not UTF-8; save the file in UTF-8",
        ),
        ("a.csv", b"PK\x03\x04\0\0\0", r"a\.csv is not text, as a \.csv must be"),
        ("a.xlsx", b"name,mos\nx,1\n", r"a\.xlsx cannot be read as \.xlsx"),
        ("a.mat", b"name,mos\nx,1\n", r"a\.mat cannot be read as \.mat"),
        ("a.json", b'{"name": ["x"], "mos": [1]', r"a\.json is not JSON: "),
        (
            "a.jsonl",
            b'{"name": "x", "mos": 1}\n{"name": "y" "mos": 2}',
            r"a\.jsonl, row 2 is not JSON: ",
        ),
        (
            "a.json",
            b'[{"name": 8.53692E+09, "mos": 1}]',
            r"row 1, column name: '8\.53692E\+09' .* spreadsheet has rounded",
        ),
        (
            "a.json",
            b'[{"name": "a\\ud800b", "mos": 1}]',
            r"row 1, column name: .* is not valid Unicode",
        ),
        ("a.json", b'{"x": 1, "x": 2}', r"a\.json: an object has the key x twice"),
        ("a.json", b'{"name": ["x"], "mos": [1, 2]}', r"name has 1 entries, mos has 2 entries"),
        ("a.json", b'[{"name": "x", "mos": NaN}]', r"row 1, column mos: 'NaN' is not a number"),
        ("a.json", b'[{"name": "x", "mos": 1}, 3]', r"a\.json, row 2: '3' is not an object"),
        ("a.json", b"3", r"a\.json does not contain a table"),
        ("a.json", b"[]", r"a\.json has no column name, mos"),
        ("a.pdf", b"%PDF", r"a\.pdf is not a label file of a known kind; give one of \.csv, \.txt"),
    ],
)
def test_errors_name_the_file_row_and_column(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_cells_that_are_not_wanted_may_be_in_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"name,mos,city\nx,1,Malm\xf6\n")
    assert read(tmp_path / "a.csv") == [("x", 1.0)]


def test_missing_sheet_is_an_error_that_lists_the_existing_ones(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.xlsx", [["name", "mos"], ["x", 1]], sheet="DMOS")
    with pytest.raises(UsageError, match=r"a\.xlsx has no sheet MOS; choose from about, DMOS"):
        read(tmp_path / "a.xlsx", sheet="MOS")


def test_sheet_errors_name_the_row(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.xlsx", [["name", "mos"], ["x", 1], ["y", "good"]])
    with pytest.raises(UsageError, match=r"a\.xlsx, row 3, column mos: 'good' is not a number"):
        read(tmp_path / "a.xlsx", sheet="MOS")


@pytest.mark.parametrize("kind", ["object", "sparse", "complex", "nested cell"])
def test_matlab_file_of_version_5_with_anything_but_plain_values_is_refused(
    kind: str, tmp_path: Path
) -> None:
    nested = np.empty((1, 1), object)
    nested[0, 0] = cells("a", "b")
    thing: Any = {
        "object": MatlabObject(np.array([(np.eye(1),)], dtype=[("data", object)]), "table"),
        "sparse": scipy.sparse.eye(2).tocsc(),
        "complex": np.array([[1 + 2j], [3]]),
        "nested cell": nested,
    }[kind]
    scipy.io.savemat(tmp_path / "a.mat", {"name": thing, "mos": np.array([[1.0], [2.0]])})
    message = {
        "object": "name contains objects",
        "sparse": "name is sparse",
        "complex": "values that are complex",
    }
    with pytest.raises(
        UsageError, match=rf"a\.mat.*{message.get(kind, 'name, entry 1: there are several values')}"
    ):
        read(tmp_path / "a.mat")


@pytest.mark.parametrize("kind", ["object", "function", "link", "elsewhere"])
def test_matlab_file_of_version_7_3_with_objects_or_links_is_refused(
    kind: str, tmp_path: Path
) -> None:
    write_matlab_73(tmp_path / "a.mat", {"mos": [[1.0]]})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        if kind == "link":
            file["name"] = h5py.ExternalLink("elsewhere.mat", "/name")
        elif kind == "elsewhere":
            file.create_dataset("name", (1,), "f8", external=[("other.bin", 0, 8)])
        else:
            file["name"] = np.zeros((1, 6), np.uint32)
            file["name"].attrs["MATLAB_class"] = np.bytes_(
                "table" if kind == "object" else "function_handle"
            )
            file["name"].attrs["MATLAB_object_decode"] = np.int32(3 if kind == "object" else 1)
    messages = {
        "object": "contains objects",
        "function": "contains a function",
        "link": "is a link",
        "elsewhere": "another file",
    }
    with pytest.raises(UsageError, match=rf"a\.mat: .*name.*{messages[kind]}"):
        read(tmp_path / "a.mat")


def test_values_are_translated_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,mos,is_test\nx,1,False\ny,2,true\nz,3,perhaps\n")
    label_file = LabelFile(
        ("a.csv",),
        COLUMNS | {"split": "is_test"},
        values={"split": {"False": "train", "True": "test"}},
    )
    with pytest.raises(
        UsageError,
        match=r"row 4, column is_test: 'perhaps' is not a known value; choose from False, True",
    ):
        read_rows(
            read_table(tmp_path / "a.csv", label_file, ["name", "mos", "is_test"]), label_file
        )


OTHER_CASE = {"Name": [name for name, _ in ROWS], "MOS": [mos for _, mos in ROWS]}


@pytest.mark.parametrize("kind", ["list", "lists", "lines", "keyed", "v5", "v7.3", "sheet", "text"])
def test_columns_of_every_kind_of_file_are_found_in_any_letter_case(
    kind: str, tmp_path: Path
) -> None:
    records = [dict(zip(OTHER_CASE, row, strict=True)) for row in ROWS]
    columns, path = COLUMNS, tmp_path / "labels.json"
    if kind == "list":
        path.write_text(json.dumps(records))
    elif kind == "lists":
        path.write_text(json.dumps(OTHER_CASE))
    elif kind == "lines":
        path = path.with_suffix(".jsonl")
        path.write_text("\n".join(map(json.dumps, records)))
    elif kind == "keyed":
        path.write_text(json.dumps({name: {"Mos": mos} for name, mos in ROWS}))
        columns = {"id": "key", "mos": "mos"}
    elif kind == "v5":
        path = path.with_suffix(".mat")
        names = cells(*OTHER_CASE["Name"])
        scipy.io.savemat(path, {"Info": {"Name": names}, "MOS": OTHER_CASE["MOS"]})
        columns = {"id": "info.name", "mos": "mos"}
    elif kind == "v7.3":
        path = path.with_suffix(".mat")
        scores = np.array([OTHER_CASE["MOS"]])
        write_matlab_73(path, {"Info": {"Name": OTHER_CASE["Name"]}, "MOS": scores})
        columns = {"id": "info.name", "mos": "mos"}
    elif kind == "sheet":
        path = path.with_suffix(".xlsx")
        write_sheet(path, [[*OTHER_CASE], *map(list, ROWS)])
    else:
        path = path.with_suffix(".tsv")
        path.write_text("\n".join(["Name\tMOS", *(f'"{name}"\t{mos}' for name, mos in ROWS)]))
    assert read(path, columns, sheet="MOS" if kind == "sheet" else "") == ROWS


@pytest.mark.parametrize("kind", [".json", ".mat"])
def test_of_two_columns_that_differ_by_letter_case_alone_neither_is_taken(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"labels{kind}"
    if kind == ".json":
        path.write_text(json.dumps({"name": ["a", "b"], "MOS": [1, 2], "Mos": [3, 4]}))
    else:
        scipy.io.savemat(path, {"name": cells("a", "b"), "MOS": [1, 2], "Mos": [3, 4]})
    with pytest.raises(UsageError, match="no column mos; .* MOS and Mos differ by letter case"):
        read(path)
    assert read(path, {"id": "name", "mos": "Mos"}) == [("a", 3.0), ("b", 4.0)]


@pytest.mark.parametrize("kind", [".csv", ".json", ".mat"])
@pytest.mark.parametrize("there", [True, False])
def test_optional_column_may_be_lacking(kind: str, there: bool, tmp_path: Path) -> None:
    path = tmp_path / f"labels{kind}"
    table = {"name": ["a", "b"], "mos": [1, 2], **({"is_test": ["no", "yes"]} if there else {})}
    if kind == ".csv":
        rows = zip(*table.values(), strict=True)
        path.write_text("\n".join([",".join(table), *(",".join(map(str, row)) for row in rows)]))
    elif kind == ".json":
        path.write_text(json.dumps(table))
    else:
        texts = {"name", "is_test"}
        variables = {
            name: cells(*map(str, column)) if name in texts else column
            for name, column in table.items()
        }
        scipy.io.savemat(path, variables)
    label_file = LabelFile(
        (path.name,),
        COLUMNS | {"split": "is_test"},
        optional=("split",),
        values={"split": {"no": "train", "yes": "test"}},
    )
    wanted = list(label_file.columns.values())
    rows_of, notes = read_rows(read_table(path, label_file, wanted), label_file)
    assert [(row.id, row.mos) for row in rows_of] == [("a", 1.0), ("b", 2.0)]
    assert [row.split for row in rows_of] == (["train", "test"] if there else ["", ""])
    lacking = f"{path.name} has no column is_test: split of its 2 videos is unknown"
    assert notes == ([] if there else [lacking])
