"""Plug-ins that the docs show, for several test files."""

from __future__ import annotations

import importlib
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
