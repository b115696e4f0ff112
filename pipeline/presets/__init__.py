"""Presets set options of both stages, for ``--preset``: TOML files in this folder by their name,
and files of the same form anywhere by their path.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.errors import UsageError, close_to

FOLDER = Path(__file__).parent
STAGES = ("extract", "fuse")
FORM = "a preset has [extract], [fuse] or both, and about, a text"


def available() -> dict[str, str]:
    """Name -> description in one line."""
    return {path.stem: _read(path)["about"] for path in sorted(FOLDER.glob("*.toml"))}


def load(preset: str | None, stage: str) -> dict[str, Any]:
    """The options that a preset sets for ``stage`` ("extract" or "fuse"); none without a preset.

    Args:
        preset: A name of `available`, or the path of a TOML of the same form, which ends in .toml.
            ``about`` may be left out of such a file.
        stage: A table that it lacks sets nothing.

    Raises:
        UsageError: There is no such preset, or the file is not a preset. Whether the options exist
            is left to those who take them.
    """
    if preset is None:
        return {}
    options = _read(path_of(preset)).get(stage, {})
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in options.items()
    }


def path_of(preset: str) -> Path:
    """The file of a preset that is given by its name or path; UsageError for an unknown name."""
    if preset.lower().endswith(".toml"):
        return Path(preset)
    names = [path.stem for path in sorted(FOLDER.glob("*.toml"))]
    if preset not in names:
        raise UsageError(
            f"unknown preset {preset!r}; choose from {', '.join(names)}, or give the path of a "
            f".toml of your own{close_to(preset, names)}"
        )
    return FOLDER / f"{preset}.toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(
            f"the preset {path} does not exist; give the path of a .toml, or a name that "
            "vqa-extract --list shows"
        ) from None
    except OSError as error:
        raise UsageError(f"the preset {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the preset {path} is not a TOML file in UTF-8: {error}") from None
    if unknown := [key for key in document if key not in ("about", *STAGES)]:
        raise UsageError(f"{path}: unknown key {', '.join(unknown)}; {FORM}")
    if not document.keys() & set(STAGES):
        raise UsageError(f"{path} sets no options; {FORM}")
    for stage in STAGES:
        if not isinstance(document.get(stage, {}), dict):
            raise UsageError(f"{path}: {stage} must be a table, [{stage}]; {FORM}")
    if not isinstance(document.get("about", ""), str):
        raise UsageError(f"{path}: about must be a text, not {document['about']!r}; {FORM}")
    return document
