"""Presets: TOML files in this folder that set options of both stages, for ``--preset NAME``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import UsageError

FOLDER = Path(__file__).parent
STAGES = ("extract", "fuse")


def available() -> dict[str, str]:
    """Name -> description in one line."""
    return {path.stem: _read(path)["about"] for path in sorted(FOLDER.glob("*.toml"))}


def load(name: str | None, stage: str) -> dict[str, Any]:
    """The options that preset ``name`` sets for ``stage`` ("extract" or "fuse"); none without a
    name.
    """
    if name is None:
        return {}
    if name not in available():
        raise UsageError(f"unknown preset {name!r}; choose from {', '.join(available())}")
    options = _read(FOLDER / f"{name}.toml").get(stage, {})
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.items()
    }


def _read(path: Path) -> dict[str, Any]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    unknown = sorted(document.keys() - {"about", *STAGES})
    if unknown or "about" not in document:
        wrong = f"unknown {', '.join(unknown)}" if unknown else "about is missing"
        raise UsageError(f"{path}: {wrong}; a preset has about, [extract] and [fuse]")
    return document
