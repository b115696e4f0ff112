"""What the package imports is what it declares: the core runs the main job, and each extra says
its name where it is missing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import openpyxl
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import REPOSITORY

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError

STAGES = ("pipeline", "extract", "fuse")
# a notebook has brought it where it is imported
OF_A_NOTEBOOK = ("IPython",)


def declared(extras: bool) -> set[str]:
    config = ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    texts = [config["options"]["install_requires"]]
    if extras:
        texts += [
            text
            for name, text in config["options.extras_require"].items()
            if name not in ("test", "docs")
        ]
    lines = [line.partition("#")[0].strip() for line in "\n".join(texts).splitlines()]
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def imported(path: Path, top: bool) -> Iterator[str]:
    """The top-level names of other packages that a file imports, at its own top or anywhere."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        else:
            continue
        for name in names:
            first = name.partition(".")[0]
            if first not in sys.stdlib_module_names and first != "vqa_twostage":
                yield first


FILES = [path for stage in STAGES for path in sorted((REPOSITORY / stage).rglob("*.py"))]
OWNERS = packages_distributions()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_everything_imported_is_declared(path: Path) -> None:
    """Directly: not by way of another package, which may stop needing it."""
    for name in imported(path, top=False):
        owners = {canonicalize_name(owner) for owner in OWNERS.get(name, [])}
        if name in OF_A_NOTEBOOK or not owners:  # an extra that is not installed here
            continue
        assert owners & declared(extras=True), f"{path} imports {name}"


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    found = import_module("vqa_twostage.pipeline.errors").find_spec
    monkeypatch.setattr(
        "vqa_twostage.pipeline.errors.find_spec",
        lambda name: None if name == package else found(name),
    )


def sheet(folder: Path) -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["path", "mos"])
    book.active.append(["a.mp4", 3.0])
    book.save(folder / "labels.xlsx")
    return folder / "labels.xlsx"


USES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "vit": (
        "transformers",
        lambda _: spec.resolve("extract.spatial", "vit:weights=none").build(),
    ),
    "video transformer": (
        "transformers",
        lambda _: spec.resolve("extract.temporal", "video_transformer:weights=none").build(),
    ),
    "motion": ("cv2", lambda _: spec.resolve("extract.samplers", "motion").build()),
    "content": ("cv2", lambda _: spec.resolve("extract.samplers", "content").build()),
    "xlsx": ("openpyxl", lambda folder: load_manifest(str(sheet(folder)), folder)),
}
EXTRAS = {"transformers": "vit", "cv2": "motion", "openpyxl": "xlsx"}


@pytest.mark.parametrize("use", USES)
def test_missing_extra_is_one_message_with_its_name(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, function = USES[use]
    without(monkeypatch, package)
    with pytest.raises(UsageError) as refused:
        function(tmp_path)
    how = f'run: pip install "vqa-twostage[{EXTRAS[package]}]"'
    assert f"needs {package}; {how}" in str(refused.value)
    monkeypatch.undo()


def test_core_imports_no_package_of_an_extra_before_it_is_used() -> None:
    extras = {"transformers", "cv2", "openpyxl", "pyarrow", "openvino", "onnx", "tensorboard"}
    for path in FILES:
        assert not extras & set(imported(path, top=True)), path
