"""Importing any module of the package changes no global state of the importing program."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from places import REPOSITORY

SCRIPT = """
import csv, importlib, locale, logging, os, signal, sys, warnings

packages, modules = (names.split() for names in sys.argv[1:])
for name in packages:
    try:
        importlib.import_module(name)  # side effects of dependencies are not ours
    except ImportError:
        pass  # a dependency of an extra that is not installed

import matplotlib, numpy, pandas, torch


def state():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "matplotlib's settings": dict.copy(matplotlib.rcParams),
        "matplotlib's pyplot": "matplotlib.pyplot" in sys.modules,
        "warnings' filters": list(warnings.filters),
        "warnings' output": warnings.showwarning,
        "csv's limit": csv.field_size_limit(),
        "logging's root": (logging.root.level, list(logging.root.handlers), logging.root.disabled),
        "logging's switch": logging.root.manager.disable,
        "torch's flags": (
            *(cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            *(matmul.allow_tf32, torch.get_float32_matmul_precision(), torch.get_num_threads()),
            *(torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed()),
        ),
        "numpy's errors": numpy.geterr(),
        "numpy's random state": numpy.random.get_state()[1].tolist(),
        "pandas' settings": [pandas.get_option(name) for name in ("mode.string_storage",)],
        "environment": dict(os.environ),
        "path": list(sys.path),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
        "working directory": os.getcwd(),
    }


assert not any(name.startswith("vqa_twostage") for name in sys.modules)
previous, faults = state(), []
for name in modules:
    importlib.import_module(name)
    current = state()
    faults += [f"{name}: {what}" for what in current if current[what] != previous[what]]
    previous = current
loggers = [
    name for name, logger in logging.root.manager.loggerDict.items()
    if name.startswith("vqa_twostage") and getattr(logger, "handlers", None)
]
faults += [f"{name}: has a handler" for name in loggers]
sys.exit("\\n".join(faults) or None)
"""


def modules_and_packages() -> tuple[list[str], list[str]]:
    """The modules of the package, and the modules of other packages that they import."""
    modules, packages = [], set()
    for stage in ("pipeline", "extract", "fuse"):
        for path in sorted((REPOSITORY / stage).rglob("*.py")):
            if path.stem == "__main__":
                continue  # run as a command, never imported
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            modules.append(".".join(["vqa_twostage", *parts]).removesuffix(".__init__"))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    packages |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    packages.add(node.module)
    # no program imports these before our modules do
    own = ("vqa_twostage", "matplotlib.pyplot")
    return modules, sorted(name for name in packages if not name.startswith(own))


@pytest.mark.long
def test_importing_every_module_changes_no_global_state() -> None:
    modules, packages = modules_and_packages()
    assert len(modules) > 100 and "torch" in packages
    command = [sys.executable, "-c", SCRIPT, " ".join(packages), " ".join(modules)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
