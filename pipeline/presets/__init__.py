"""Presets: TOML files beside this one that set options of both stages, for ``--preset NAME``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import UsageError

FOLDER = Path(__file__).parent


def available() -> dict[str, str]:
    """Name -> one line about it."""
    return {
        path.stem: tomllib.loads(path.read_text())["about"]
        for path in sorted(FOLDER.glob("*.toml"))
    }


def load(name: str | None, stage: str) -> dict[str, Any]:
    """Options of preset ``name`` for ``stage`` ("extract" or "fuse"); empty without a name."""
    if name is None:
        return {}
    if name not in available():
        raise UsageError(f"unknown preset {name!r}; choose from {', '.join(available())}")
    options = tomllib.loads((FOLDER / f"{name}.toml").read_text()).get(stage, {})
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.items()
    }
