"""The layout shows the data flow: who may import whom, by folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import REPOSITORY

PACKAGE = "vqa_twostage"
STAGES = ("pipeline", "extract", "fuse")
FILES = sorted(path for stage in STAGES for path in (REPOSITORY / stage).rglob("*.py"))
TORCH = ("torch", "torchvision", "timm", "transformers")
DECODERS = ("av", "decord")

# where stages meet: the one list of exceptions to "no stage imports another"
COMPOSITION_ROOTS = {
    "pipeline/cli_data.py": {"extract.decoding.probe"},
    "fuse/score.py": {
        *{"extract.options", "extract.run", "extract.decoding.workers"},
        *{"extract.inference.runtime"},
    },
    "fuse/reporting/thumbnails.py": {
        "extract.decoding.processes",
        "extract.decoding.video",
    },
    # TensorBoard's event files are written by torch
    "fuse/reporting/tensorboard.py": {"torch.utils.tensorboard"},
}
# folder (or file) -> what nothing in it may import: a stage or one of its folders, or a library
FORBIDDEN = {
    "pipeline": ("extract", "fuse", *TORCH, *DECODERS),
    "pipeline/datasets": ("pipeline.cache",),
    "extract": ("fuse",),
    "extract/decoding": (*TORCH, "extract.inference", "extract.networks", "pipeline.cache"),
    "extract/inference": DECODERS,
    "extract/networks": DECODERS,
    "fuse": ("extract", *DECODERS, "timm", "transformers"),
    "fuse/reporting": (*TORCH, "fuse.learning"),
}
# HDF5 of this program, and of others
OPENS_HDF5 = (
    "pipeline/cache/track.py",
    "pipeline/cache/feature_files.py",
    "pipeline/datasets/matlab.py",
)
# a plug-in imports its contract, and nothing of the product beside it
CONTRACTS = {
    "extract/spatial": {"extract.extractor", "extract.preprocess", "extract.networks"},
    "extract/temporal": {"extract.extractor", "extract.preprocess", "extract.networks"},
    "extract/samplers": {
        "extract.sampler",
        "extract.decoding.video",
        "extract.decoding.scan",
        "pipeline.attention_table",
    },
    "fuse/pooling": {"fuse.streams"},
    "fuse/temporal": {"fuse.streams"},
    "fuse/fusion": {"fuse.streams"},
    "fuse/baselines": {"fuse.streams"},
    "fuse/protocols": {"fuse.splits", "pipeline.datasets.index_files"},
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, this package's without the package's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            names = [f"{node.module}.{name.name}" for name in node.names]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in (*STAGES, "data_manifests"), (
                f"{path}: {name} is imported from a folder; write {PACKAGE}.{name}"
            )
            yield name.removeprefix(f"{PACKAGE}.")


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_follow_the_data(path: Path) -> None:
    here = str(path.relative_to(REPOSITORY))
    allowed = COMPOSITION_ROOTS.get(here, set())
    for name in imports(path):
        if any(within(name, module) for module in allowed):
            continue
        for folder, forbidden in FORBIDDEN.items():
            if below(here, folder):
                wrong = [module for module in forbidden if within(name, module)]
                assert not wrong, f"{here} imports {name}; {folder} imports no {wrong[0]}"
        if within(name, "h5py"):
            assert here in OPENS_HDF5


def test_plugins_import_their_contract_alone() -> None:
    seen = 0
    for folder, contract in CONTRACTS.items():
        for path in (REPOSITORY / folder).glob("[a-z]*.py"):
            seen += 1
            for name in imports(path):
                if name.split(".")[0] in STAGES and not within(name, "pipeline.errors"):
                    assert any(within(name, module) for module in contract), (
                        f"{path.name} imports {name}"
                    )
    assert seen >= 25


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_file_is_named_after_its_concept(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "common", "misc")
    assert "sys.path" not in path.read_text()


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    edges = {
        module: {
            target
            for name in imports(path)
            for target in (name, name.rpartition(".")[0])
            if target in graph and target != module
        }
        for module, path in graph.items()
    }
    while leaves := {module for module, targets in edges.items() if not targets & edges.keys()}:
        edges = {module: targets for module, targets in edges.items() if module not in leaves}
    assert not edges, f"in or above a circle: {sorted(edges)}"
