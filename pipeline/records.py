"""Run records: what a command was asked, on what, with what, and what came of it, in one JSON
beside its output.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.datasets.loading import Manifest
from vqa_twostage.pipeline.errors import UsageError, require

# whose version can change a number
LIBRARIES = [
    "torch",
    "timm",
    "transformers",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "h5py",
    "decord",
    "av",
    "openvino",
]
LIBRARIES += ["opencv-python-headless"]


def versions() -> dict[str, str]:
    """Versions of this program, Python and the libraries that compute; those not installed are left
    out.
    """
    found = {"vqa-twostage": _version("vqa-twostage"), "python": platform.python_version()}
    found |= {name: _version(name) for name in LIBRARIES}
    return {name: version for name, version in found.items() if version}


def about(manifest: Manifest) -> dict[str, str]:
    """What a track records beside its identity when it is created: labels and versions, which
    change no feature.
    """
    return {
        "manifest": manifest.digest,
        **{f"version {name}": version for name, version in versions().items()},
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes ``path`` in one step: readers see the old file or the new one, never a part."""
    write_text(path, json.dumps(document, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(aside, 0o644)  # mkstemp makes private files; a cache is shared with colleagues
    os.replace(aside, path)


def read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    require(isinstance(document, dict), f"{path} holds no JSON object")
    return dict(document)


def save_manifest(cache: Path, manifest: Manifest) -> None:
    """Keeps the manifest beside its features, so that stage two needs nothing but the cache.

    UsageError when the cache holds another dataset of that name: one that gives a known id to
    another video.
    """
    path = cache / manifest.name / "manifest.json"
    if path.exists():
        old = load_cached_manifest(cache, manifest.name)
        both = old.rows.merge(manifest.rows, on="id", suffixes=("_old", "_new"))
        # a dataset of data_manifests is known by its name, and may lie here so and there otherwise
        moved = manifest.title == manifest.name and (both["path_old"] != both["path_new"]).any()
        if moved or both.empty or old.title != manifest.title:
            raise UsageError(
                f"{path} is of another dataset that is also called {manifest.name!r}; "
                "rename your file or give another --cache"
            )
    write_text(path, manifest.to_json())


def load_cached_manifest(cache: Path, dataset: str) -> Manifest:
    path = cache / dataset / "manifest.json"
    try:
        return Manifest.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{path} is damaged ({reason}); remove it and run vqa-extract again, features stay"
        ) from None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
