"""A table of any kind is a dataset, whatever its columns are called, and what was assumed of it is
noted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import scipy.io
from commands import called
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache.layout import load_cached_manifest
from vqa_twostage.pipeline.datasets.export import write_csv
from vqa_twostage.pipeline.datasets.loading import load_manifest, releases_of
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.datasets.own_table import KINDS
from vqa_twostage.pipeline.errors import UsageError

Columns = dict[str, list[Any]]
ROWS: Columns = {
    "File": ["a.mp4", "sub/b, second.mp4", "c.mp4"],
    "Overall_MOS": [1.5, 4, 2.25],
    "Group": ["x", "x", "y"],
    "mos": [9, 9, 8],
}
OWN = {"mos_column": "overall_mos", "path_column": "FILE"}


def as_text(separator: str) -> Callable[[Path, Columns], None]:
    def write(path: Path, table: Columns) -> None:
        rows = [[*table], *zip(*table.values(), strict=True)]
        path.write_text("\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows))

    return write


def as_sheet(path: Path, table: Columns) -> None:
    book = openpyxl.Workbook()
    for row in [[*table], *zip(*table.values(), strict=True)]:
        book.active.append(list(row))
    book.save(path)


def as_matlab(path: Path, table: Columns) -> None:
    variables = {
        name: np.array(column, object if isinstance(column[0], str) else np.float64)
        for name, column in table.items()
    }
    scipy.io.savemat(path, variables)


def as_json(path: Path, table: Columns) -> None:
    path.write_text(json.dumps(table))


def as_lines(path: Path, table: Columns) -> None:
    rows = zip(*table.values(), strict=True)
    path.write_text("\n".join(json.dumps(dict(zip(table, row, strict=True))) for row in rows))


WRITERS: dict[str, Callable[[Path, Columns], None]] = {
    ".csv": as_text(","),
    ".tsv": as_text("\t"),
    ".txt": as_text(";"),
    ".xlsx": as_sheet,
    ".mat": as_matlab,
    ".json": as_json,
    ".jsonl": as_lines,
}


def table(folder: Path, text: str, name: str = "own.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_kind_of_label_file_is_tried() -> None:
    assert set(WRITERS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_table_of_any_kind_is_read_by_the_columns_that_are_named(kind: str, tmp_path: Path) -> None:
    WRITERS[kind](path := tmp_path / f"Ratings{kind.upper()}", ROWS)
    manifest = load_manifest(path, **OWN)
    assert (manifest.name, manifest.root) == ("Ratings", tmp_path)
    assert manifest.label == ("overall_mos" if kind == ".mat" else "Overall_MOS")
    assert list(manifest.rows["path"]) == list(manifest.rows["id"]) == ROWS["File"]
    assert list(manifest.rows["mos"]) == [1.5, 4, 2.25]
    assert list(manifest.rows["group"]) == ["x", "x", "y"]
    assert (manifest.scale, manifest.better) == ((1.5, 4), "higher")
    assert releases_of(path) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_table_of_any_kind_with_the_usual_names_needs_no_options(kind: str, tmp_path: Path) -> None:
    usual = {"Path": ROWS["File"], "MOS": ROWS["Overall_MOS"], "ID": ["1", "2", "3"]}
    WRITERS[kind](path := tmp_path / f"own{kind}", usual)
    manifest = load_manifest(path)
    assert list(manifest.rows["id"]) == ["1", "2", "3"] and manifest.label == "MOS"
    assert list(manifest.rows["mos"]) == [1.5, 4, 2.25]


def test_json_with_a_label_for_each_path_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, '{"a.mp4": 3.5, "b.mp4": 2}', "own.json")
    rows = load_manifest(path, path_column="key", mos_column="value").rows
    assert list(zip(rows["path"], rows["mos"], strict=True)) == [("a.mp4", 3.5), ("b.mp4", 2)]


def test_what_is_said_of_a_table_is_as_in_a_toml(tmp_path: Path) -> None:
    path = table(tmp_path, "path,DMOS\na.mp4,30\nb.mp4,60\n")
    manifest = load_manifest(path, mos_column="dmos", scale=(0.0, 100.0), better="lower")
    assert (manifest.label, manifest.scale, manifest.better) == ("DMOS", (0, 100), "lower")
    assert not manifest.assumed and not any("scale" in note for note in manifest.remarks)
    described = table(
        tmp_path,
        'title = "own"\nlabel = "DMOS"\nscale = [0, 100]\nbetter = "lower"\n'
        'labels = [{ file = "own.csv", columns = { id = "path", mos = "DMOS" } }]\n'
        'layouts = [{ name = "flat", videos = "{id}" }]\n',
        "own.toml",
    )
    other = load_manifest(described, tmp_path)
    for fact in ("title", "label", "scale", "better"):
        assert getattr(manifest, fact) == getattr(other, fact)


def test_what_is_assumed_of_a_table_is_noted(tmp_path: Path) -> None:
    manifest = load_manifest(table(tmp_path, "path,DMOS\na.mp4,30\nb.mp4,60\n"), mos_column="DMOS")
    told = " ".join(manifest.remarks)
    assert "the scale is taken from the labels, 30 to 60; --scale sets another" in told
    assert "higher DMOS is taken for the better quality; where lower is, give --better low" in told
    assert set(manifest.assumed) == {"scale", "better"}


def test_labels_outside_the_scale_are_noted(tmp_path: Path) -> None:
    path = table(tmp_path, "path,mos\na.mp4,30\nb.mp4,60\nc.mp4,5\n")
    told = load_manifest(path, scale=(1.0, 5.0)).remarks
    assert any("2 of 3 labels are not in the scale of 1 to 5; they reach from 5" in s for s in told)
    assert not any("not in the scale" in note for note in load_manifest(path).remarks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (5.0, 1.0)}, "--scale 5 1: give the lowest and the highest possible label"),
        ({"scale": (1.0, 1.0)}, "--scale 1 1: give the lowest"),
        ({"scale": (1.0, math.inf)}, "--scale 1 inf: give the lowest"),
        ({"scale": (math.nan, 2.5)}, "--scale nan 2.5: give the lowest"),
        ({"better": "more"}, "--better more: choose higher or lower"),
        ({"mos_column": "qualty"}, "no column qualty; .* are path, quality, mos. Name the columns"),
        ({"path_column": "file"}, "no column file; .* with --path-column NAME and --mos-column"),
    ],
)
def test_what_cannot_be_said_of_a_table_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = table(tmp_path, "path,quality,mos\na.mp4,30,1\nb.mp4,60,2\n")
    with pytest.raises(UsageError, match=message):
        load_manifest(path, **options)


@pytest.mark.parametrize("option", ["mos_column", "path_column", "scale", "better"])
def test_what_a_file_says_of_itself_is_not_said_again(option: str, tmp_path: Path) -> None:
    value: Any = {"scale": (1.0, 5.0), "better": "lower"}.get(option, "mos")
    written = f"--{option.replace('_', '-')}"
    write_csv(load_manifest(table(tmp_path, "path,mos\na,1\n")), tmp_path / "frozen.csv")
    with pytest.raises(UsageError, match=f"says everything itself; leave out {written}"):
        load_manifest(tmp_path / "frozen.csv", **{option: value})
    with pytest.raises(UsageError, match=rf"{written} would change what .*konvid\.toml says of"):
        load_manifest("konvid", tmp_path, **{option: value})


# --- without a header ---


@pytest.mark.parametrize("name", ["labels.txt", "labels.csv", "labels.tsv"])
@pytest.mark.parametrize("separator", [",", ", ", ";", "\t", " "])
@pytest.mark.parametrize("middle", [("-1", "-1"), ("10.0", "29.97")])
def test_rows_of_path_duration_rate_and_label_need_no_header(
    name: str, separator: str, middle: tuple[str, str], tmp_path: Path
) -> None:
    """As FAST-VQA and DOVER publish labels; -1 stands for what is unknown."""
    rows = [("a/1.mp4", *middle, "80.232"), ("b 2.mp4" if separator != " " else "b", *middle, "6")]
    path = table(tmp_path, "\n".join(map(separator.join, rows)) + "\n", name)
    manifest = load_manifest(path)
    assert list(manifest.rows["path"]) == [row[0] for row in rows]
    assert list(manifest.rows["mos"]) == [80.232, 6]
    assert "there is no header: columns are taken for path, duration, fps, mos" in manifest.notes
    assert not any("not used" in note for note in manifest.notes)
    assert load_manifest(path, scale=(0.0, 100.0)).scale == (0, 100)


@pytest.mark.parametrize(
    "row",
    ["a.mp4,3.5", "a.mp4 3.5", "3.5,a.mp4", "a.mp4,10,3.5", "a.mp4,x,y,3.5", "a.mp4,1,2,3,4"],
)
def test_other_tables_without_a_header_are_refused_with_the_forms_that_are_read(
    row: str, tmp_path: Path
) -> None:
    message = (
        r"has no header: its first row is .*rows of 4 cells are read, path, duration, fps, mos"
    )
    with pytest.raises(UsageError, match=message):
        load_manifest(table(tmp_path, f"{row}\n{row.replace('a', 'b')}\n", "own.txt"))


def test_columns_of_a_table_without_a_header_have_no_names(tmp_path: Path) -> None:
    path = table(tmp_path, "a.mp4, -1, -1, 3\n", "own.txt")
    with pytest.raises(UsageError, match="has no header, .* leave out --mos-column and --path"):
        load_manifest(path, mos_column="quality")


def test_header_may_have_numbers_for_names(tmp_path: Path) -> None:
    text = "path,quality,1,2\na.mp4,3.5,7,8\n"
    with pytest.raises(UsageError, match="no column mos; .* are path, quality, 1, 2"):
        load_manifest(table(tmp_path, text))
    assert list(load_manifest(table(tmp_path, text), mos_column="quality").rows["mos"]) == [3.5]
    assert list(load_manifest(table(tmp_path, text), mos_column="2").rows["mos"]) == [8]


def test_row_that_is_longer_or_wrong_is_told_with_its_place(tmp_path: Path) -> None:
    path = table(tmp_path, "a.mp4, -1, -1, 3\nb, c.mp4, -1, -1, 3\n", "own.txt")
    with pytest.raises(UsageError, match=r"own\.txt, row 2 has 5 cells, but there are 4 columns"):
        load_manifest(path)
    path.write_text("a.mp4, -1, -1, 3\nb.mp4, -1, -1, good\n")
    with pytest.raises(UsageError, match=r"own\.txt, row 2, column mos: 'good' is not a number"):
        load_manifest(path)


@settings(deadline=None)
@given(
    st.sampled_from([".csv", ".txt", ".tsv", ".json", ".jsonl"]),
    st.text(max_size=60) | st.text('path,mos 1.\n-\t;[]{}":', max_size=40),
    st.sampled_from([{}, {"mos_column": "1"}, {"path_column": "mos"}, OWN]),
)
def test_no_text_is_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, kind: str, text: str, options: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{kind}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(UsageError):
        assert isinstance(load_manifest(path, **options), Manifest)


# --- commands ---


@pytest.mark.parametrize("words", [["vqa-data", "check"], ["vqa-data", "export"]])
def test_commands_on_data_take_what_is_said_of_a_table(words: list[str], own_clips: Path) -> None:
    labels = own_clips / "mos.csv"
    labels.write_text(labels.read_text().replace("mos", "Quality", 1))
    said = ["--mos-column", "quality", "--scale", "1", "5", "--better", "lower"]
    output = ["--output", "frozen.csv"] if "export" in words else []
    done = called(*words, labels, *said, *output, cwd=own_clips)
    assert done.returncode == 0, done.stderr
    if not output:
        assert "Quality 1 to 3.5 on a scale of 1 to 5, lower is better" in done.stdout
        return
    frozen = load_manifest(own_clips / "frozen.csv")
    assert (frozen.label, frozen.scale, frozen.better) == ("Quality", (1, 5), "lower")


def test_imports_take_what_is_said_of_a_table_and_know_it_from_the_cache(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(6)]
    rows = "".join(f"{name}\t{6 - row}\n" for row, name in enumerate(names))
    table(tmp_path, "path\tDMOS\n" + rows, "own.tsv")
    np.savez(tmp_path / "net.npz", features=np.random.default_rng(1).random((6, 4)), ids=names)
    scores = "".join(f"{name},{row}\n" for row, name in enumerate(names))
    table(tmp_path, "video,score\n" + scores, "scores.csv")
    said = ["--dataset", "own.tsv", "--mos-column", "dmos"]
    net = ["vqa-cache", "import", "net.npz", "--kind", "spatial", "--name", "net", "--key=features"]
    done = called(*net, *said, "--scale", "0", "9", "--better", "lower", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = called("vqa-fuse", "import-scores", "scores.csv", "--name", "x", *said, cwd=tmp_path)
    assert done.returncode == 0 and "mirrored" in done.stdout, done.stderr
    cached = load_cached_manifest(tmp_path / "cache", "own")
    assert (cached.label, cached.scale, cached.better) == ("DMOS", (0.0, 9.0), "lower")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "said", "label"),
    [
        ("ratings.tsv", ["--path-column", "file", "--mos-column", "quality"], "Quality"),
        ("labels.txt", [], "MOS"),
    ],
)
def test_commands_lead_from_an_own_table_to_a_model(
    name: str, said: list[str], label: str, own_clips: Path
) -> None:
    rows = load_manifest(own_clips / "mos.csv").rows
    pairs = list(zip(rows["path"], rows["mos"], strict=True))
    if name == "labels.txt":
        text = "".join(f"{file}, -1, -1, {mos}\n" for file, mos in pairs)
    else:
        text = "File\tQuality\n" + "".join(f"{file}\t{mos}\n" for file, mos in pairs)
    table(own_clips, text, name)
    words = ["vqa-extract", "--dataset", name, *said, "--scale", "0", "5", "--better", "lower"]
    words += ["--preset", "offline", "--sampler", "uniform:frames=1"]
    plan = called(*words, "--dry-run", "--json", cwd=own_clips)
    assert plan.returncode == 0 and json.loads(plan.stdout)["videos"] == 6, plan.stderr
    assert called(*words, cwd=own_clips).returncode == 0
    train = ["vqa-fuse", "train", "--dataset", name, "--epochs", "2", "--members", "1"]
    train += ["--protocol", "random:n=1", "--workers", "1", "--run", "run"]
    trained = called(*train, cwd=own_clips)
    assert trained.returncode == 0 and f"labels: {label}" in trained.stdout, trained.stderr
    record = json.loads((own_clips / "run" / "run.json").read_text())
    assert list(record["scale"]) == [0, 5]
    scored = called("vqa-fuse", "score", pairs[0][0], "--run", "run", "--json", cwd=own_clips)
    assert scored.returncode == 0 and '"better": "lower"' in scored.stdout, scored.stderr
