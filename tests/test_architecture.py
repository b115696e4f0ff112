"""The layout shows the data flow: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = ("pipeline", "extract", "fuse")
FILES = sorted(path for stage in STAGES for path in (ROOT / stage).rglob("*.py"))
# a plug-in imports its contract module, and nothing of the product beside it
CONTRACTS = {
    "extract/spatial": {"extract.stages", "extract.preprocess", "extract.weights", "pipeline.errors"},
    "extract/temporal": {
        *{"extract.stages", "extract.preprocess", "extract.weights", "pipeline.errors"},
        *{"extract.networks.slowfast", "extract.networks.tea"},
    },
    "extract/samplers": {"extract.decode", "extract.scan", "pipeline.errors"},
    "fuse/pooling": {"fuse.streams", "pipeline.errors"},
    "fuse/temporal": {"fuse.streams", "pipeline.errors"},
    "fuse/fusion": {"fuse.streams", "pipeline.errors"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def of(path: Path, *packages: str) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in packages}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_data(path: Path) -> None:
    stage = path.relative_to(ROOT).parts[0]
    if stage == "pipeline":
        # `vqa-data check` opens videos, which stage one alone can: the command puts the two together
        composed = {"extract", "extract.probe", "extract.probe.probe_all"} if path.name == "cli.py" else set()
        assert of(path, "extract") <= composed
        assert not of(path, "fuse", "torch", "timm", "transformers")
    if stage == "extract":
        assert not of(path, "fuse")
    if stage == "fuse" and path.name not in ("score.py", "thumbnails.py"):
        assert not of(path, "extract", "av", "decord", "timm", "transformers")
    if path.name not in ("cache.py", "foreign.py", "matlab.py"):
        assert not of(path, "h5py"), "only pipeline/cache.py opens a cache, and foreign.py and matlab.py others' HDF5"
    if path.name not in ("decode.py", "containers.py", "pixels.py"):
        assert not of(path, "av", "decord"), "only extract/decode.py and its two rooms open videos"


def test_plugins_import_their_contract_alone() -> None:
    seen = 0
    for folder, allowed in CONTRACTS.items():
        for path in (ROOT / folder).glob("[a-z]*.py"):
            seen += 1
            modules = {name for name in of(path, *STAGES) if (ROOT / (name.replace(".", "/") + ".py")).exists()}
            assert modules <= allowed, f"{path.name} imports {modules - allowed}"
            assert len(path.read_text().splitlines()) <= 120, f"{path.name}: one concept, about 120 lines"
    assert seen >= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_room(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in ("utils", "helpers", "common")
    assert "sys.path" not in path.read_text()
