"""The layout shows the data flow: who may import whom, by folder; docs/explanation/architecture.md
and its picture say the same as the code.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from places import REPOSITORY

PACKAGE = "vqa_twostage"
STAGES = ("pipeline", "extract", "fuse")
PAGE = REPOSITORY / "docs" / "explanation" / "architecture.md"
FILES = sorted(path for stage in STAGES for path in (REPOSITORY / stage).rglob("*.py"))
EACH_FILE = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY))
)


def _load_picture_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "architecture", REPOSITORY / "docs" / "architecture.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


picture = _load_picture_script()

TORCH = ("torch", "torchvision", "timm", "transformers")
DECODERS = ("av", "decord")
COMMANDS = tuple(
    f"{stage}.{name}" for stage, names in picture.COMMANDS.items() for name in sorted(names)
)
FUSE_COMMANDS = tuple(name for name in COMMANDS if name.startswith("fuse."))


class Rule(NamedTuple):
    """Nothing in a folder (or file) imports ``never``, except for ``but``."""

    folder: str
    never: tuple[str, ...]
    but: tuple[str, ...] = ()


# what of a dataset the cache knows: its rows, and how tables and MATLAB files are read
OF_DATASETS = ("manifest", "matlab", "file_index", "label_files", "rows", "schema")

RULES = (
    Rule("pipeline", ("extract", "fuse", *TORCH, *DECODERS)),
    Rule("pipeline/datasets", ("pipeline.cache", "pipeline.demo", *COMMANDS)),
    Rule("pipeline/cache", ("pipeline.datasets",), OF_DATASETS),
    Rule("pipeline/cache", ("pipeline.demo", *COMMANDS)),
    Rule("pipeline/demo", ("pipeline.datasets", "pipeline.cache", *COMMANDS)),
    Rule("extract", ("fuse",)),
    Rule("extract/decoding", (*TORCH, "extract.inference", "extract.networks")),
    Rule("extract/decoding", ("pipeline.cache", "pipeline.datasets", *COMMANDS)),
    Rule("extract/inference", (*DECODERS, "extract.decoding"), ("workers", "ring")),
    Rule("extract/inference", ("pipeline.cache",), ("layout",)),
    Rule("extract/inference", ("extract.networks", "pipeline.datasets", *COMMANDS)),
    Rule("extract/extraction", (*DECODERS, "extract.networks", "pipeline.datasets", *COMMANDS)),
    Rule("extract/cluster", (*DECODERS, "extract.networks", "pipeline.datasets", *COMMANDS)),
    Rule("extract/networks", (*DECODERS, "extract.decoding", "pipeline.cache", *COMMANDS)),
    Rule("fuse", ("extract", *DECODERS, "timm", "transformers")),
    Rule("fuse/run_record.py", (*TORCH, "fuse.learning", "fuse.reporting", *FUSE_COMMANDS)),
    Rule("fuse/runs.py", (*TORCH, "fuse.learning", "fuse.reporting", *FUSE_COMMANDS)),
    Rule("fuse/evaluate.py", (*TORCH, "fuse.learning", "fuse.reporting", *FUSE_COMMANDS)),
    Rule("fuse/results.py", (*TORCH, "fuse.learning", "fuse.reporting", *FUSE_COMMANDS)),
    Rule("fuse/learning", ("fuse.runs", "fuse.reporting", "fuse.delivery", *FUSE_COMMANDS)),
    Rule("fuse/reporting", (*TORCH, "fuse.learning", "fuse.delivery", *FUSE_COMMANDS)),
    Rule("fuse/delivery", ("fuse.reporting", *FUSE_COMMANDS)),
)
# where the stages meet, and who may import a stage's commands: the one list of exceptions
COMPOSITION_ROOTS = {
    "pipeline/cli_data.py": {"extract.decoding.fetching", "extract.decoding.probe"},
    "fuse/score.py": {
        *{"extract.options", "extract.decoding.source", "extract.inference.runtime"},
        "extract.decoding.fetching",
    },
    "fuse/scored_tracks.py": {
        *{"extract.options", "extract.extraction.loop", "extract.extraction.plan"},
        "extract.inference.runtime",
    },
    # one way to speak with the hub
    "fuse/delivery/hub_download.py": {"extract.networks.hub"},
    "fuse/reporting/thumbnails.py": {"extract.decoding.decoding_errors", "extract.decoding.video"},
    # TensorBoard's event files are written by torch
    "fuse/reporting/logs/tensorboard.py": {"torch.utils.tensorboard"},
}
# a command that is made of others; the command line imports them all
MADE_OF = {
    "extract/cli.py": {"extract.run", "extract.dry_run"},
    "extract/dry_run.py": {"extract.run"},
    "extract/__main__.py": {"extract.cli"},
    "fuse/ablate.py": {"fuse.train", "fuse.compare"},
    "fuse/ablate_tracks.py": {"fuse.ablate", "fuse.train"},
    "fuse/learning_curve.py": {"fuse.ablate", "fuse.compare", "fuse.train"},
    "fuse/reproduce.py": {"fuse.train"},
    "fuse/train_jointly.py": {"fuse.train", "fuse.cross_dataset"},
    "fuse/report.py": {"fuse.compare"},
    "fuse/run_removal.py": {"fuse.run_list"},
    "fuse/hub.py": {"fuse.score", "fuse.export"},
    "fuse/watch.py": {"fuse.score"},
}
# each imports those before it at most
FOUNDATIONS = ("errors", "files", "versions", "raw_format", "spec", "features", "identity")
OPENS_HDF5 = (  # of this program, and of others
    "pipeline/cache/track_writer.py",
    "pipeline/cache/hdf5_structure.py",
    "pipeline/cache/feature_files.py",
    "pipeline/datasets/matlab.py",
)
# a plug-in imports its contract, and nothing of the program beside it
CONTRACTS = {
    "extract/spatial": {"extract.extractor", "extract.preprocess", "extract.networks"},
    "extract/temporal": {"extract.extractor", "extract.preprocess", "extract.networks"},
    "extract/samplers": {
        *{"extract.sampler", "extract.decoding.video", "extract.decoding.scan"},
        "pipeline.attention_table",
    },
    "fuse/pooling": {"fuse.streams"},
    "fuse/temporal": {"fuse.streams"},
    "fuse/fusion": {"fuse.streams", "fuse.dropout"},
    "fuse/protocols": {"fuse.splits", "pipeline.datasets.index_files"},
    "fuse/baselines": {
        *{"fuse.streams", "fuse.candidates", "fuse.metrics"},
        *{"fuse.ridge_path", "fuse.kernel_weights", "fuse.rbf"},
    },
    "fuse/closed_form": {"fuse.averaging", "fuse.ridge_path", "fuse.kernel_weights", "fuse.rbf"},
}


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, this package's without the package's name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            names |= {f"{node.module}.{name.name}" for name in node.names}
    from_folders = [name for name in names if name.split(".")[0] in (*STAGES, "data_manifests")]
    assert not from_folders, f"{path} imports {from_folders}; write {PACKAGE}.…"
    return frozenset(name.removeprefix(f"{PACKAGE}.") for name in names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def broken_rules(path: str, name: str) -> Iterator[str]:
    """The rules that the import of ``name`` by a file breaks, in words."""
    if any(within(name, module) for module in COMPOSITION_ROOTS.get(path, ())):
        return
    for rule in RULES:
        if path != rule.folder and not path.startswith(f"{rule.folder}/"):
            continue
        for module in rule.never:
            allowed = any(within(name, f"{module}.{part}") for part in rule.but)
            if within(name, module) and not allowed:
                yield f"{rule.folder} imports no {module}"


@EACH_FILE
def test_imports_follow_the_data_flow(path: Path) -> None:
    file = str(path.relative_to(REPOSITORY))
    broken = {name: list(broken_rules(file, name)) for name in imports(path)}
    assert not any(broken.values()), f"{file}: { {n: b for n, b in broken.items() if b} }"


@EACH_FILE
def test_hdf5_is_opened_in_few_files(path: Path) -> None:
    opens = any(within(name, "h5py") for name in imports(path))
    assert not opens or str(path.relative_to(REPOSITORY)) in OPENS_HDF5


@pytest.mark.parametrize("name", FOUNDATIONS)
def test_foundations_import_nothing_above_themselves(name: str) -> None:
    below = {f"pipeline.{other}" for other in FOUNDATIONS[: FOUNDATIONS.index(name)]}
    for imported in imports(REPOSITORY / "pipeline" / f"{name}.py"):
        if within(imported, "pipeline"):
            parts = (imported, imported.rpartition(".")[0])
            assert below & set(parts), f"pipeline/{name}.py imports {imported}"


@EACH_FILE
def test_commands_are_imported_by_the_command_line_and_where_one_is_made_of_another(
    path: Path,
) -> None:
    file = str(path.relative_to(REPOSITORY))
    if file.startswith("fuse/cli/") or file == "fuse/__main__.py":
        return
    allowed = MADE_OF.get(file, set()) | COMPOSITION_ROOTS.get(file, set())
    commands = {name for name in imports(path) for command in COMMANDS if within(name, command)}
    unlisted = {name for name in commands if not any(within(name, command) for command in allowed)}
    assert not unlisted, f"{file} imports {unlisted}, which MADE_OF does not list"


def test_plugins_import_their_contract_alone() -> None:
    count = 0
    for folder, contract in CONTRACTS.items():
        for path in (REPOSITORY / folder).glob("[a-z]*.py"):
            count += 1
            for name in imports(path):
                if name.split(".")[0] in STAGES and not within(name, "pipeline.errors"):
                    assert any(within(name, module) for module in contract), (
                        f"{folder}/{path.name} imports {name}"
                    )
    assert count >= 25


@EACH_FILE
def test_a_file_is_named_after_its_concept(path: Path) -> None:
    assert path.stem not in ("utils", "helpers", "common", "misc")
    changes_path = r"sys\.path(\[.*\])? *\+?=|sys\.path\.(?!index|count|copy)"
    assert not re.search(changes_path, path.read_text(encoding="utf-8"))


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


def test_the_picture_shows_the_real_imports() -> None:
    drawn = picture.drawn_imports(picture.PICTURE.read_text(encoding="utf-8"))
    real = picture.folder_imports()
    assert drawn == real, (
        f"docs/images/architecture.svg lacks {sorted(real - drawn)} and shows "
        f"{sorted(drawn - real)}, which no code imports; `python docs/architecture.py` redraws it"
    )


def listed_files() -> list[str]:
    """The files in the trees of the page, in their order."""
    paths: list[str] = []
    for tree in re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        parents: list[str] = []
        for line in tree.splitlines():
            depth = (len(line) - len(line.lstrip())) // 2
            name = line.split()[0]
            parents[depth:] = [name]
            if not name.endswith("/"):
                paths.append("".join(parents))
    return paths


def test_the_page_lists_every_file_once() -> None:
    real = {
        str(path.relative_to(REPOSITORY))
        for stage in STAGES
        for path in (REPOSITORY / stage).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "__init__.py"
    }
    listed = listed_files()
    missing, gone = sorted(real - set(listed)), sorted(set(listed) - real)
    twice = sorted({path for path in listed if listed.count(path) > 1})
    assert not (missing or gone or twice), (
        f"{PAGE.relative_to(REPOSITORY)} does not list {missing}, lists {gone}, which "
        f"do not exist, and lists {twice} more than once"
    )


def test_the_page_names_functions_that_exist() -> None:
    names = re.findall(r"`((?:pipeline|extract|fuse)(?:\.\w+)+)`", PAGE.read_text(encoding="utf-8"))
    assert len(names) >= 25
    for name in names:
        assert exists(name), f"{PAGE.relative_to(REPOSITORY)} names {name}, which does not exist"


def exists(name: str) -> bool:
    """Whether ``fuse.runs.Run.clear`` is a module, or a function, class or method in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        path = REPOSITORY.joinpath(*parts[:count])
        if path.is_dir() and count == len(parts):
            return True
        if path.with_suffix(".py").is_file():
            body: list[ast.stmt] = ast.parse(path.with_suffix(".py").read_text()).body
            for part in parts[count:]:
                inside = [
                    node
                    for node in body
                    if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part
                ]
                if not inside:
                    return False
                body = inside[0].body
            return True
    return False


