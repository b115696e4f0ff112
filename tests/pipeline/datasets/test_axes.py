"""Further labels of a dataset: found in a .csv and a TOML, kept in the manifest and its export, and
no part of what a dataset without them is.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forging import seal
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_cache import manifest_of

from vqa_twostage.pipeline.datasets.axes import Axis, axis_in, is_name, parse_axes
from vqa_twostage.pipeline.datasets.check import check_dataset, findings, is_sound, summary
from vqa_twostage.pipeline.datasets.export import write_csv
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError

TOML = """
title = "Two axes"
scale = [1, 5]

[[axes]]
name = "technical"
scale = [0, 100]
better = "lower"

[[labels]]
file = "labels.csv"
columns = { id = "name", mos = "MOS", mos_technical = "T" }

[[layouts]]
name = "flat"
videos = "{id}"
"""
names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True).filter(is_name)
finite = st.floats(allow_nan=False, allow_infinity=False)
axes = st.builds(Axis, names, st.tuples(finite, finite), st.sampled_from(["higher", "lower"]))


def own_csv(folder: Path, text: str) -> Path:
    path = folder / "own.csv"
    path.write_text(text, encoding="utf-8")
    return path


def own_toml(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    (folder / "labels.csv").write_text("name,MOS,T\na,1,70\nb,2,\n", encoding="utf-8")
    return path


def test_csv_columns_named_after_mos_are_further_labels(tmp_path: Path) -> None:
    text = "path,mos,MOS_Technical,mos_aesthetic,group\na.mp4,3,10,0.2,a\nb.mp4,4,20,0.4,b\n"
    manifest = load_manifest(own_csv(tmp_path, text))
    assert manifest.axes == (Axis("technical", (10.0, 20.0)), Axis("aesthetic", (0.2, 0.4)))
    assert list(manifest.rows["mos_technical"]) == [10, 20]
    assert "mos_aesthetic is a further label, 0.2 to 0.4" in "\n".join(manifest.notes)


def test_labels_of_a_csv_may_be_missing_for_some_videos(tmp_path: Path) -> None:
    text = "path,mos,mos_technical\na.mp4,3,1\nb.mp4,4,nan\nc.mp4,4,2\n"
    manifest = load_manifest(own_csv(tmp_path, text))
    assert manifest.axes == (Axis("technical", (1.0, 2.0)),)
    labels = Manifest.from_json(manifest.to_json()).rows["mos_technical"]
    assert list(labels[[0, 2]]) == [1, 2] and math.isnan(labels[1])


def test_other_columns_of_a_csv_are_no_labels(tmp_path: Path) -> None:
    text = "path,mos,technical,mos_std,mos_of,mos_same\na.mp4,3,1,.1,lab,7\nb.mp4,4,2,.2,home,7\n"
    manifest = load_manifest(own_csv(tmp_path, text))
    assert manifest.axes == () and "technical" not in manifest.rows
    notes = "\n".join(manifest.notes)
    assert "mos_of is not read as labels of an axis 'of'" in notes and "'lab'" in notes
    assert "mos_same is not read as labels of an axis 'same': all are the same" in notes
    assert "columns not used: technical, mos_of, mos_same" in notes


def test_toml_names_scale_and_direction_of_each_axis(tmp_path: Path) -> None:
    manifest = load_manifest(own_toml(tmp_path, TOML), tmp_path)
    assert manifest.axes == (Axis("technical", (0.0, 100.0), "lower"),)
    assert manifest.rows["mos_technical"][0] == 70 and math.isnan(manifest.rows["mos_technical"][1])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (', mos_technical = "T"', "", "labels of the axis 'technical'; add mos_technical = \"…\""),
        ('name = "technical"', 'name = "std"', "'std' is no name of an axis"),
        ("[0, 100]", "[5, 5]", "scale of the axis 'technical' is"),
        ('better = "lower"', 'better = "up"', "better of the axis 'technical' is 'up'"),
        ("scale = [0, 100]", "", "axes lacks scale"),
        ('mos_technical = "T"', 'mos_tecnical = "T"', "names the labels of the axis 'technical'"),
        ("mos_technical", 'mos_beauty = "T", mos_technical', "there is no axis 'beauty'"),
    ],
)
def test_toml_with_a_wrong_axis_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert TOML.count(old) == 1
    with pytest.raises(UsageError, match=message):
        load_manifest(own_toml(tmp_path, TOML.replace(old, new)), tmp_path)


def test_exported_manifest_keeps_axes_and_digests(tmp_path: Path) -> None:
    manifest = load_manifest(own_toml(tmp_path, TOML), tmp_path)
    write_csv(manifest, tmp_path / "frozen.csv")
    again = load_manifest(tmp_path / "frozen.csv", tmp_path)
    assert again.axes == manifest.axes
    assert again.digest == manifest.digest
    assert again.axis_digest("technical") == manifest.axis_digest("technical")


def test_exported_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    manifest = load_manifest(own_toml(tmp_path, TOML), tmp_path)
    path = tmp_path / "frozen.csv"
    write_csv(manifest, path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("technical 0.0", "technical low"), encoding="utf-8")
    with pytest.raises(UsageError, match="'technical low 100.0 lower' is not valid"):
        load_manifest(path, tmp_path)
    path.write_text(text.replace("mos_technical", "other"), encoding="utf-8")
    with pytest.raises(UsageError, match="lacks mos_technical, which its column axes describes"):
        load_manifest(path, tmp_path)


def test_manifest_without_axes_is_written_as_before() -> None:
    document = json.loads(manifest_of("toy", 2, 2).to_json())
    assert "axes" not in document
    assert set(document["rows"][0]) == {"id", "path", "mos", "mos_std", "group", "split"}


def test_further_labels_do_not_change_the_digest_of_the_main_ones() -> None:
    plain = manifest_of("toy", 2, 2)
    rows = plain.rows.assign(mos_technical=[1.0, 2, 3, 4])
    first = replace(plain, rows=rows, axes=(Axis("technical", (1.0, 4.0)),))
    other = replace(first, rows=rows.assign(mos_technical=[1.0, 2, 4, 3]))
    assert plain.digest == first.digest == other.digest
    assert first.axis_digest("technical") != other.axis_digest("technical")


@settings(deadline=None)
@given(st.lists(axes, max_size=4, unique_by=lambda axis: axis.name))
def test_axes_are_read_as_they_were_written(written: list[Axis]) -> None:
    assert parse_axes(";".join(axis.to_text() for axis in written)) == tuple(written)


@settings(deadline=None)
@given(st.text())
def test_any_other_text_gives_no_axes(text: str) -> None:
    found = parse_axes(text)
    assert found is None or all(is_name(axis.name) for axis in found)


@settings(deadline=None)
@given(names, st.lists(st.none() | finite, min_size=4, max_size=4))
def test_manifest_with_axes_is_read_from_what_it_wrote(
    name: str, labels: list[float | None]
) -> None:
    plain = manifest_of("toy", 2, 2)
    column = pd.Series(labels, dtype=float)
    rows = plain.rows.assign(**{f"mos_{name}": column})
    manifest = replace(plain, rows=rows, axes=(Axis(name, (-1.0, 1.0), "lower"),))
    again = Manifest.from_json(manifest.to_json())
    assert again.axes == manifest.axes
    assert np.array_equal(again.rows[f"mos_{name}"], column, equal_nan=True)
    assert again.axis_digest(name) == manifest.axis_digest(name)


ROW = {"id": "a", "path": "a.mp4", "mos": 3, "mos_std": None, "group": "a", "split": ""}
AXIS = {"name": "technical", "scale": [1, 5], "better": "higher"}
DOCUMENT: dict[str, Any] = {
    "name": "d",
    "title": "D",
    "label": "MOS",
    "scale": [1, 5],
    "better": "higher",
    "origin": "",
    "axes": [AXIS],
    "rows": [ROW | {"mos_technical": 2}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": "technical"}, "axes of the manifest must be objects with name, scale and better"),
        ({"axes": [AXIS | {"more": 1}]}, "must be objects with name, scale and better"),
        ({"axes": [AXIS | {"scale": [1, None]}]}, "must be objects with name, scale and better"),
        ({"axes": [AXIS, AXIS]}, "the axis 'technical' is there twice"),
        ({"axes": [AXIS | {"name": "A B"}]}, "'A B' is no name of an axis"),
        ({"rows": [ROW]}, "row 1 of the manifest must be an object with the keys"),
        ({"rows": [ROW | {"mos_technical": "2"}]}, "mos_technical cannot be '2'"),
        ({"axes": []}, "row 1 of the manifest must be an object with the keys"),
    ],
)
def test_manifest_with_malformed_axes_is_refused(change: dict[str, Any], message: str) -> None:
    assert Manifest.from_json(json.dumps(seal(DOCUMENT))).axes == (Axis("technical", (1.0, 5.0)),)
    with pytest.raises(UsageError, match=message):
        Manifest.from_json(json.dumps(seal(DOCUMENT | change)))


@pytest.mark.parametrize("header", ["mos", "mos_", "mos_std", "Mos_Std", "mosaic", "mos_a b"])
def test_other_headers_name_no_axis(header: str) -> None:
    assert axis_in(header) is None


def test_an_unknown_axis_is_told_with_the_choices() -> None:
    plain = manifest_of("toy", 2, 2)
    with pytest.raises(UsageError, match=r"has no axis 'beauty'.*name the column mos_beauty"):
        plain.axis("beauty")
    described = replace(plain, axes=(Axis("technical", (1.0, 4.0)), Axis("aesthetic", (1.0, 4.0))))
    with pytest.raises(UsageError, match="choose from technical, aesthetic"):
        described.axis("beauty")


def test_check_tells_the_range_of_each_axis_and_labels_beyond_its_scale(tmp_path: Path) -> None:
    manifest = load_manifest(own_toml(tmp_path, TOML.replace("[0, 100]", "[0, 60]")), tmp_path)
    check = check_dataset(manifest, (), lambda videos: {})
    assert check.axes["technical"].videos == 1 and not is_sound(check)
    assert "axis technical 70 to 70 on a scale of 0 to 60, lower is better; 1 of 2 videos" in (
        "\n".join(summary(check, manifest))
    )
    assert "label out of range: axis technical, a: 70 is not in 0 to 60" in findings(check)
    assert check.to_json()["axes"]["technical"]["mos_max"] == 70
