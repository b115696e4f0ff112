"""Plug-ins that the docs show, for several test files."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest


def install(name: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in ``name``, as ``fuse/fusion/product.py``, written below ``folder`` and found as if
    in its package.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    package = importlib.import_module(".".join(["vqa_twostage", *Path(name).parent.parts]))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
    assert package.__spec__ is not None
    monkeypatch.setattr(package.__spec__, "submodule_search_locations", package.__path__)


def install_distribution(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules and entry points of ``folder``, which has a pyproject.toml, as if ``pip`` had
    installed it.
    """
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(folder)
