"""`Manifest`: what a cache keeps is read back, or refused in one message if it is malformed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from forging import seal

from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError

ROW = {"id": "a", "path": "a.mp4", "mos": 3, "mos_std": None, "group": "a", "split": ""}
DOCUMENT: dict[str, Any] = {
    "name": "d",
    "title": "D",
    "label": "MOS",
    "scale": [1, 5],
    "better": "higher",
    "origin": "/data/d.csv",
    "rows": [ROW],
}


def test_manifest_is_read_from_json() -> None:
    manifest = Manifest.from_json(json.dumps(seal(DOCUMENT)))
    assert (manifest.name, manifest.scale, len(manifest)) == ("d", (1, 5), 1)
    assert manifest.rows["mos"].dtype == manifest.rows["mos_std"].dtype == float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name of the manifest must be a text, not 3"),
        ({"better": "up"}, "better of the manifest is 'up'; it must be higher or lower"),
        ({"scale": [1]}, r"scale of the manifest must be two numbers, not \[1\]"),
        ({"scale": [1, True]}, "scale of the manifest must be two numbers"),
        ({"scale": [1, 10**400]}, "scale of the manifest must be two numbers"),
        ({"rows": {}}, "rows of the manifest must be a list"),
        ({"rows": ["a"]}, "row 1 of the manifest must be an object with the keys group, id, mos"),
        ({"rows": [ROW, ROW | {"mos": None}]}, "row 2 of the manifest: mos cannot be None"),
        ({"rows": [ROW | {"mos": float("nan")}]}, "row 1 of the manifest: mos cannot be nan"),
        ({"rows": [ROW | {"id": 7}]}, "row 1 of the manifest: id cannot be 7"),
        ({"rows": [ROW, ROW]}, "the manifest has the id 'a' more than once"),
        (
            {"unknown": 1},
            "must be a JSON object with the keys better, label, name, origin, rows, scale",
        ),
    ],
)
def test_manifest_with_a_malformed_value_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Manifest.from_json(json.dumps(seal(DOCUMENT | change)))


@pytest.mark.parametrize("text", ["", "{", "3", "[]", "[" * 100_000])
def test_manifest_is_refused_if_it_is_not_a_json_object(text: str) -> None:
    with pytest.raises(UsageError, match="the manifest (is not JSON|must be a JSON object)"):
        Manifest.from_json(text)


@pytest.mark.parametrize("key", DOCUMENT)
def test_manifest_without_a_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="must be a JSON object with the keys"):
        Manifest.from_json(json.dumps(seal({k: v for k, v in DOCUMENT.items() if k != key})))


def test_package_is_imported_without_pandas() -> None:
    program = (
        "import sys, vqa_twostage.pipeline.datasets as datasets; print('pandas' in sys.modules);"
        "datasets.Manifest, datasets.load_manifest; print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