# files whose public functions may pass untyped dictionaries, and what these are: the edge
EDGE = {
    "pipeline/files.py": "JSON documents",
    "pipeline/spec.py": "options, whose types each plug-in declares",
    "pipeline/presets/__init__.py": "TOML",
    "pipeline/datasets/label_files.py": "label files in JSON",
    "pipeline/demo/build.py": "recipe.json",
    "pipeline/datasets/table_options.py": "values of click's options",
    "extract/cli.py": "what a preset says to the other stage",
    "extract/networks/weights.py": "configurations of transformers",
    "fuse/cli/shared.py": "values of click's options",
    "fuse/export.py": "config.json",
    "fuse/reproduce.py": "two JSON documents to compare",
}
AT_THE_EDGE = ("to_json", "from_json", "from_mapping", "from_plain")


def untyped(path: Path) -> list[str]:
    """Public functions and fields of a file whose annotations say dict[str, Any] or alike."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            annotations = [argument.annotation for argument in arguments] + [node.returns]
            name = node.name
        elif isinstance(node, ast.ClassDef):
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            annotations, name = [field.annotation for field in fields], node.name
        else:
            continue
        texts = [ast.unparse(annotation) for annotation in annotations if annotation]
        vague = any(f"{kind}[str, Any]" in text for text in texts for kind in ("dict", "Mapping"))
        if vague and not name.startswith("_") and name not in AT_THE_EDGE:
            names.append(name)
    return names


def test_untyped_dictionaries_do_not_travel_between_modules() -> None:
    found = {str(path.relative_to(REPOSITORY)): untyped(path) for path in FILES}
    assert {name for name, functions in found.items() if functions} == set(EDGE), found


def test_file_names_of_a_run_and_of_a_cache_stand_once() -> None:
    for name in ("run.json", "predictions.csv", "manifest.json", "attention.csv", "ablation.json"):
        holders = [path for path in FILES if f'"{name}"' in path.read_text(encoding="utf-8")]
        assert len(holders) == 1, f"{name}: {[str(path) for path in holders]}"
    assert not [path for path in FILES if "parents[2]" in path.read_text(encoding="utf-8")]
