"""Installed distributions of one module, which bring plug-ins by entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry_points: str,
    code: str,
    module: str = "acme_product",
) -> None:
    """Makes ``module`` of ``code`` and its distribution in ``folder``, which the test imports
    from.
    """
    info = folder / "acme_heads-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-heads\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (folder / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, module, raising=False)
